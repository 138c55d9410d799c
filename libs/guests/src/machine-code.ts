/** What the generators of guests share: a seeded random source, an assembler's buffer, and ELF files around the result. */

// Hoisted: a global costs ten times as much inside a test's own context.
const { imul } = Math;

/** Mulberry32: a small seeded generator, the same on every machine. */
export function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** Bytes with a position, little-endian words, and absolute addresses patched in afterwards. */
export class Code {
  private readonly bytes: number[] = [];
  constructor(readonly origin: number) {}
  get here(): number {
    return this.origin + this.bytes.length;
  }
  emit(...bytes: number[]): void {
    this.bytes.push(...bytes);
  }
  word(value: number): void {
    this.emit(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24);
  }
  half(value: number): void {
    this.emit(value & 0xff, (value >>> 8) & 0xff);
  }
  align(boundary: number): void {
    while (this.bytes.length % boundary !== 0) this.emit(0x90);
  }
  patchWord(address: number, value: number): void {
    const at = address - this.origin;
    for (let byte = 0; byte < 4; byte++) this.bytes[at + byte] = (value >>> (8 * byte)) & 0xff;
  }
  finish(): Uint8Array {
    // One by one: from an array, in a test's own context, it takes milliseconds.
    const copy = new Uint8Array(this.bytes.length);
    for (let at = 0; at < copy.length; at++) copy[at] = this.bytes[at]!;
    return copy;
  }
}

/** ELF notes of owner "Xen" (public/elfnote.h): numbers are 32-bit words, texts end in a zero byte. */
export function xenNotes(notes: [type: number, value: number | string][]): Uint8Array {
  const code = new Code(0);
  for (const [type, value] of notes) {
    const text = typeof value === 'string' ? [...new TextEncoder().encode(value), 0] : null;
    code.word(4);
    code.word(text === null ? 4 : text.length);
    code.word(type);
    code.emit(0x58, 0x65, 0x6e, 0);
    if (text === null) code.word(value as number);
    else {
      code.emit(...text);
      while ((code.here & 3) !== 0) code.emit(0);
    }
  }
  return code.finish();
}

/** A 32-bit ELF executable with one loadable segment and, for PV, one note segment. */
export function elf(content: Uint8Array, entry: number, virtual: number, physical: number, notes: Uint8Array | null): Uint8Array {
  const segments = notes === null ? 1 : 2;
  const contentOffset = 0x1000;
  const notesOffset = contentOffset + content.length + (-content.length & 3);
  const header = new Code(0);
  header.emit(0x7f, 0x45, 0x4c, 0x46, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  header.half(2); // ET_EXEC
  header.half(3); // EM_386
  header.word(1);
  header.word(entry);
  header.word(52);
  header.word(0);
  header.word(0);
  header.half(52);
  header.half(32);
  header.half(segments);
  header.half(40);
  header.half(0);
  header.half(0);
  for (const word of [1, contentOffset, virtual, physical, content.length, content.length, 7, 0x1000]) header.word(word);
  if (notes !== null) for (const word of [4, notesOffset, 0, 0, notes.length, notes.length, 4, 4]) header.word(word);
  const file = new Uint8Array(notesOffset + (notes?.length ?? 0));
  file.set(header.finish(), 0);
  file.set(content, contentOffset);
  if (notes !== null) file.set(notes, notesOffset);
  return file;
}

/** MOV r32, imm32. */
export function moveImmediate(code: Code, register: number, value: number): void {
  code.emit(0xb8 + register);
  code.word(value);
}
/** MOV dword [address], imm32. */
export function storeImmediate(code: Code, address: number, value: number): void {
  code.emit(0xc7, 0x05);
  code.word(address);
  code.word(value);
}
/** MOV [address], r32. */
export function storeRegister(code: Code, register: number, address: number): void {
  code.emit(0x89, 0x05 | (register << 3));
  code.word(address);
}
/** MOV r32, [address]. */
export function loadRegister(code: Code, register: number, address: number): void {
  code.emit(0x8b, 0x05 | (register << 3));
  code.word(address);
}
/** OUT imm8, AL with an immediate byte. */
export function out8(code: Code, port: number, value: number): void {
  code.emit(0xb0, value, 0xe6, port);
}
/** Exceptions that push an error code (SDM Vol. 3A Table 6-1). */
export const pushesErrorCode = (vector: number): boolean => vector === 8 || (vector >= 10 && vector <= 14) || vector === 17;
