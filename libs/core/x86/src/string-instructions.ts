import { checksAlignment } from './alignment.js';
import * as arithmetic from './arithmetic.js';
import type { Cpu } from './cpu.js';
import { DF, ZF, getEflags } from './flags.js';
import type { InstructionFunction, InstructionSet } from './instruction.js';
import { META_REPNE } from './slot-layout.js';
import { READ, translate, WRITE } from './paging.js';
import { read16, read32, read8, segmentLinear, segmentOf, write16, write32, write8 } from './operands.js';
import { BUS_ORDINAL, EAX, ECX, EDI, EFLAGS_SYSTEM, EIP, ES, ESI, REMAINING, REP_DONE, REP_UNFINISHED, SEGMENTS, SEGMENT_BASE, SEGMENT_WORDS } from './state.js';

/**
 * MOVS CMPS STOS LODS SCAS (SDM Vol. 2), alone and under REP. Each iteration of a REP counts as one retired instruction, and
 * registers are exact after each, so that it can stop anywhere: at a fault, an exit, or the end of the budget (EIP then stays at the instruction).
 */

type Size = 1 | 2 | 4;

const isNarrow = (cpu: Cpu, slot: number): boolean => (cpu.code.slots[slot + 4]! & 0x1000) !== 0;
const offsetIn = (cpu: Cpu, slot: number, register: number): number => (isNarrow(cpu, slot) ? cpu.i32[register]! & 0xffff : cpu.i32[register]!);

/** ESI and EDI by the direction flag; with 16-bit addresses SI and DI. */
export function advance(cpu: Cpu, narrow: boolean, register: number, bytes: number): void {
  const delta = (cpu.i32[EFLAGS_SYSTEM]! & DF) === 0 ? bytes : -bytes;
  if (narrow) cpu.u16[register << 1] = cpu.i32[register]! + delta;
  else cpu.i32[register] = cpu.i32[register]! + delta;
}

function read(cpu: Cpu, segment: number, offset: number, size: Size): number {
  return size === 1 ? read8(cpu, segment, offset) : size === 2 ? read16(cpu, segment, offset) : read32(cpu, segment, offset);
}
function write(cpu: Cpu, segment: number, offset: number, value: number, size: Size): void {
  if (size === 1) write8(cpu, segment, offset, value);
  else if (size === 2) write16(cpu, segment, offset, value);
  else write32(cpu, segment, offset, value);
}
function compare(cpu: Cpu, a: number, b: number, size: Size): void {
  if (size === 1) arithmetic.sub8(cpu, a, b);
  else if (size === 2) arithmetic.sub16(cpu, a, b);
  else arithmetic.sub32(cpu, a, b);
}
function accumulator(cpu: Cpu, size: Size): number {
  return size === 1 ? cpu.u8[0]! : size === 2 ? cpu.i32[EAX]! & 0xffff : cpu.i32[EAX]!;
}

type Iteration = (cpu: Cpu, slot: number, size: Size) => void;

const movs: Iteration = (cpu, slot, size) => {
  const value = read(cpu, segmentOf(cpu, slot), offsetIn(cpu, slot, ESI), size);
  write(cpu, ES, offsetIn(cpu, slot, EDI), value, size);
  advance(cpu, isNarrow(cpu, slot), ESI, size);
  advance(cpu, isNarrow(cpu, slot), EDI, size);
};
const stos: Iteration = (cpu, slot, size) => {
  write(cpu, ES, offsetIn(cpu, slot, EDI), accumulator(cpu, size), size);
  advance(cpu, isNarrow(cpu, slot), EDI, size);
};
const lods: Iteration = (cpu, slot, size) => {
  const value = read(cpu, segmentOf(cpu, slot), offsetIn(cpu, slot, ESI), size);
  if (size === 1) cpu.u8[0] = value;
  else if (size === 2) cpu.u16[0] = value;
  else cpu.i32[EAX] = value;
  advance(cpu, isNarrow(cpu, slot), ESI, size);
};
const scas: Iteration = (cpu, slot, size) => {
  compare(cpu, accumulator(cpu, size), read(cpu, ES, offsetIn(cpu, slot, EDI), size), size);
  advance(cpu, isNarrow(cpu, slot), EDI, size);
};
const cmps: Iteration = (cpu, slot, size) => {
  // When both would fault, ES:EDI does (found on the host processor).
  const second = read(cpu, ES, offsetIn(cpu, slot, EDI), size);
  compare(cpu, read(cpu, segmentOf(cpu, slot), offsetIn(cpu, slot, ESI), size), second, size);
  advance(cpu, isNarrow(cpu, slot), ESI, size);
  advance(cpu, isNarrow(cpu, slot), EDI, size);
};

