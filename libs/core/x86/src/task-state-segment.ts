import type { Cpu } from './cpu.js';
import { Descriptor, RIGHTS_TYPE, SELECTOR_RPL, TSS32_AVAILABLE, errorCodeOf, isNull, readDescriptor } from './descriptor.js';
import { SS_FAULT, TS, raise } from './fault.js';
import { readTable16, readTable32 } from './memory.js';
import { segmentAt, selectorOf } from './segmentation.js';
import { SEGMENT_BASE, SEGMENT_LIMIT, SEGMENT_RIGHTS, TR, TR_SPACE } from './state.js';

/*
 * Task-state segment (SDM Vol. 3A 7.2.1, 7.6). Tasks are not switched; what remains are the stacks of the inner levels and the
 * I/O permission bitmap.
 *
 *   32-bit TSS                      16-bit TSS
 *   offset 4 + 8·level   ESP        2 + 4·level   SP
 *          8 + 8·level   SS         4 + 4·level   SS
 *          102           I/O map base
 */
const IO_MAP_BASE = 102;

export const trIs32 = (cpu: Cpu): boolean => (cpu.i32[segmentAt(TR) + SEGMENT_RIGHTS]! & RIGHTS_TYPE & TSS32_AVAILABLE) === TSS32_AVAILABLE;
const trBase = (cpu: Cpu): number => cpu.i32[segmentAt(TR) + SEGMENT_BASE]!;
const trLimit = (cpu: Cpu): number => cpu.i32[segmentAt(TR) + SEGMENT_LIMIT]! >>> 0;

/** The stack a transfer to an inner level switches to. */
export class InnerStack {
  selector = 0;
  /** Stack pointer as the TSS has it. */
  pointer = 0;
  readonly descriptor = new Descriptor();
}

/**
 * Read and check SS:ESP of an inner level (SDM Vol. 2A, CALL and INT n, "inter-privilege"). Raises #TS with the TSS's selector when the
 * TSS is too short, #TS or #SS with the stack's selector otherwise. `ext` is the EXT bit for the error codes: 1 when the
 * transfer delivers an event from outside the program.
 */
export function readInnerStack(cpu: Cpu, level: number, ext: number, into: InnerStack): void {
  const space = cpu.i32[TR_SPACE]!;
  const base = trBase(cpu);
  const wide = trIs32(cpu);
  const at = wide ? 4 + 8 * level : 2 + 4 * level;
  if (at + (wide ? 5 : 3) > trLimit(cpu)) raise(cpu, TS, errorCodeOf(selectorOf(cpu, TR)) | ext);
  into.pointer = wide ? readTable32(cpu, space, base, at) : readTable16(cpu, space, base, at);
  const selector = readTable16(cpu, space, base, at + (wide ? 4 : 2));
  into.selector = selector;
  const error = errorCodeOf(selector) | ext;
  if (isNull(selector)) raise(cpu, TS, ext);
  const { descriptor } = into;
  if (!readDescriptor(cpu, selector, descriptor)) raise(cpu, TS, error);
  if ((selector & SELECTOR_RPL) !== level || descriptor.dpl !== level || !descriptor.writableData) raise(cpu, TS, error);
  if (!descriptor.present) raise(cpu, SS_FAULT, error);
}

/**
 * Whether the I/O permission bitmap allows an access of `size` bytes at `port` (SDM Vol. 1 19.5.2). The processor reads two bytes, so
 * that an unaligned access is covered, and both must lie within the TSS.
 */
export function ioBitmapAllows(cpu: Cpu, port: number, size: number): boolean {
  const limit = trLimit(cpu);
  if (!trIs32(cpu) || IO_MAP_BASE + 1 > limit) return false;
  const space = cpu.i32[TR_SPACE]!;
  const base = trBase(cpu);
  const at = readTable16(cpu, space, base, IO_MAP_BASE) + (port >>> 3);
  if (at + 1 > limit) return false;
  const mask = ((1 << size) - 1) << (port & 7);
  return (readTable16(cpu, space, base, at) & mask) === 0;
}
