import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ConsoleStream } from './console-stream.js';

describe('ConsoleStream', () => {
  it('gives back any part of what was written, and sends each byte once, in order', () => {
    fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 20 })), fc.nat(300), fc.nat(50), (writes, offset, length) => {
      const sent: number[] = [];
      const stream = new ConsoleStream((from, bytes) => {
        expect(from).toBe(sent.length);
        sent.push(...bytes);
      });
      writes.forEach((bytes, index) => {
        stream.write(bytes);
        if (index % 3 === 0) stream.flush();
      });
      stream.flush();
      const all = writes.flatMap((bytes) => [...bytes]);
      expect(sent).toEqual(all);
      const from = Math.min(offset, all.length);
      const read = stream.read(offset, length);
      expect(read.offset).toBe(from);
      expect([...read.bytes]).toEqual(all.slice(from, from + length));
    }));
  });

  it('keeps the last megabyte and says where it begins', () => {
    const stream = new ConsoleStream(() => undefined);
    for (let i = 0; i < 40; i++) stream.write(new Uint8Array(65_536).fill(i));
    const { offset, bytes } = stream.read(0, 10);
    expect(offset).toBe((40 - 16) * 65_536);
    expect([...bytes]).toEqual(new Array(10).fill(24));
    expect(stream.end).toBe(40 * 65_536);
  });
});