/** Several iterations at once inside a page; returns how many were done, 0 when the next one is not simple. `most` is at least 1. */
type Bulk = (cpu: Cpu, slot: number, size: Size, most: number) => number;

/** Elements from `offset` to the end of its page. */
const run = (linear: number, size: Size): number => (4096 - (linear & 0xfff)) >> (size >> 1);

/** Byte offset in the VM's memory of `count` elements at `segment:offset`, all in one page, or -1 when that is not simple. Raises what the first access would raise. */
function place(cpu: Cpu, segment: number, offset: number, size: Size, count: number, toWrite: boolean): number {
  const linear = segmentLinear(cpu, segment, offset, size, toWrite);
  if ((offset >>> 0) + size * count > 0x1_0000_0000) return -1;
  if (count > 1) {
    // The whole run must be inside the limit too: its last element is tried by arithmetic on a run that cannot wrap.
    const last = (offset + size * (count - 1)) | 0;
    try {
      segmentLinear(cpu, segment, last, size, toWrite);
    } catch {
      return -1;
    }
  }
  const at = translate(cpu, linear, toWrite ? WRITE : READ, cpu.user !== 0);
  if ((linear & (size - 1)) !== 0 && checksAlignment(cpu)) return -1;
  return at >= 0 && (!toWrite || cpu.code.pageFlags[at >>> 12] === 0) ? at : -1;
}

const linearBase = (cpu: Cpu, segment: number): number => cpu.i32[SEGMENTS + segment * SEGMENT_WORDS + SEGMENT_BASE]!;

function simple(cpu: Cpu, slot: number): boolean {
  return (cpu.i32[EFLAGS_SYSTEM]! & DF) === 0 && !isNarrow(cpu, slot) && cpu.replay.length === 0;
}

const bulkStos: Bulk = (cpu, slot, size, most) => {
  const offset = cpu.i32[EDI]!;
  const inPage = run(offset + linearBase(cpu, ES), size);
  const count = most < inPage ? most : inPage;
  if (count < 2 || !simple(cpu, slot)) return 0;
  const at = place(cpu, ES, offset, size, count, true);
  if (at < 0 || (at & (size - 1)) !== 0) return 0;
  if (size === 1) cpu.u8.fill(cpu.u8[0]!, at, at + count);
  else if (size === 2) cpu.u16.fill(cpu.u16[0]!, at >> 1, (at >> 1) + count);
  else cpu.i32.fill(cpu.i32[EAX]!, at >> 2, (at >> 2) + count);
  cpu.i32[EDI] = offset + count * size;
  return count;
};

const bulkMovs: Bulk = (cpu, slot, size, most) => {
  const from = cpu.i32[ESI]!;
  const to = cpu.i32[EDI]!;
  const segment = segmentOf(cpu, slot);
  const sourceRun = run(from + linearBase(cpu, segment), size);
  const targetRun = run(to + linearBase(cpu, ES), size);
  let count = sourceRun < targetRun ? sourceRun : targetRun;
  if (most < count) count = most;
  if (count < 2 || !simple(cpu, slot)) return 0;
  const source = place(cpu, segment, from, size, count, false);
  const target = source < 0 ? -1 : place(cpu, ES, to, size, count, true);
  if (target < 0) return 0;
  const bytes = count * size;
  const { u8 } = cpu;
  if (target > source && target < source + bytes) {
    // Overlap upwards repeats the pattern between the two pointers; one element at a time does not see it coming when it is smaller than one.
    if (target - source < size) return 0;
    for (let n = 0; n < bytes; n++) u8[target + n] = u8[source + n]!;
  } else u8.copyWithin(target, source, source + bytes);
  cpu.i32[ESI] = from + bytes;
  cpu.i32[EDI] = to + bytes;
  return count;
};

const bulkScasb: Bulk = (cpu, slot, size, most) => {
  const offset = cpu.i32[EDI]!;
  const inPage = run(offset + linearBase(cpu, ES), size);
  const limit = most < inPage ? most : inPage;
  if (size !== 1 || limit < 2 || !simple(cpu, slot)) return 0;
  const at = place(cpu, ES, offset, size, limit, false);
  if (at < 0) return 0;
  const { u8 } = cpu;
  const wanted = u8[0]!;
  const whileEqual = (cpu.code.slots[slot + 7]! & META_REPNE) === 0;
  let count = 0;
  while (count < limit && (u8[at + count]! === wanted) === whileEqual) count++;
  if (count < limit) count++; // the element that ends the repetition counts
  arithmetic.sub8(cpu, wanted, u8[at + count - 1]!);
  cpu.i32[EDI] = offset + count;
  return count;
};

