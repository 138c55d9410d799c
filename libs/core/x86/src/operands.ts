import type { Cpu } from './cpu.js';
import { GP, raise, SS_FAULT } from './fault.js';
import {
  probeWrite, readForWrite16, readForWrite32, readForWrite8, readLinear16, readLinear32, readLinear8, writeLinear16, writeLinear32, writeLinear8,
} from './memory.js';
import { ESP, RIGHTS_UNUSABLE, SEGMENTS, SEGMENT_BASE, SEGMENT_LIMIT, SEGMENT_RIGHTS, SEGMENT_WORDS, SS } from './state.js';

/**
 * Operands of the instruction functions, out of the slot being executed (layout: decoder.ts), with every segment check (SDM Vol. 3A 5.3, 5.5).
 */

const BIG = 1 << 14;
const CODE = 8;
const EXPAND_DOWN = 4;
const WRITABLE = 2;

/** Effective address: an offset in its segment, 16 or 32 bits wide. */
export function effectiveAddress(cpu: Cpu, slot: number): number {
  const { i32 } = cpu;
  const { slots } = cpu.code;
  const index = slots[slot + 4]!;
  const sum = (i32[slots[slot + 3]!]! + (i32[index & 15]! << (index >> 4)) + slots[slot + 5]!) | 0;
  return (index & 0x1000) !== 0 ? sum & 0xffff : sum;
}

/** Segment of the memory operand. */
export function segmentOf(cpu: Cpu, slot: number): number {
  return (cpu.code.slots[slot + 4]! >> 9) & 7;
}

/** Linear address of an access, or #GP(0) (#SS(0) for the stack segment) when the segment forbids it. */
export function segmentLinear(cpu: Cpu, segment: number, offset: number, bytes: number, write: boolean): number {
  const { i32 } = cpu;
  const at = SEGMENTS + segment * SEGMENT_WORDS;
  const rights = i32[at + SEGMENT_RIGHTS]!;
  const limit = i32[at + SEGMENT_LIMIT]! >>> 0;
  const first = offset >>> 0;
  const last = first + bytes - 1;
  let allowed = (rights & RIGHTS_UNUSABLE) === 0;
  if ((rights & CODE) !== 0) allowed &&= !write && (rights & WRITABLE) !== 0;
  else if (write) allowed &&= (rights & WRITABLE) !== 0;
  if ((rights & (CODE | EXPAND_DOWN)) === EXPAND_DOWN) allowed &&= first > limit && last <= ((rights & BIG) !== 0 ? 0xffffffff : 0xffff);
  else allowed &&= last <= limit || limit === 0xffffffff;
  if (!allowed) raise(cpu, segment === SS ? SS_FAULT : GP, 0);
  return (i32[at + SEGMENT_BASE]! + offset) | 0;
}

/** Linear address of the memory operand for an access of `bytes`. */
export function operandLinear(cpu: Cpu, slot: number, bytes: number, write: boolean): number {
  return segmentLinear(cpu, segmentOf(cpu, slot), effectiveAddress(cpu, slot), bytes, write);
}

/** The memory operand's address with its segment base and no check (INVLPG). */
export function operandLinearUnchecked(cpu: Cpu, slot: number): number {
  return (cpu.i32[SEGMENTS + segmentOf(cpu, slot) * SEGMENT_WORDS + SEGMENT_BASE]! + effectiveAddress(cpu, slot)) | 0;
}

const isUser = (cpu: Cpu): boolean => cpu.user !== 0;

export function read8(cpu: Cpu, segment: number, offset: number): number {
  return readLinear8(cpu, segmentLinear(cpu, segment, offset, 1, false), isUser(cpu));
}
export function read16(cpu: Cpu, segment: number, offset: number): number {
  return readLinear16(cpu, segmentLinear(cpu, segment, offset, 2, false), isUser(cpu));
}
export function read32(cpu: Cpu, segment: number, offset: number): number {
  return readLinear32(cpu, segmentLinear(cpu, segment, offset, 4, false), isUser(cpu));
}
export function write8(cpu: Cpu, segment: number, offset: number, value: number): void {
  writeLinear8(cpu, segmentLinear(cpu, segment, offset, 1, true), value, isUser(cpu));
}
export function write16(cpu: Cpu, segment: number, offset: number, value: number): void {
  writeLinear16(cpu, segmentLinear(cpu, segment, offset, 2, true), value, isUser(cpu));
}
export function write32(cpu: Cpu, segment: number, offset: number, value: number): void {
  writeLinear32(cpu, segmentLinear(cpu, segment, offset, 4, true), value, isUser(cpu));
}

// E operands: the register in B, or memory.

export function readE8(cpu: Cpu, slot: number): number {
  const register = cpu.code.slots[slot + 2]!;
  return register >= 0 ? cpu.u8[register]! : readLinear8(cpu, operandLinear(cpu, slot, 1, false), isUser(cpu));
}
export function readE16(cpu: Cpu, slot: number): number {
  const register = cpu.code.slots[slot + 2]!;
  return register >= 0 ? cpu.i32[register]! & 0xffff : readLinear16(cpu, operandLinear(cpu, slot, 2, false), isUser(cpu));
}
export function readE32(cpu: Cpu, slot: number): number {
  const register = cpu.code.slots[slot + 2]!;
  return register >= 0 ? cpu.i32[register]! : readLinear32(cpu, operandLinear(cpu, slot, 4, false), isUser(cpu));
}

