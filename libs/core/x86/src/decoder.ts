import type { Cpu } from './cpu.js';
import { MODE_CODE32 } from './mode.js';
import { EAX, ESP, EBP, EBX, ESI, EDI, DS, SS, ES, FS, GS, CS, ZERO } from './state.js';
import { ENTRIES, Immediate, type DecodeEntry } from './decode-table.js';
import { chooseOperation, OP_GP_TOO_LONG, OP_UNDEFINED } from './operations.js';
import {
  INDEX_ADDRESS16, INDEX_OVERRIDE, INDEX_SEGMENT_SHIFT, META_LOCK, META_OPERAND16, META_REP, META_REPNE, SLOT_A, SLOT_B, SLOT_BASE, SLOT_DISPLACEMENT, SLOT_IMMEDIATE, SLOT_INDEX, SLOT_META, SLOT_OP,
} from './slot-layout.js';

/** What `decode` returns: the length in bytes, or MORE when the bytes at hand end inside the instruction. */
export const MORE = -1;

/** Byte offset in the register file of an 8-bit register: AL CL DL BL AH CH DH BH. */
export const byteRegister = (number: number): number => (number & 3) * 4 + (number >> 2);

const BASE16 = [EBX, EBX, EBP, EBP, ESI, EDI, EBP, EBX];
const INDEX16 = [ESI, EDI, ESI, EDI, ZERO, ZERO, ZERO, ZERO];
const MOST_BYTES = 15;
const SEGMENT_PREFIX = new Map([[0x26, ES], [0x2e, CS], [0x36, SS], [0x3e, DS], [0x64, FS], [0x65, GS]]);

/**
 * Decode the instruction at `bytes[at]`, of which bytes below `end` may be read, into the slot at `slot`. `offset` is its place in its page.
 * An encoding that does not exist becomes an operation that raises #UD (or #GP beyond 15 bytes) when it is executed.
 */
