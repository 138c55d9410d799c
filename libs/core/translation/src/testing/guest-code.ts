import type { Random } from './random.js';

const word = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
const half = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff];

/** Data that random code reads and writes; some addresses lie beyond the segments' limit. */
export const DATA = 0x2_0000;
/** Code is put here, one page. */
export const GUEST_CODE = 0x1_0000;

/** One random guest instruction of the kinds a kernel is made of. Transfers stay near. */
export function randomInstruction(random: Random): number[] {
  const reg = (): number => random.below(8);
  const address = (): number[] => {
    const register = reg() << 3;
    switch (random.below(6)) {
      case 0: return [register | 5, ...word(DATA + random.below(0x1000))];
      case 1: return [0x40 | register | 3, random.below(256)];
      case 2: return [register | 4, 0x24]; // [esp]
      case 3: return [0x44 | register, 0x24, random.below(32) * 4]; // [esp+d]
      case 4: return [0x84 | register, 0x8b | (random.below(3) << 4), ...word(random.below(64))]; // [ebx+ecx*4+d] and such
      default: return [register | 5, ...word(random.below(8) === 0 ? 0xf000_0000 : DATA + random.below(0x1000))];
    }
  };
  const operand = (): number[] => random.below(2) === 0 ? [0xc0 | (reg() << 3) | reg()] : address();
  const extended = (extension: number, bytes: number[]): number[] => [(bytes[0]! & 0xc7) | (extension << 3), ...bytes.slice(1)];
  const segment = (): number => random.pick([0, 1, 2, 3, 4]);
  const kinds: (() => number[])[] = [
    () => [random.pick([0x01, 0x03, 0x09, 0x0b, 0x11, 0x13, 0x19, 0x1b, 0x21, 0x23, 0x29, 0x2b, 0x31, 0x33, 0x39, 0x3b, 0x85, 0x87, 0x89, 0x8b]), ...operand()],
    () => [0x81, ...extended(random.below(8), operand()), ...word(random.word())],
    () => [0xb8 + random.pick([0, 1, 2, 3, 5, 6, 7]), ...word(DATA + random.below(0x800))],
    () => [0x50 + reg()],
    () => [0x58 + random.pick([0, 1, 2, 3, 5, 6, 7])],
    () => [random.pick([0xc1, 0xd3]), ...extended(random.below(8), operand())],
    () => [0x0f, 0xaf, ...operand()],
    () => [0x8d, ...address()],
    () => [0xfa], () => [0xfb], () => [0x9c], () => [0x9c], () => [0x9d], () => [0x9d],
    () => [0x68, ...word((random.word() & 0x0fff_8eff & ~0x2_7000) | 2), 0x9d], // push an image, popf
    () => [0x68, ...word(0x3002), 0x9d], // which sets IOPL
    () => [random.pick([0x06, 0x0e, 0x16, 0x1e])],
    () => [0x0f, 0xa0],
    () => random.below(2) === 0 ? [0x8c, ...extended(segment(), operand())] : [0x66, 0x8c, ...extended(segment(), operand())],
    () => [0x68, ...word(0x10), random.pick([0x07, 0x1f])], // push 0x10; pop es, ds
    () => [0x68, ...word(0x10), 0x0f, 0xa1],
    () => [0x66, 0xc7, 0x05, ...word(DATA), ...half(0x10), 0x8e, random.pick([0x05, 0x1d, 0x25]), ...word(DATA)],
    () => [0x70 + random.below(16), random.below(24)],
    () => [0x0f, 0x80 + random.below(16), ...word(random.below(64))],
    () => [random.pick([0xe0, 0xe1, 0xe2, 0xe3]), random.below(24)],
    () => [0xe8, ...word(random.below(64))],
    () => [0xe9, ...word(random.below(8) === 0 ? 0x2000 : random.below(64))],
    () => [0xeb, random.below(24)],
    () => [0x68, ...word(GUEST_CODE + random.below(0x800)), 0xc3],
    () => [0x68, ...word(GUEST_CODE + random.below(0x800)), 0xc2, 8, 0],
    () => [0xc7, 0x05, ...word(DATA + 16), ...word(GUEST_CODE + random.below(0x800)), 0xff, random.pick([0x15, 0x25]), ...word(DATA + 16)],
    () => [0xff, ...extended(random.pick([2, 4]), operand())],
    () => [0xcd, 0x80], () => [0x0f, 0x31], () => [0x0f, 0x0b], () => [0xf4], () => [0x0f, 0x20, 0xc0],
    () => [0x65, 0xa1, ...word(0)], () => [0x0f, 0x01, 0x05, ...word(DATA)], () => [0xcf], () => [0xec], () => [0xaa], () => [0xb9, ...word(random.below(4)), 0xf3, 0xab],
    () => [0xc9], () => [0xc8, 8, 0, 0], () => [0x60], () => [0x61], () => [0xf9], () => [0xf5],
  ];
  const bytes = random.pick(kinds)();
  return bytes[0] === 0xc1 ? [...bytes, random.below(40)] : bytes;
}

/** A page of random instructions. */
export function randomPage(random: Random): Uint8Array {
  const bytes: number[] = [];
  while (bytes.length < 4096) bytes.push(...randomInstruction(random));
  return Uint8Array.from(bytes.slice(0, 4096));
}
