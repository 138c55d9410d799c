import { COMMITS, SIDE_WORDS, SPILLED_SHIFT } from './unit.js';
import { saved } from './monitor-data.js';

export const ECX = 1, EDX = 2, ESP = 4;

const word = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
/** ModRM for [disp32] with `register` in its reg field. */
const absolute = (register: number, offset: number): number[] => [(register << 3) | 5, ...word(offset)];

const GS_PREFIX = 0x65;

/** The few instructions that the translator adds, none of which changes a flag. Intel syntax in the comments; `gs` is the monitor data area. */
export const host = {
  /** mov gs:[field], r32 */ store: (field: number, register: number) => [GS_PREFIX, 0x89, ...absolute(register, field)],
  /** mov r32, gs:[field] */ load: (register: number, field: number) => [GS_PREFIX, 0x8b, ...absolute(register, field)],
  /** mov r16, gs:[field] */ load16: (register: number, field: number) => [GS_PREFIX, 0x66, 0x8b, ...absolute(register, field)],
  /** mov byte gs:[field], imm8 */ storeByte: (field: number, value: number) => [GS_PREFIX, 0xc6, ...absolute(0, field), value],
  /** mov gs:[field], cl */ storeCl: (field: number) => [GS_PREFIX, 0x88, ...absolute(ECX, field)],
  /** movzx ecx, byte gs:[field] */ loadByte: (field: number) => [GS_PREFIX, 0x0f, 0xb6, ...absolute(ECX, field)],
  /** mov ecx, [esp+offset] */ stackWord: (offset: number) => [0x8b, 0x4c, 0x24, offset],
  /** movzx ecx, byte [esp+offset] */ stackByte: (offset: number) => [0x0f, 0xb6, 0x4c, 0x24, offset],
  /** movzx ecx, word gs:[field] */ loadWord: (field: number) => [GS_PREFIX, 0x0f, 0xb7, ...absolute(ECX, field)],
  /** movzx ecx, byte gs:[table+ecx] */ loadByteAt: (table: number) => [GS_PREFIX, 0x0f, 0xb6, 0x80 | (ECX << 3) | ECX, ...word(table)],
  /** push dword gs:[field] */ push: (field: number) => [GS_PREFIX, 0xff, ...absolute(6, field)],
  /** jmp dword gs:[field] */ jumpTo: (field: number) => [GS_PREFIX, 0xff, ...absolute(4, field)],
  /** mov ecx, imm32 */ moveImmediate: (value: number) => [0xb8 + ECX, ...word(value)],
  /** mov ecx, [esp] */ topOfStack: () => [0x8b, 0x0c, 0x24],
  /** lea esp, [esp+imm32] */ release: (bytes: number) => [0x8d, 0xa4, 0x24, ...word(bytes)],
  /** lea ecx, [ecx-1] */ decrement: () => [0x8d, 0x49, 0xff],
  /** lea ecx, [ecx+edx-0x200] */ addEdxLessIf: () => [0x8d, 0x8c, 0x11, ...word(-0x200)],
  /** lea ecx, [ecx+r32] */ addToEcx: (register: number) => [0x8d, 0x4c, (ECX << 3) | register, 0],
  /** lea ecx, [ecx+imm8] */ addToEcxImmediate: (value: number) => [0x8d, 0x49, value & 0xff],
  /** jmp over `bytes`, or back */ jump8: (bytes: number) => [0xeb, bytes & 0xff],
  /** push imm32 */ pushImmediate: (value: number) => [0x68, ...word(value)],
  /** jecxz over `bytes` */ jecxz: (bytes: number) => [0xe3, bytes],
  /** int n */ gate: (vector: number) => [0xcd, vector],
  word,
};

/** Collects host code and its side table. */
export class HostCode {
  readonly bytes: number[] = [];
  readonly side: number[] = [];

  get at(): number {
    return this.bytes.length;
  }

  /** One host instruction. `eip` is the guest's EIP before it; `spilled` lists the registers whose guest value is in SAVED. */
  emit(bytes: readonly number[] | Uint8Array, eip: number, flags = 0, spilled: readonly number[] = []): void {
    let mask = 0;
    for (const register of spilled) mask |= 1 << register;
    this.side.push(this.at, eip | 0, flags | (mask << SPILLED_SHIFT));
    for (const byte of bytes) this.bytes.push(byte);
  }

  commit(bytes: readonly number[] | Uint8Array, eip: number, spilled: readonly number[] = []): void {
    this.emit(bytes, eip, COMMITS, spilled);
  }

  save(register: number, eip: number, spilled: readonly number[] = []): void {
    this.emit(host.store(saved(register), register), eip, 0, spilled);
  }

  restore(register: number, eip: number, flags: number, spilled: readonly number[]): void {
    this.emit(host.load(register, saved(register)), eip, flags, spilled);
  }

  patch8(at: number, value: number): void {
    this.bytes[at] = value;
  }

  patch32(at: number, value: number): void {
    const bytes = host.word(value);
    for (let n = 0; n < 4; n++) this.bytes[at + n] = bytes[n]!;
  }

  sideTable(): Int32Array {
    return Int32Array.from(this.side);
  }
}

/** Index of the side-table entry that begins at host offset `at`, or -1. */
export function sideEntry(sideTable: Int32Array, at: number): number {
  let low = 0, high = sideTable.length / SIDE_WORDS - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const offset = sideTable[middle * SIDE_WORDS]!;
    if (offset === at) return middle;
    if (offset < at) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}
