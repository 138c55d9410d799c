import { RAM_BASE, Cpu } from '../cpu.js';
import type { CpuFeatures } from '../cpuid.js';
import { type ExecutionControls, NO_CONTROLS } from '../execution-controls.js';
import { EXIT, FAULT } from '../fault.js';
import { resetTlb } from '../paging.js';
import { segmentAt } from '../segmentation.js';
import { modeChanged } from '../slots.js';
import {
  CPL, CR0, CR2, CS, DR6, DS, EFLAGS_SYSTEM, EIP, ES, ESP, FAULT_ERROR, FAULT_HAS_ERROR, FAULT_VECTOR, FS, GDTR_BASE, GDTR_LIMIT, GDTR_SPACE, GS, IDTR_BASE, IDTR_LIMIT,
  IDTR_SPACE, LDTR, LDTR_SPACE, SEGMENT_BASE, SEGMENT_LIMIT, SEGMENT_RIGHTS, SEGMENT_SELECTOR, SS, TR, TR_SPACE,
} from '../state.js';
import type { ProcessorExit } from '../step.js';

/*
 * A small machine for the specs of segmentation, transfers and events: 128 KiB of RAM, paging off, a GDT with code and data
 * for the four levels, an LDT, an IDT and a TSS. With `deprivileged` the tables lie in monitor space at the same offsets.
 */
export const GDT = 0x1000, LDT = 0x1800, IDT = 0x2000, TSS = 0x3000;
export const TSS_LIMIT = 0x68 + 0x21;
/** Tops of the four stacks. */
export const STACKS = [0x8000, 0x9000, 0xa000, 0xb000] as const;
export const RAM_BYTES = 0x2_0000;

export const CODE = [0x08, 0x19, 0x2a, 0x3b] as const;
export const DATA = [0x10, 0x21, 0x32, 0x43] as const;
export const TSS_SELECTOR = 0x48, LDT_SELECTOR = 0x50;
/** First GDT entry that the template leaves empty; entries go up to 0xf8. */
export const FREE = 0x60;

// The byte at offset 5 of a descriptor: P, DPL, S, type.
export const ACCESS_CODE = 0x9a, ACCESS_CONFORMING = 0x9e, ACCESS_DATA = 0x92, ACCESS_LDT = 0x82, ACCESS_TSS = 0x89, ACCESS_CALL_GATE = 0x8c, ACCESS_CALL_GATE16 = 0x84,
  ACCESS_INTERRUPT_GATE = 0x8e, ACCESS_TRAP_GATE = 0x8f, ACCESS_TASK_GATE = 0x85, ACCESS_INTERRUPT_GATE16 = 0x86;
export const dpl = (level: number): number => level << 5;
// Bits 20–23 of the second word.
export const FLAGS_FLAT = 0xc, FLAGS_BIG = 0x4, FLAGS_16 = 0;

export function segmentWords(base: number, limit: number, access: number, flags: number): [number, number] {
  return [(limit & 0xffff) | (base << 16), ((base >>> 16) & 0xff) | (access << 8) | (limit & 0xf_0000) | (flags << 20) | (base & 0xff00_0000)];
}

export function gateWords(selector: number, offset: number, access: number, parameters = 0): [number, number] {
  return [(offset & 0xffff) | (selector << 16), (offset & 0xffff_0000) | (access << 8) | parameters];
}

export interface Fault { vector: number; error: number | null }

/** Architectural words that a fault must leave as they were: everything below the fault registers but CR2 and DR6. */
const STATE_WORDS = 96;

export class SystemMachine {
  readonly cpu: Cpu;
  private readonly tables: number;

  constructor(controls: Partial<ExecutionControls> = {}, features?: CpuFeatures) {
    this.cpu = features === undefined ? new Cpu(RAM_BYTES, 0x1_0000) : new Cpu(RAM_BYTES, 0x1_0000, features);
    const { cpu } = this;
    resetTlb(cpu);
    cpu.controls = { ...NO_CONTROLS, ...controls };
    this.tables = cpu.controls.deprivileged ? cpu.monitorBase : RAM_BASE;
    const space = cpu.controls.deprivileged ? 1 : 0;
    const { i32 } = cpu;
    i32[CR0] = 0x11;
    i32[EFLAGS_SYSTEM] = 2;
    [i32[GDTR_BASE], i32[GDTR_LIMIT], i32[GDTR_SPACE]] = [GDT, 0xff, space];
    [i32[IDTR_BASE], i32[IDTR_LIMIT], i32[IDTR_SPACE]] = [IDT, 0x7ff, space];
    for (let level = 0; level < 4; level++) {
      this.segment(CODE[level]!, 0, 0xf_ffff, ACCESS_CODE | dpl(level) | 1, FLAGS_FLAT);
      this.segment(DATA[level]!, 0, 0xf_ffff, ACCESS_DATA | dpl(level) | 1, FLAGS_FLAT);
      if (level < 3) {
        this.tableWord(TSS + 4 + 8 * level, STACKS[level]!);
        this.tableWord(TSS + 8 + 8 * level, DATA[level]!);
      }
    }
    this.segment(TSS_SELECTOR, TSS, TSS_LIMIT, ACCESS_TSS | 2, 0);
    this.segment(LDT_SELECTOR, LDT, 0x3f, ACCESS_LDT, 0);
    this.hidden(TR, TSS_SELECTOR, TSS, TSS_LIMIT, 0x8b);
    this.hidden(LDTR, LDT_SELECTOR, LDT, 0x3f, 0x82);
    i32[TR_SPACE] = i32[LDTR_SPACE] = space;
    this.atLevel(0);
  }

