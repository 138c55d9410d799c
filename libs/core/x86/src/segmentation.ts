import type { Cpu } from './cpu.js';
import { Descriptor, RIGHTS_BIG, RIGHTS_S, SELECTOR_RPL, TYPE_CODE, TYPE_CONFORMING, TYPE_EXPAND_DOWN, effectiveLevel, errorCodeOf, isNull, markAccessed, readDescriptor } from './descriptor.js';
import { SEGMENT_LOADS } from './event-counters.js';
import { GP, NP, SS_FAULT, raise } from './fault.js';
import { observeRequestedLevel } from './sensitive.js';
import { modeChanged } from './slots.js';
import { CPL, CS, DS, ES, FS, GS, RIGHTS_UNUSABLE, SEGMENTS, SEGMENT_BASE, SEGMENT_LIMIT, SEGMENT_RIGHTS, SEGMENT_SELECTOR, SEGMENT_WORDS, SS } from './state.js';

const scratch = new Descriptor();

/** Word index of a segment register's first word. */
export const segmentAt = (segment: number): number => SEGMENTS + segment * SEGMENT_WORDS;
export const selectorOf = (cpu: Cpu, segment: number): number => cpu.i32[segmentAt(segment) + SEGMENT_SELECTOR]! & 0xffff;

/** Fill a segment register from a descriptor that has passed its checks. Does not call `modeChanged`. */
export function setSegment(cpu: Cpu, segment: number, selector: number, descriptor: Descriptor): void {
  const at = segmentAt(segment);
  cpu.i32[at + SEGMENT_SELECTOR] = selector;
  cpu.i32[at + SEGMENT_BASE] = descriptor.base;
  cpu.i32[at + SEGMENT_LIMIT] = descriptor.limit;
  cpu.i32[at + SEGMENT_RIGHTS] = descriptor.rights;
}

/** Load a null selector: every access through the register raises #GP(0) from now on. Does not call `modeChanged`. */
export function setNullSegment(cpu: Cpu, segment: number, selector: number): void {
  const at = segmentAt(segment);
  cpu.i32[at + SEGMENT_SELECTOR] = selector;
  cpu.i32[at + SEGMENT_BASE] = 0;
  cpu.i32[at + SEGMENT_LIMIT] = 0;
  cpu.i32[at + SEGMENT_RIGHTS] = RIGHTS_UNUSABLE;
}

/**
 * MOV, POP, LDS/LES/LFS/LGS/LSS to a segment register (SDM Vol. 2 MOV, "Protected Mode"). CS cannot be named (#UD in the
 * decoder). The interrupt shadow of MOV SS and POP SS (SDM Vol. 3A 6.8.3) is `blockInterrupts`, which LSS does not have.
 */
export function loadSegment(cpu: Cpu, segment: number, selector: number): void {
  selector &= 0xffff;
  if (segment === SS) loadStackSegment(cpu, selector);
  else loadDataSegment(cpu, segment, selector);
  modeChanged(cpu);
}

function loadStackSegment(cpu: Cpu, selector: number): void {
  const cpl = cpu.i32[CPL]!;
  const error = errorCodeOf(selector);
  if (isNull(selector)) raise(cpu, GP, 0);
  if (!readDescriptor(cpu, selector, scratch)) raise(cpu, GP, error);
  if ((selector & SELECTOR_RPL) !== cpl || !scratch.writableData || scratch.dpl !== cpl) raise(cpu, GP, error);
  if (!scratch.present) raise(cpu, SS_FAULT, error);
  markAccessed(cpu, scratch);
  cpu.f64[SEGMENT_LOADS]! += 1;
  setSegment(cpu, SS, selector, scratch);
}

function loadDataSegment(cpu: Cpu, segment: number, selector: number): void {
  if (isNull(selector)) return setNullSegment(cpu, segment, selector);
  const error = errorCodeOf(selector);
  if (!readDescriptor(cpu, selector, scratch) || !scratch.readable) raise(cpu, GP, error);
  if (!scratch.conforming && scratch.dpl < effectiveLevel(cpu, selector)) raise(cpu, GP, error);
  if (!scratch.present) raise(cpu, NP, error);
  markAccessed(cpu, scratch);
  if (!scratch.conforming && scratch.dpl === 1) observeRequestedLevel(cpu, 'segment load', selector);
  cpu.f64[SEGMENT_LOADS]! += 1;
  setSegment(cpu, segment, selector, scratch);
}

/**
 * Whether `bytes` bytes at `offset` lie inside a segment (SDM Vol. 3A 5.3). The last byte may wrap only in a 4 GiB segment,
 * as flat code does.
 */
export function withinLimit(rights: number, limit: number, offset: number, bytes: number): boolean {
  const first = offset >>> 0;
  const last = first + bytes - 1;
  if ((rights & (RIGHTS_S | TYPE_CODE | TYPE_EXPAND_DOWN)) === (RIGHTS_S | TYPE_EXPAND_DOWN)) {
    return first > limit >>> 0 && last <= ((rights & RIGHTS_BIG) !== 0 ? 0xffff_ffff : 0xffff);
  }
  return limit === -1 || last <= limit >>> 0;
}

/**
 * After a return to an outer level: data segment registers that the new level may not use become null, so that the caller
 * cannot inherit the callee's segments (SDM Vol. 3A 5.8.6). CPL must be the new one.
 */
export function dropInnerDataSegments(cpu: Cpu): void {
  const cpl = cpu.i32[CPL]!;
  for (const segment of DATA_SEGMENTS) {
    const rights = cpu.i32[segmentAt(segment) + SEGMENT_RIGHTS]!;
    if ((rights & RIGHTS_UNUSABLE) !== 0) continue;
    const conforming = (rights & (TYPE_CODE | TYPE_CONFORMING)) === (TYPE_CODE | TYPE_CONFORMING);
    if (!conforming && ((rights >>> 5) & 3) < cpl) setNullSegment(cpu, segment, 0);
  }
}
const DATA_SEGMENTS = [ES, FS, GS, DS] as const;

/** Enter code at the given privilege level: CS and CPL. The RPL of CS is the level, whatever the selector said. */
export function setCodeSegment(cpu: Cpu, selector: number, level: number, descriptor: Descriptor): void {
  setSegment(cpu, CS, (selector & 0xfffc) | level, descriptor);
  cpu.i32[CPL] = level;
}
