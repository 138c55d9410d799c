import type { Cpu } from './cpu.js';
import { RIGHTS_BIG } from './descriptor.js';
import { SS_FAULT, raise } from './fault.js';
import { probeWrite, readLinear16, readLinear32, writeLinear16, writeLinear32 } from './memory.js';
import { segmentAt, withinLimit } from './segmentation.js';
import { CPL, ESP, SEGMENT_BASE, SEGMENT_LIMIT, SEGMENT_RIGHTS, SS } from './state.js';
import type { InnerStack } from './task-state-segment.js';

/** Size of one stack element of a far transfer, from the operand size or the gate. */
export type ElementSize = 2 | 4;

/**
 * A stack on which a far transfer builds its frame. Everything that can fail is tried first (`checkRoom`, `probe`), then
 * `push` writes: nothing has changed when the last fault is raised.
 */
export class StackFrame {
  private base = 0;
  private limit = 0;
  private rights = 0;
  private mask = 0;
  private size: ElementSize = 4;
  /** Whether the pushes are user-mode accesses to paging. */
  private user = false;
  /** Stack pointer: where the next element goes is below it. */
  pointer = 0;

  /** The current stack. */
  onCurrent(cpu: Cpu, size: ElementSize): this {
    const at = segmentAt(SS);
    return this.on(cpu.i32[at + SEGMENT_BASE]!, cpu.i32[at + SEGMENT_LIMIT]!, cpu.i32[at + SEGMENT_RIGHTS]!, cpu.i32[ESP]!, size, cpu.i32[CPL] === 3);
  }

  /** The stack of an inner level: never level 3, so the pushes are supervisor accesses. */
  onInner(inner: InnerStack, size: ElementSize): this {
    const { descriptor } = inner;
    return this.on(descriptor.base, descriptor.limit, descriptor.rights, inner.pointer, size, false);
  }

  private on(base: number, limit: number, rights: number, pointer: number, size: ElementSize, user: boolean): this {
    this.base = base;
    this.limit = limit;
    this.rights = rights;
    this.mask = (rights & RIGHTS_BIG) !== 0 ? -1 : 0xffff;
    this.pointer = pointer;
    this.size = size;
    this.user = user;
    return this;
  }

  /** Raise #SS(errorCode) unless `count` more elements fit. */
  checkRoom(cpu: Cpu, count: number, errorCode: number): void {
    for (let pushed = 1; pushed <= count; pushed++) {
      if (!withinLimit(this.rights, this.limit, (this.pointer - pushed * this.size) & this.mask, this.size)) raise(cpu, SS_FAULT, errorCode);
    }
  }

  /** Raise the #PF that pushing `count` elements would raise, for the first of them that would. */
  probe(cpu: Cpu, count: number): void {
    const top = (this.pointer - this.size) & this.mask;
    const bottom = (this.pointer - count * this.size) & this.mask;
    if (bottom >>> 0 <= top >>> 0 && ((this.base + bottom) ^ (this.base + top + this.size - 1)) >>> 12 === 0) {
      probeWrite(cpu, (this.base + top) | 0, this.size, this.user); // all in one page
      return;
    }
    for (let pushed = 1; pushed <= count; pushed++) {
      probeWrite(cpu, (this.base + ((this.pointer - pushed * this.size) & this.mask)) | 0, this.size, this.user);
    }
  }

  /** Write one element. A 16-bit stack changes the low half of the pointer only. */
  push(cpu: Cpu, value: number): void {
    const offset = (this.pointer - this.size) & this.mask;
    const linear = (this.base + offset) | 0;
    if (this.size === 4) writeLinear32(cpu, linear, value, this.user);
    else writeLinear16(cpu, linear, value & 0xffff, this.user);
    this.pointer = (this.pointer & ~this.mask) | offset;
  }
}

/** Element `index` above the top of the current stack, plus `skip` bytes; #SS(0) outside the segment. Nothing is popped. */
export function peekStack(cpu: Cpu, index: number, size: ElementSize, skip = 0): number {
  const at = segmentAt(SS);
  const rights = cpu.i32[at + SEGMENT_RIGHTS]!;
  const offset = (cpu.i32[ESP]! + index * size + skip) & ((rights & RIGHTS_BIG) !== 0 ? -1 : 0xffff);
  if (!withinLimit(rights, cpu.i32[at + SEGMENT_LIMIT]!, offset, size)) raise(cpu, SS_FAULT, 0);
  const linear = (cpu.i32[at + SEGMENT_BASE]! + offset) | 0;
  const user = cpu.i32[CPL] === 3;
  return size === 4 ? readLinear32(cpu, linear, user) : readLinear16(cpu, linear, user);
}

/** Set the stack pointer as wide as the stack segment just loaded: a 16-bit stack keeps the upper half of ESP. */
export function setStackPointer(cpu: Cpu, value: number): void {
  const mask = (cpu.i32[segmentAt(SS) + SEGMENT_RIGHTS]! & RIGHTS_BIG) !== 0 ? -1 : 0xffff;
  cpu.i32[ESP] = (cpu.i32[ESP]! & ~mask) | (value & mask);
}
