import type { Cpu } from './cpu.js';
import { GP, raise } from './fault.js';
import { readTable32, writeTable8 } from './memory.js';
import { CPL, GDTR_BASE, GDTR_LIMIT, GDTR_SPACE, LDTR, LDTR_SPACE, RIGHTS_UNUSABLE, SEGMENTS, SEGMENT_BASE, SEGMENT_LIMIT, SEGMENT_RIGHTS, SEGMENT_WORDS } from './state.js';

const { max } = Math;

/*
 * Segment descriptor (SDM Vol. 3A 3.4.5): two words, little-endian.
 *
 *   31          24 23 22  21 20  19   16 15 14 13 12 11   8 7            0
 *  ┌──────────────┬──┬───┬──┬───┬───────┬──┬─────┬──┬──────┬──────────────┐
 *  │ base 31:24   │G │D/B│0 │AVL│ limit │P │ DPL │S │ type │ base 23:16   │  high, offset 4
 *  │              │  │   │  │   │ 19:16 │  │     │  │      │              │
 *  ├──────────────┴──┴───┴──┴───┴───────┼──┴─────┴──┴──────┴──────────────┤
 *  │ base 15:0                          │ limit 15:0                      │  low, offset 0
 *  └────────────────────────────────────┴─────────────────────────────────┘
 *
 * Gate descriptor (SDM Vol. 3A 5.8.3, 6.11): the offset and selector of an entry point.
 *
 *   31                               16 15 14 13 12 11   8 7   5 4        0
 *  ┌───────────────────────────────────┬──┬─────┬──┬──────┬─────┬──────────┐
 *  │ offset 31:16                      │P │ DPL │0 │ type │0 0 0│ params   │  high, offset 4
 *  ├───────────────────────────────────┼──┴─────┴──┴──────┴─────┴──────────┤
 *  │ segment selector                  │ offset 15:0                       │  low, offset 0
 *  └───────────────────────────────────┴───────────────────────────────────┘
 *
 * The access rights kept in a segment register are bits 8–15 and 20–23 of the high word, moved down by 8: the layout of VMX
 * (SDM Vol. 3C 25.4.1), in which the type is bits 0–3, S bit 4, DPL 5–6, P 7, AVL 12, D/B 14, G 15.
 */
export const RIGHTS_TYPE = 0xf;
/** Code or data when set; a system descriptor (gate, TSS, LDT) when clear. */
export const RIGHTS_S = 1 << 4;
export const RIGHTS_PRESENT = 1 << 7;
/** D/B: operands, offsets and the stack pointer are 32 bits wide. */
export const RIGHTS_BIG = 1 << 14;
export const RIGHTS_GRANULAR = 1 << 15;

// Bits of the type of a code or data segment (SDM Vol. 3A 3.4.5.1).
export const TYPE_ACCESSED = 1;
/** Data: writable. Code: readable. */
export const TYPE_WRITABLE = 2;
export const TYPE_READABLE = 2;
/** Data: expand-down. Code: conforming. */
export const TYPE_EXPAND_DOWN = 4;
export const TYPE_CONFORMING = 4;
export const TYPE_CODE = 8;

// System segment and gate types (SDM Vol. 3A 3.5, Table 3-2).
export const TSS16_AVAILABLE = 1, LDT = 2, TSS16_BUSY = 3, CALL_GATE16 = 4, TASK_GATE = 5, INTERRUPT_GATE16 = 6, TRAP_GATE16 = 7;
export const TSS32_AVAILABLE = 9, TSS32_BUSY = 11, CALL_GATE32 = 12, INTERRUPT_GATE32 = 14, TRAP_GATE32 = 15;

/** Selector (SDM Vol. 3A 3.4.2): index 15:3, table indicator 2, requested privilege level 1:0. An error code names it without its RPL. */
export const SELECTOR_RPL = 3;
export const SELECTOR_TI = 4;
export const SELECTOR_INDEX = 0xfff8;

/** In the second word of a gate of the monitor's IDT. */
export const GATE_INTO_MONITOR_SPACE = 1;

export const isNull = (selector: number): boolean => (selector & 0xfffc) === 0;
/** Effective privilege of an access by selector: the weaker (numerically greater) of CPL and RPL (SDM Vol. 3A 5.5). */
export const effectiveLevel = (cpu: Cpu, selector: number): number => max(cpu.i32[CPL]!, selector & SELECTOR_RPL);
export const errorCodeOf = (selector: number): number => selector & 0xfffc;