const bulkCmpsb: Bulk = (cpu, slot, size, most) => {
  const first = cpu.i32[ESI]!;
  const second = cpu.i32[EDI]!;
  const segment = segmentOf(cpu, slot);
  const firstRun = run(first + linearBase(cpu, segment), size);
  const secondRun = run(second + linearBase(cpu, ES), size);
  let limit = firstRun < secondRun ? firstRun : secondRun;
  if (most < limit) limit = most;
  if (size !== 1 || limit < 2 || !simple(cpu, slot)) return 0;
  const b = place(cpu, ES, second, size, limit, false);
  const a = b < 0 ? -1 : place(cpu, segment, first, size, limit, false);
  if (a < 0) return 0;
  const { u8 } = cpu;
  const whileEqual = (cpu.code.slots[slot + 7]! & META_REPNE) === 0;
  let count = 0;
  while (count < limit && (u8[a + count]! === u8[b + count]!) === whileEqual) count++;
  if (count < limit) count++;
  arithmetic.sub8(cpu, u8[a + count - 1]!, u8[b + count - 1]!);
  cpu.i32[ESI] = first + count;
  cpu.i32[EDI] = second + count;
  return count;
};

const none: Bulk = () => 0;

/**
 * REP, or REPE/REPNE for `compares`. Between two iterations an event may come, and then the instruction is fetched again; one that has written over
 * predecoded code is in any case, so that what a REP over itself does never hangs on where it was interrupted (some processors go on with what they fetched).
 */
function repeat(cpu: Cpu, slot: number, size: Size, iteration: Iteration, bulk: Bulk, compares: boolean): void {
  const { i32 } = cpu;
  const narrow = isNarrow(cpu, slot);
  const budget = i32[REMAINING]!;
  const meta = cpu.code.slots[slot + 7]!;
  const wantedZero = (meta & META_REPNE) === 0 ? ZF : 0;
  let left = narrow ? i32[ECX]! & 0xffff : i32[ECX]! >>> 0;
  let done = 0;
  const { forgotten } = cpu.code;
  while (left > 0) {
    if (done >= budget || cpu.code.forgotten !== forgotten) {
      i32[EIP] = i32[EIP]! - ((meta >>> 8) & 15);
      i32[REP_UNFINISHED] = 1;
      return;
    }
    const most = left < budget - done ? left : budget - done;
    let count = bulk(cpu, slot, size, most);
    if (count === 0) {
      iteration(cpu, slot, size);
      count = 1;
    }
    left -= count;
    done += count;
    if (narrow) cpu.u16[ECX << 1] = left;
    else i32[ECX] = left;
    i32[REP_DONE] = done;
    if (cpu.replay.length > 0) {
      cpu.replay.length = 0;
      i32[BUS_ORDINAL] = 0;
    }
    if (compares && (getEflags(cpu) & ZF) !== wantedZero) return;
  }
}

function string(name: string, operands: readonly [string, string], iteration: Iteration, bulk: Bulk, compares: boolean): InstructionSet {
  const single = (size: Size): InstructionFunction => (cpu, slot) => iteration(cpu, slot, size);
  const repeated = (size: Size): InstructionFunction => (cpu, slot) => repeat(cpu, slot, size, iteration, bulk, compares);
  return {
    [`${name} ${operands[0]}`]: single(1),
    [`${name} ${operands[1]}`]: [single(2), single(4)],
    [`REP ${name} ${operands[0]}`]: repeated(1),
    [`REP ${name} ${operands[1]}`]: [repeated(2), repeated(4)],
  };
}

export const STRING_INSTRUCTIONS: InstructionSet = {
  ...string('MOVS', ['Yb,Xb', 'Yv,Xv'], movs, bulkMovs, false),
  ...string('STOS', ['Yb,AL', 'Yv,eAX'], stos, bulkStos, false),
  ...string('LODS', ['AL,Xb', 'eAX,Xv'], lods, none, false),
  ...string('SCAS', ['AL,Yb', 'eAX,Yv'], scas, bulkScasb, true),
  ...string('CMPS', ['Xb,Yb', 'Xv,Yv'], cmps, bulkCmpsb, true),
};
