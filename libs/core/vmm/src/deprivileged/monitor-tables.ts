import type { Effect, SegmentState, VmSpec } from '@ringside/machine';
import { PAGE_BYTES, type MonitorSpace } from '../monitor-space.js';
import type { Transaction } from '../transaction.js';
import { segmentState, systemDescriptor, type DescriptorWords } from './segment-descriptor.js';

/** A selector's index takes 13 bits: both tables have room for 8,192 descriptors. */
const TABLE_BYTES = 0x1_0000;
const TABLE_PAGES = TABLE_BYTES / PAGE_BYTES;
export const DESCRIPTORS_PER_PAGE = PAGE_BYTES / 8;
const IDT_BYTES = 256 * 8;

/** 32-bit TSS (SDM Vol. 3A 7.2.1): the inner stacks and the I/O map base are all that is used. */
const TSS_ESP1 = 12, TSS_SS1 = 16, TSS_IO_MAP_BASE = 102, TSS_FIXED_BYTES = 104;
const IO_MAP_BYTES = 8192;
/** The last byte of the map must be all ones (SDM Vol. 1 19.5.2). */
const TSS_BYTES = TSS_FIXED_BYTES + IO_MAP_BYTES + 1;
const TSS_TYPE_BUSY = 11, LDT_TYPE = 2;
const UNUSABLE = 0x1_0000;

/** Where the monitor's own descriptors stand in the GDT, as selectors. */
export interface MonitorSelectors { readonly tss: number; readonly ldt: number; readonly reserved: ReadonlyMap<number, DescriptorWords> }

/**
 * GDT, LDT, IDT and TSS of a deprivileged guest, in monitor space, where the guest cannot name them. The guest's own
 * tables are copied in after validation (paravirt) or compression (trap-and-emulate, binary translation); the processor
 * uses only these. This object is their mirror: nobody else writes them, save for Accessed bits.
 */
export class MonitorTables {
  private readonly gdtBase: number;
  private readonly ldtBase: number;
  private readonly idtBase: number;
  private readonly tssBase: number;
  private readonly gdt = new Uint32Array(TABLE_BYTES / 4);
  private readonly ldt = new Uint32Array(TABLE_BYTES / 4);
  private ldtEntries = 0;

  constructor(space: MonitorSpace, private readonly selectors: MonitorSelectors) {
    this.gdtBase = space.allocate(TABLE_PAGES);
    this.ldtBase = space.allocate(TABLE_PAGES);
    this.idtBase = space.allocate();
    this.tssBase = space.allocate(MonitorTables.TSS_PAGES);
  }

  private static readonly TSS_PAGES = Math.ceil(TSS_BYTES / PAGE_BYTES);
  static readonly PAGES = 2 * TABLE_PAGES + 1 + MonitorTables.TSS_PAGES;

  /** The tables as they are when the guest starts: reserved descriptors alone, no gate, no port granted. */
  initialEffects(): Effect[] {
    const effects: Effect[] = [];
    const reserved = new Map([...this.selectors.reserved, [this.selectors.tss, systemDescriptor(TSS_TYPE_BUSY, this.tssBase, TSS_BYTES - 1)] as const]);
    for (const [selector, words] of reserved) {
      this.gdt.set([words.low, words.high], selector >> 2 & ~1);
      effects.push({ kind: 'memory', space: 'monitor', address: this.gdtBase + (selector & ~7), bytes: wordBytes(words.low, words.high) });
    }
    const tss = new Uint8Array(TSS_BYTES);
    tss[TSS_IO_MAP_BASE] = TSS_FIXED_BYTES;
    tss.fill(0xff, TSS_FIXED_BYTES);
    effects.push(
      { kind: 'memory', space: 'monitor', address: this.tssBase, bytes: tss },
      { kind: 'table', table: 'gdtr', base: this.gdtBase, limit: TABLE_BYTES - 1, space: 'monitor' },
      { kind: 'table', table: 'idtr', base: this.idtBase, limit: IDT_BYTES - 1, space: 'monitor' },
      { kind: 'segment', segment: 'tr', ...segmentState(this.selectors.tss, systemDescriptor(TSS_TYPE_BUSY, this.tssBase, TSS_BYTES - 1)), space: 'monitor' },
      { kind: 'segment', segment: 'ldtr', selector: 0, base: 0, limit: 0, rights: UNUSABLE, space: 'monitor' },
    );
    return effects;
  }

