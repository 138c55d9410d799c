import type { ExitCost } from '@ringside/machine';
import { ByteReader } from './byte-reader.js';
import { ByteWriter } from './byte-writer.js';
import { readCost, writeCost } from './cost-codec.js';

function frame(write: (writer: ByteWriter) => void): ByteReader {
  const writer = new ByteWriter();
  writer.begin();
  write(writer);
  return new ByteReader(writer.finish());
}

test('what the monitor did travels with its reply', () => {
  const cost: ExitCost = { handlerNs: 1_500, nested: [{ bus: 'io.port', count: 2, waitNs: 900 }], work: { 'monitor-dispatch': 1, 'guest-word': 0xffff_ffff, 'device-access': 256 } };
  expect(readCost(frame((writer) => writeCost(writer, cost)))).toEqual(cost);
  expect(readCost(frame((writer) => writeCost(writer, { handlerNs: 0, nested: [] })))).toEqual({ handlerNs: 0, nested: [] });
});

test('work that is none of the monitor\'s is refused', () => {
  for (const index of [0, 200]) {
    expect(() => readCost(frame((writer) => {
      writer.f64(0);
      writer.u8(0);
      writer.u8(1);
      writer.u8(index);
      writer.u32(1);
    }))).toThrow(`work of kind ${index}`);
  }
});