export function decode(cpu: Cpu, bytes: Uint8Array, at: number, end: number, slot: number, offset: number, mode: number): number {
  const { slots } = cpu.code;
  const limit = end < at + MOST_BYTES ? end : at + MOST_BYTES;
  const tooLong = limit === at + MOST_BYTES;
  let cursor = at;
  let operand32 = (mode & MODE_CODE32) !== 0;
  let address32 = operand32;
  let override = -1;
  let prefixes = 0;
  let byte = 0;

  slots.fill(0, slot, slot + 8);
  for (;;) {
    if (cursor >= limit) return shortage(cpu, slot, offset, tooLong);
    byte = bytes[cursor++]!;
    if (byte === 0x66) operand32 = (mode & MODE_CODE32) === 0;
    else if (byte === 0x67) address32 = (mode & MODE_CODE32) === 0;
    else if (byte === 0xf0) prefixes |= META_LOCK;
    else if (byte === 0xf2) prefixes = (prefixes & ~META_REP) | META_REPNE;
    else if (byte === 0xf3) prefixes = (prefixes & ~META_REPNE) | META_REP;
    else {
      const segment = SEGMENT_PREFIX.get(byte);
      if (segment === undefined) break;
      override = segment;
    }
  }
  if (!operand32) prefixes |= META_OPERAND16;
  let opcode = byte;
  if (byte === 0x0f) {
    if (cursor >= limit) return shortage(cpu, slot, offset, tooLong);
    opcode = 0x100 | bytes[cursor++]!;
  }

  const group = ENTRIES[opcode];
  if (group === undefined) return finish(cpu, slot, OP_UNDEFINED, offset, cursor - at, prefixes);
  let entry: DecodeEntry | undefined = group.only;
  let modrm = 0;
  let register = -1; // ModRM.rm register, -1 for memory
  slots[slot + SLOT_BASE] = ZERO;
  let index = ZERO;
  let segment: number = DS;
  if (group.modrm) {
    if (cursor >= limit) return shortage(cpu, slot, offset, tooLong);
    modrm = bytes[cursor++]!;
    entry = group.choose(modrm);
    if (entry === undefined) return finish(cpu, slot, OP_UNDEFINED, offset, cursor - at, prefixes);
    const rm = modrm & 7;
    const mod = modrm >> 6;
    if (mod === 3 || entry.registerOnly) {
      if (entry.memoryOnly) return finish(cpu, slot, OP_UNDEFINED, offset, cursor - at, prefixes);
      register = rm;
    } else if (address32) {
      let base = rm;
      if (rm === 4) {
        if (cursor >= limit) return shortage(cpu, slot, offset, tooLong);
        const sib = bytes[cursor++]!;
        base = sib & 7;
        const scaled = (sib >> 3) & 7;
        if (scaled !== 4) index = scaled | ((sib >> 6) << 4);
      }
      let size = mod === 1 ? 1 : mod === 2 ? 4 : 0;
      if (base === EBP && mod === 0) {
        base = ZERO;
        size = 4;
      }
      if (base === ESP || base === EBP) segment = SS;
      if (cursor + size > limit) return shortage(cpu, slot, offset, tooLong);
      slots[slot + SLOT_BASE] = base;
      slots[slot + SLOT_DISPLACEMENT] = size === 0 ? 0 : size === 1 ? (bytes[cursor]! << 24) >> 24 : word32(bytes, cursor);
      cursor += size;
    } else {
      let base: number = BASE16[rm]!;
      index = INDEX16[rm]!;
      let size = mod === 1 ? 1 : mod === 2 ? 2 : 0;
      if (rm === 6 && mod === 0) {
        base = ZERO;
        size = 2;
      }
      if (base === EBP) segment = SS;
      if (cursor + size > limit) return shortage(cpu, slot, offset, tooLong);
      slots[slot + SLOT_BASE] = base;
      slots[slot + SLOT_DISPLACEMENT] = size === 0 ? 0 : size === 1 ? (bytes[cursor]! << 24) >> 24 : word16(bytes, cursor);
      cursor += size;
    }
    slots[slot + SLOT_A] = entry.byteG ? byteRegister((modrm >> 3) & 7) : (modrm >> 3) & 7;
  } else if (entry!.inOpcode) {
    register = opcode & 7;
    slots[slot + SLOT_A] = EAX;
  } else if (entry!.accumulator) {
    register = EAX;
  }
  if (entry === undefined) return finish(cpu, slot, OP_UNDEFINED, offset, cursor - at, prefixes);
  slots[slot + SLOT_B] = register < 0 ? -1 : entry.byteE ? byteRegister(register) : register;

  switch (entry.immediate) {
    case Immediate.None:
      break;
    case Immediate.Byte:
      if (cursor >= limit) return shortage(cpu, slot, offset, tooLong);
      slots[slot + SLOT_IMMEDIATE] = bytes[cursor++]!;
      break;
    case Immediate.SignedByte:
      if (cursor >= limit) return shortage(cpu, slot, offset, tooLong);
      slots[slot + SLOT_IMMEDIATE] = (bytes[cursor++]! << 24) >> 24;
      break;
    case Immediate.Word:
      if (cursor + 2 > limit) return shortage(cpu, slot, offset, tooLong);
      slots[slot + SLOT_IMMEDIATE] = word16(bytes, cursor);
      cursor += 2;
      break;
    case Immediate.Full: {
      const size = operand32 ? 4 : 2;
      if (cursor + size > limit) return shortage(cpu, slot, offset, tooLong);
      slots[slot + SLOT_IMMEDIATE] = operand32 ? word32(bytes, cursor) : (word16(bytes, cursor) << 16) >> 16;
      cursor += size;
      break;
    }
    case Immediate.Enter:
      if (cursor + 3 > limit) return shortage(cpu, slot, offset, tooLong);
      slots[slot + SLOT_IMMEDIATE] = word16(bytes, cursor) | (bytes[cursor + 2]! << 16);
      cursor += 3;
      break;
    case Immediate.FarPointer: {
      const size = operand32 ? 4 : 2;
      if (cursor + size + 2 > limit) return shortage(cpu, slot, offset, tooLong);
      slots[slot + SLOT_IMMEDIATE] = operand32 ? word32(bytes, cursor) : word16(bytes, cursor);
      slots[slot + SLOT_A] = word16(bytes, cursor + size);
      cursor += size + 2;
      break;
    }
    case Immediate.Offset: {
      const size = address32 ? 4 : 2;
      if (cursor + size > limit) return shortage(cpu, slot, offset, tooLong);
      slots[slot + SLOT_DISPLACEMENT] = address32 ? word32(bytes, cursor) : word16(bytes, cursor);
      slots[slot + SLOT_A] = EAX;
      slots[slot + SLOT_B] = -1;
      cursor += size;
      break;
    }
    case Immediate.RelativeByte:
      if (cursor >= limit) return shortage(cpu, slot, offset, tooLong);
      slots[slot + SLOT_IMMEDIATE] = (bytes[cursor++]! << 24) >> 24;
      slots[slot + SLOT_IMMEDIATE]! += offset + cursor - at;
      break;
    case Immediate.RelativeFull: {
      const size = operand32 ? 4 : 2;
      if (cursor + size > limit) return shortage(cpu, slot, offset, tooLong);
      slots[slot + SLOT_IMMEDIATE] = operand32 ? word32(bytes, cursor) : (word16(bytes, cursor) << 16) >> 16;
      cursor += size;
      slots[slot + SLOT_IMMEDIATE]! += offset + cursor - at;
      break;
    }
  }

  // LOCK is for read-modify-write of memory only (SDM Vol. 2A, LOCK).
  if ((prefixes & META_LOCK) !== 0 && (!entry.lockable || register >= 0)) return finish(cpu, slot, OP_UNDEFINED, offset, cursor - at, prefixes);
  if (override >= 0) {
    segment = override;
    index |= INDEX_OVERRIDE;
  }
  slots[slot + SLOT_INDEX] = index | (segment << INDEX_SEGMENT_SHIFT) | (address32 ? 0 : INDEX_ADDRESS16);
  return finish(cpu, slot, chooseOperation(entry, register >= 0, operand32, address32, segment, mode, slots, slot, prefixes), offset, cursor - at, prefixes);
}

function finish(cpu: Cpu, slot: number, operation: number, offset: number, length: number, prefixes: number): number {
  const { slots } = cpu.code;
  slots[slot + SLOT_OP] = operation;
  slots[slot + SLOT_META] = (length << 8) | (offset << 12) | prefixes;
  return length;
}

function shortage(cpu: Cpu, slot: number, offset: number, tooLong: boolean): number {
  return tooLong ? finish(cpu, slot, OP_GP_TOO_LONG, offset, MOST_BYTES, 0) : MORE;
}

function word16(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8);
}

function word32(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}