/** One descriptor as read from its table. Objects are made once and read into, since far transfers must not allocate. */
export class Descriptor {
  low = 0;
  high = 0;
  /** Where it was read: space and table base as for `readTable32`, and the offset in the table. */
  space = 0;
  table = 0;
  offset = 0;

  get rights(): number { return (this.high >>> 8) & 0xf0ff }
  /** Type, 0–15, whatever S. */
  get type(): number { return (this.high >>> 8) & RIGHTS_TYPE }
  get dpl(): number { return (this.high >>> 13) & 3 }
  get present(): boolean { return (this.high & 0x8000) !== 0 }
  /** S = 0: a gate, TSS or LDT. */
  get system(): boolean { return (this.high & 0x1000) === 0 }
  get code(): boolean { return (this.high & 0x1800) === 0x1800 }
  get conforming(): boolean { return (this.high & 0x1c00) === 0x1c00 }
  get writableData(): boolean { return (this.high & 0x1a00) === 0x1200 }
  /** Data, or code that may be read. */
  get readable(): boolean { return (this.high & 0x1000) !== 0 && (this.high & 0x0a00) !== 0x0800 }
  get base(): number { return (this.low >>> 16) | ((this.high & 0xff) << 16) | (this.high & 0xff00_0000) }
  /** In bytes, scaled by G, as a signed 32-bit word. */
  get limit(): number {
    const limit = (this.low & 0xffff) | (this.high & 0x000f_0000);
    return (this.high & 0x0080_0000) !== 0 ? (limit << 12) | 0xfff : limit;
  }

  /** Of a gate. */
  get gateSelector(): number { return this.low >>> 16 }
  /** Of a gate: 16-bit gates (types below 8) have no upper half. */
  get gateOffset(): number { return (this.low & 0xffff) | ((this.high & 0x0800) !== 0 ? this.high & 0xffff_0000 : 0) }
  /** Of a gate in the monitor's IDT: it leads into monitor space. The bits from 0 on are reserved in IA-32 (64-bit processors choose a stack with them). */
  get intoMonitorSpace(): boolean { return (this.high & GATE_INTO_MONITOR_SPACE) !== 0 }
  /** Of a call gate: parameters to copy, in units of the gate's size. */
  get parameterCount(): number { return this.high & 0x1f }
}

/**
 * Read the descriptor a selector names from the GDT or LDT. False when its index lies beyond the table's limit (or there is
 * no LDT); the null selector is the caller's to refuse. Table reads are supervisor accesses and may raise #PF.
 */
export function readDescriptor(cpu: Cpu, selector: number, into: Descriptor): boolean {
  const { i32 } = cpu;
  const offset = selector & SELECTOR_INDEX;
  if ((selector & SELECTOR_TI) === 0) {
    if (offset + 7 > i32[GDTR_LIMIT]!) return false;
    into.space = i32[GDTR_SPACE]!;
    into.table = i32[GDTR_BASE]!;
  } else {
    const ldtr = SEGMENTS + LDTR * SEGMENT_WORDS;
    if ((i32[ldtr + SEGMENT_RIGHTS]! & RIGHTS_UNUSABLE) !== 0 || offset + 7 > i32[ldtr + SEGMENT_LIMIT]! >>> 0) return false;
    into.space = i32[LDTR_SPACE]!;
    into.table = i32[ldtr + SEGMENT_BASE]!;
  }
  into.offset = offset;
  into.low = readTable32(cpu, into.space, into.table, offset);
  into.high = readTable32(cpu, into.space, into.table, offset + 4);
  return true;
}

/**
 * Set the Accessed bit of a code or data descriptor in its table, unless it is set already (SDM Vol. 3A 3.4.5.1). May raise #PF. The monitor's copies of a guest's
 * descriptors may not be written: ring -1 carries the load out on the guest's own.
 */
export function markAccessed(cpu: Cpu, descriptor: Descriptor): void {
  if ((descriptor.high & (TYPE_ACCESSED << 8)) !== 0) return;
  if (descriptor.space !== 0 && cpu.controls.shadowRoot !== null) raise(cpu, GP, 0);
  descriptor.high |= TYPE_ACCESSED << 8;
  writeTable8(cpu, descriptor.space, descriptor.table, descriptor.offset + 5, (descriptor.high >>> 8) & 0xff);
}
