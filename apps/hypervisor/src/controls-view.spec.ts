import { expect, it } from '@jest/globals';
import { NO_CONTROLS } from '@ringside/x86';
import { controlsView } from './controls-view.js';

it('shows the I/O bitmap as ranges of ports that exit', () => {
  const bitmap = new Uint8Array(8_192);
  for (const port of [0x20, 0x21, 0x3f8, 0xffff]) bitmap[port >>> 3]! |= 1 << (port & 7);
  expect(controlsView({ ...NO_CONTROLS, nonRoot: true, ioExiting: bitmap, msrExiting: new Uint8Array(4_096) })).toMatchObject({
    nonRoot: true, msrExiting: 'bitmap', ioExiting: [{ from: 0x20, to: 0x21 }, { from: 0x3f8, to: 0x3f8 }, { from: 0xffff, to: 0xffff }],
  });
  expect(controlsView({ ...NO_CONTROLS, ioExiting: 'all' })).toMatchObject({ ioExiting: 'all', msrExiting: 'none' });
});