/** As readE…, for read-modify-write: memory faults as a write does. */
export function modifyE8(cpu: Cpu, slot: number): number {
  const register = cpu.code.slots[slot + 2]!;
  return register >= 0 ? cpu.u8[register]! : readForWrite8(cpu, operandLinear(cpu, slot, 1, true), isUser(cpu));
}
export function modifyE16(cpu: Cpu, slot: number): number {
  const register = cpu.code.slots[slot + 2]!;
  return register >= 0 ? cpu.i32[register]! & 0xffff : readForWrite16(cpu, operandLinear(cpu, slot, 2, true), isUser(cpu));
}
export function modifyE32(cpu: Cpu, slot: number): number {
  const register = cpu.code.slots[slot + 2]!;
  return register >= 0 ? cpu.i32[register]! : readForWrite32(cpu, operandLinear(cpu, slot, 4, true), isUser(cpu));
}

export function writeE8(cpu: Cpu, slot: number, value: number): void {
  const register = cpu.code.slots[slot + 2]!;
  if (register >= 0) cpu.u8[register] = value;
  else writeLinear8(cpu, operandLinear(cpu, slot, 1, true), value, isUser(cpu));
}
export function writeE16(cpu: Cpu, slot: number, value: number): void {
  const register = cpu.code.slots[slot + 2]!;
  if (register >= 0) cpu.u16[register << 1] = value;
  else writeLinear16(cpu, operandLinear(cpu, slot, 2, true), value, isUser(cpu));
}
export function writeE32(cpu: Cpu, slot: number, value: number): void {
  const register = cpu.code.slots[slot + 2]!;
  if (register >= 0) cpu.i32[register] = value;
  else writeLinear32(cpu, operandLinear(cpu, slot, 4, true), value, isUser(cpu));
}

// G operands: the register in A.

export function readG8(cpu: Cpu, slot: number): number {
  return cpu.u8[cpu.code.slots[slot + 1]!]!;
}
export function readG16(cpu: Cpu, slot: number): number {
  return cpu.i32[cpu.code.slots[slot + 1]!]! & 0xffff;
}
export function readG32(cpu: Cpu, slot: number): number {
  return cpu.i32[cpu.code.slots[slot + 1]!]!;
}
export function writeG8(cpu: Cpu, slot: number, value: number): void {
  cpu.u8[cpu.code.slots[slot + 1]!] = value;
}
export function writeG16(cpu: Cpu, slot: number, value: number): void {
  cpu.u16[cpu.code.slots[slot + 1]! << 1] = value;
}
export function writeG32(cpu: Cpu, slot: number, value: number): void {
  cpu.i32[cpu.code.slots[slot + 1]!] = value;
}

export function immediate(cpu: Cpu, slot: number): number {
  return cpu.code.slots[slot + 6]!;
}

// The stack. ESP changes after the access, so that a fault leaves it as it was.

/** 0xFFFFFFFF for a 32-bit stack segment, 0xFFFF for a 16-bit one. */
export function stackMask(cpu: Cpu): number {
  return (cpu.i32[SEGMENTS + SS * SEGMENT_WORDS + SEGMENT_RIGHTS]! & BIG) !== 0 ? -1 : 0xffff;
}

export function setStackOffset(cpu: Cpu, mask: number, offset: number): void {
  cpu.i32[ESP] = (cpu.i32[ESP]! & ~mask) | (offset & mask);
}

export function push32(cpu: Cpu, value: number): void {
  const mask = stackMask(cpu);
  const offset = (cpu.i32[ESP]! - 4) & mask;
  write32(cpu, SS, offset, value);
  setStackOffset(cpu, mask, offset);
}
export function push16(cpu: Cpu, value: number): void {
  const mask = stackMask(cpu);
  const offset = (cpu.i32[ESP]! - 2) & mask;
  write16(cpu, SS, offset, value);
  setStackOffset(cpu, mask, offset);
}
/** The element at the top of the stack; `release` pops it. */
export function top32(cpu: Cpu): number {
  return read32(cpu, SS, cpu.i32[ESP]! & stackMask(cpu));
}
export function top16(cpu: Cpu): number {
  return read16(cpu, SS, cpu.i32[ESP]! & stackMask(cpu));
}
export function release(cpu: Cpu, bytes: number): void {
  setStackOffset(cpu, stackMask(cpu), cpu.i32[ESP]! + bytes);
}

/** Raise what a write of `bytes` at an offset of a segment would raise. */
export function probeSegmentWrite(cpu: Cpu, segment: number, offset: number, bytes: number): void {
  probeWrite(cpu, segmentLinear(cpu, segment, offset, bytes, true), bytes, isUser(cpu));
}