  /** Stand at a level, with its flat code, data and stack. */
  atLevel(level: number): this {
    const { i32 } = this.cpu;
    this.hidden(CS, CODE[level]!, 0, -1, 0xc09b | dpl(level));
    for (const segment of [SS, DS, ES]) this.hidden(segment, DATA[level]!, 0, -1, 0xc093 | dpl(level));
    for (const segment of [FS, GS]) this.hidden(segment, 0, 0, 0, 0x1_0000);
    i32[CPL] = level;
    i32[ESP] = STACKS[level]!;
    i32[EIP] = 0x5000;
    modeChanged(this.cpu);
    return this;
  }

  iopl(level: number): this {
    this.cpu.i32[EFLAGS_SYSTEM] = (this.cpu.i32[EFLAGS_SYSTEM]! & ~0x3000) | (level << 12);
    return this;
  }

  hidden(segment: number, selector: number, base: number, limit: number, rights: number): void {
    const at = segmentAt(segment);
    const { i32 } = this.cpu;
    i32[at + SEGMENT_SELECTOR] = selector;
    i32[at + SEGMENT_BASE] = base;
    i32[at + SEGMENT_LIMIT] = limit;
    i32[at + SEGMENT_RIGHTS] = rights;
  }

  selector(segment: number): number { return this.cpu.i32[segmentAt(segment) + SEGMENT_SELECTOR]! }
  rights(segment: number): number { return this.cpu.i32[segmentAt(segment) + SEGMENT_RIGHTS]! }
  base(segment: number): number { return this.cpu.i32[segmentAt(segment) + SEGMENT_BASE]! }
  limit(segment: number): number { return this.cpu.i32[segmentAt(segment) + SEGMENT_LIMIT]! }

  /** Write a descriptor into the GDT, or the LDT when the selector says so. */
  descriptor(selector: number, words: readonly [number, number]): this {
    const at = ((selector & 4) === 0 ? GDT : LDT) + (selector & 0xfff8);
    this.tableWord(at, words[0]);
    this.tableWord(at + 4, words[1]);
    return this;
  }

  segment(selector: number, base: number, limit: number, access: number, flags: number): this {
    return this.descriptor(selector, segmentWords(base, limit, access, flags));
  }

  gate(vector: number, selector: number, offset: number, access: number): this {
    const [low, high] = gateWords(selector, offset, access);
    this.tableWord(IDT + 8 * vector, low);
    this.tableWord(IDT + 8 * vector + 4, high);
    return this;
  }

  /** A word of the tables, in whatever space they are. */
  tableWord(at: number, value: number): void { this.cpu.i32[(this.tables + at) >>> 2] = value }
  tableByte(at: number): number { return this.cpu.u8[this.tables + at]! }
  accessByte(selector: number): number { return this.tableByte(((selector & 4) === 0 ? GDT : LDT) + (selector & 0xfff8) + 5) }

  word(at: number): number { return this.cpu.i32[(RAM_BASE + at) >>> 2]! }
  half(at: number): number { return this.cpu.u8[RAM_BASE + at]! | (this.cpu.u8[RAM_BASE + at + 1]! << 8) }
  setWord(at: number, value: number): this {
    this.cpu.i32[(RAM_BASE + at) >>> 2] = value;
    return this;
  }
  setHalf(at: number, value: number): this {
    this.cpu.u8[RAM_BASE + at] = value;
    this.cpu.u8[RAM_BASE + at + 1] = value >>> 8;
    return this;
  }

  /** Put elements on the current stack, the last one deepest: as a frame reads from its top. */
  frame(...words: number[]): this {
    const { i32 } = this.cpu;
    i32[ESP] = i32[ESP]! - 4 * words.length;
    words.forEach((word, n) => this.setWord(i32[ESP]! + 4 * n, word));
    return this;
  }

  /** The words at the top of the current stack. */
  top(count: number): number[] {
    return Array.from({ length: count }, (_, n) => this.word(this.cpu.i32[ESP]! + 4 * n));
  }

  /** The fault that `act` raises, or null when it completes. A fault must not have changed registers or memory. */
  fault(act: () => void): Fault | null {
    const { cpu } = this;
    const words = this.state();
    const memory = cpu.i32.slice(RAM_BASE >>> 2);
    try {
      act();
      return null;
    } catch (thrown) {
      if (thrown !== FAULT) throw thrown;
    }
    expect(this.state()).toEqual(words);
    expect(firstDifference(memory, cpu.i32)).toBe(-1);
    return { vector: cpu.i32[FAULT_VECTOR]!, error: cpu.i32[FAULT_HAS_ERROR] === 0 ? null : cpu.i32[FAULT_ERROR]! };
  }

  /** The exit that `act` leaves with. */
  exit(act: () => void): Readonly<ProcessorExit> {
    const words = this.state();
    try {
      act();
    } catch (thrown) {
      if (thrown !== EXIT) throw thrown;
      expect(this.state()).toEqual(words);
      return { ...this.cpu.exit };
    }
    throw new Error('the guest was not left');
  }

  private state(): number[] {
    return Array.from(this.cpu.i32.subarray(0, STATE_WORDS)).map((word, n) => (n === CR2 || n === DR6 || n === ACTIVITY_WORD ? 0 : word));
  }
}
const ACTIVITY_WORD = 23;

/** Offset in RAM and monitor space of the first word that is not as it was, or -1. */
function firstDifference(before: Int32Array, words: Int32Array): number {
  const { length } = before;
  for (let n = 0, at = RAM_BASE >>> 2; n < length; n++, at++) if (before[n] !== words[at]) return 4 * n;
  return -1;
}