  /** The descriptor a selector names, or null beyond the table. The null selector names none. */
  descriptor(selector: number): DescriptorWords | null {
    if ((selector & 0xfffc) === 0) return null;
    const index = (selector & 0xfff8) >> 2;
    if ((selector & 4) === 0) return { low: this.gdt[index]!, high: this.gdt[index + 1]! };
    return index / 2 < this.ldtEntries ? { low: this.ldt[index]!, high: this.ldt[index + 1]! } : null;
  }

  /** What a segment register holds after loading `selector`, without checks; null if the selector names nothing present. */
  load(selector: number): SegmentState | null {
    const words = this.descriptor(selector);
    return words === null || (words.high & 0x8000) === 0 ? null : segmentState(selector, words);
  }

  /** Whether an entry is `words` already. */
  holds(table: 'gdt' | 'ldt', index: number, { low, high }: DescriptorWords): boolean {
    const words = table === 'gdt' ? this.gdt : this.ldt;
    return words[index * 2] === low >>> 0 && words[index * 2 + 1] === high >>> 0;
  }

  /** Page `page` (512 descriptors) of the guest's GDT is now `words`. Reserved pages are the caller's to keep out. */
  setGdtPage(transaction: Transaction, page: number, words: Uint32Array): void {
    this.gdt.set(words, page * DESCRIPTORS_PER_PAGE * 2);
    transaction.write('monitor', this.gdtBase + page * PAGE_BYTES, wordBytes(...words));
  }

  setGdtEntry(transaction: Transaction, index: number, words: DescriptorWords): void {
    this.gdt.set([words.low, words.high], index * 2);
    transaction.write32('monitor', this.gdtBase + index * 8, words.low, words.high);
  }

  setLdtPage(transaction: Transaction, page: number, words: Uint32Array): void {
    this.ldt.set(words, page * DESCRIPTORS_PER_PAGE * 2);
    transaction.write('monitor', this.ldtBase + page * PAGE_BYTES, wordBytes(...words));
  }

  setLdtEntry(transaction: Transaction, index: number, words: DescriptorWords): void {
    this.ldt.set([words.low, words.high], index * 2);
    transaction.write32('monitor', this.ldtBase + index * 8, words.low, words.high);
  }

  /** LDTR: `entries` descriptors, 0 for no LDT. */
  setLdtr(transaction: Transaction, entries: number): void {
    this.ldtEntries = entries;
    if (entries === 0) {
      transaction.add({ kind: 'segment', segment: 'ldtr', selector: 0, base: 0, limit: 0, rights: UNUSABLE, space: 'monitor' });
      return;
    }
    const words = systemDescriptor(LDT_TYPE, this.ldtBase, entries * 8 - 1);
    this.setGdtEntry(transaction, this.selectors.ldt >> 3, words);
    transaction.add({ kind: 'segment', segment: 'ldtr', ...segmentState(this.selectors.ldt, words), space: 'monitor' });
  }

  /** The gate of `vector`; null makes it an exit, or #GP for the guest's own INT n. */
  setGate(transaction: Transaction, vector: number, gate: DescriptorWords | null): void {
    transaction.write32('monitor', this.idtBase + vector * 8, gate?.low ?? 0, gate?.high ?? 0);
  }

  /** Effects for gates that stand before the guest starts. */
  initialGate(vector: number, gate: DescriptorWords): Effect {
    return { kind: 'memory', space: 'monitor', address: this.idtBase + vector * 8, bytes: wordBytes(gate.low, gate.high) };
  }

  /** SS1:ESP1, the stack that an event from ring 3 switches to when its gate leads to ring 1. */
  setInnerStack(transaction: Transaction, ss: number, esp: number): void {
    transaction.write32('monitor', this.tssBase + TSS_ESP1, esp);
    transaction.write32('monitor', this.tssBase + TSS_SS1, ss);
  }

  /**
   * Open or close ports in the TSS's I/O map. A map knows no rings: what is open is open for the guest's ring 3 as well,
   * as with any operating system that opens ports in it.
   */
  setPorts(transaction: Transaction, ranges: VmSpec['grantedPorts'], open: 'open' | 'closed'): void {
    const bits = new Map<number, number>();
    for (const { from, to } of ranges) for (let port = from; port <= to; port++) bits.set(port >> 3, (bits.get(port >> 3) ?? 0) | (1 << (port & 7)));
    for (const [byte, mask] of bits) {
      transaction.write('monitor', this.tssBase + TSS_FIXED_BYTES + byte, Uint8Array.of(open === 'open' ? 0xff & ~mask : 0xff));
    }
  }
}

function wordBytes(...words: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(words).buffer);
}
