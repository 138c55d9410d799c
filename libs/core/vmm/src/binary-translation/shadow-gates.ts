import { gateParameters, GATES, gateStub, IF_IN_BYTE } from '@ringside/translation';
import { GATE_INTO_MONITOR_SPACE } from '@ringside/x86';
import type { DeprivilegedExit } from '../deprivileged/deprivileged-exit.js';
import { MONITOR_GATE, type DeprivilegedMachine } from '../deprivileged/deprivileged-machine.js';
import { GuestException } from '../deprivileged/linear-memory.js';
import { compressed } from '../deprivileged/ring-compression.js';
import { descriptorDpl, DESCRIPTOR_PRESENT, gateDescriptor, segmentState, type DescriptorWords } from '../deprivileged/segment-descriptor.js';
import type { Transaction } from '../transaction.js';

const INTERRUPT_GATE32 = 14, TRAP_GATE32 = 15;
/** Vectors of exceptions but #BP and #OF: hardware raises them, too, with error codes and RF. */
const FIRST_OTHER_VECTOR = 32, BREAKPOINT = 3, OVERFLOW = 4;
const TSS_ESP0 = 4, TSS_SS0_END = 9;
/** P, S, code or data, readable or writable, accessed; not conforming, not expand-down. And a 32-bit TSS, busy or not. */
const FLAT_CODE = 0x9b, FLAT_STACK = 0x93, TYPE_BITS = 0x9f, ACCESS_BYTE_SHIFT = 8, TSS32 = 0x89, TSS32_BITS = 0x9d;
const D_B = 1 << 14;
const FLAT_LIMIT = 0xffff_ffff;

interface ShadowGate {
  readonly vector: number;
  /** SS0. */
  readonly ss: number;
  /** What it rests on: the guest's IDTR and TR, and the descriptors of its CS and SS0 as the monitor's GDT holds them. */
  readonly idt: { readonly base: number; readonly limit: number };
  readonly tss: { readonly base: number; readonly limit: number };
  readonly descriptors: readonly { readonly index: number; readonly words: DescriptorWords }[];
}

/**
 * Gates of the guest's that applications may use (DPL 3), and that the monitor has made lead straight into the translation cache: a system call then sends no message. One is made when an
 * INT n has come here, if the guest's own gate, code segment, TSS and stack segment are as simple as a kernel's are: 32 bits, flat, ring 0.
 *
 * Nothing of it is write-traced for its sake. The guest's GDT is traced anyhow, LIDT and LTR come here; the gate in the guest's IDT, and SS0 and ESP0 in its TSS, the
 * stub in the cache reads again at each event (gate-stub.ts). A trace on the TSS would cost an exit at every context switch.
 */
export class ShadowGates {
  private readonly gates: (ShadowGate | null)[] = new Array<null>(GATES).fill(null);

  /** `cache`: offset of the monitor data area in monitor space. */
  constructor(private readonly machine: DeprivilegedMachine, private readonly cache: number) {}

  /** An application's INT n is at hand, and will be delivered. */
  async follow(exit: DeprivilegedExit, vector: number): Promise<void> {
    if (vector < FIRST_OTHER_VECTOR && vector !== BREAKPOINT && vector !== OVERFLOW) return;
    let place = this.gates.findIndex((gate) => gate?.vector === vector);
    if (place < 0) place = this.gates.indexOf(null);
    if (place < 0) return;
    try {
      await this.make(exit, vector, place);
    } catch (error) {
      // What cannot be read is the delivery's to find.
      if (!(error instanceof GuestException)) throw error;
    }
  }

  /** Ring -1 has done what an exit asked for: gates that rest on something else now go. */
  settle(transaction: Transaction): void {
    const { vcpu, tables } = this.machine;
    for (const [place, gate] of this.gates.entries()) {
      if (gate === null) continue;
      const stands = gate.idt.base === vcpu.idtr.base && gate.idt.limit === vcpu.idtr.limit && gate.tss.base === vcpu.tr.base && gate.tss.limit === vcpu.tr.limit
        && gate.descriptors.every(({ index, words }) => tables.holds('gdt', index, words));
      if (!stands) this.close(transaction, place, gate);
    }
  }

  private close(transaction: Transaction, place: number, { vector }: ShadowGate): void {
    this.gates[place] = null;
    this.machine.tables.setGate(transaction, vector, MONITOR_GATE);
  }

  private async make(exit: DeprivilegedExit, vector: number, place: number): Promise<void> {
    const { vcpu, memory, transaction } = exit;
    const { idtr, tr } = vcpu;
    const idtEntry = (idtr.base + vector * 8) >>> 0;
    if (vector * 8 + 7 > idtr.limit || tr.limit < TSS_SS0_END || (tr.rights & TSS32_BITS) !== TSS32) return;
    const [low, high] = await memory.read32(idtEntry, 2, false);
    const type = (high! >>> 8) & 0x1f;
    if ((type !== INTERRUPT_GATE32 && type !== TRAP_GATE32) || (high! & DESCRIPTOR_PRESENT) === 0 || descriptorDpl({ low: low!, high: high! }) !== 3) return;
    // In the order of a delivery: what that would not read is not touched.
    const cs = low! >>> 16;
    const code = await this.flat(exit, cs, FLAT_CODE);
    if (code === null) return;
    const [, ss0] = await memory.read32((tr.base + TSS_ESP0) >>> 0, 2, false);
    const ss = ss0! & 0xffff;
    const stack = (ss & 3) === 0 ? await this.flat(exit, ss, FLAT_STACK) : null;
    if (stack === null) return;
    // The monitor's TSS has one SS1: gates that were made for another SS0 go.
    for (const [other, gate] of this.gates.entries()) if (gate !== null && gate.ss !== ss) this.close(transaction, other, gate);
    this.gates[place] = { vector, ss, idt: idtr, tss: tr, descriptors: [code, stack] };
    const field = gateParameters(place);
    const parameters: readonly (readonly [number, number])[] = [
      [field.idtEntry, idtEntry], [field.minusLow, -low!], [field.minusHigh, -high!], [field.esp0, tr.base + TSS_ESP0], [field.minusSs0, -ss],
      [field.handler, (low! & 0xffff) | (high! & 0xffff_0000)], [field.interruptFlag, type === INTERRUPT_GATE32 ? 0 : IF_IN_BYTE], [field.cs, cs & ~3], [field.ss, ss],
    ];
    for (const [offset, value] of parameters) transaction.write32('monitor', this.cache + offset, value >>> 0);
    // The pushes of the processor go to the monitor's stack: of SS1:ESP1 only SS1 is used.
    this.machine.tables.setInnerStack(transaction, ss | 1, 0);
    const gate = gateDescriptor(TRAP_GATE32, 3, (cs & ~3) | 1, this.cache + gateStub(place));
    this.machine.tables.setGate(transaction, vector, { low: gate.low, high: (gate.high | GATE_INTO_MONITOR_SPACE) >>> 0 });
  }

  /** A flat 32-bit segment of ring 0 in the GDT, accessed already, or null. */
  private async flat(exit: DeprivilegedExit, selector: number, access: number): Promise<{ index: number; words: DescriptorWords } | null> {
    if ((selector & 4) !== 0 || (selector & 0xfffc) === 0) return null;
    const own = await exit.descriptor(selector);
    if (own === null || descriptorDpl(own) !== 0 || ((own.high >>> ACCESS_BYTE_SHIFT) & TYPE_BITS) !== access) return null;
    const { base, limit, rights } = segmentState(selector, own);
    if (base !== 0 || limit !== FLAT_LIMIT || (rights & D_B) === 0) return null;
    const found = { index: selector >> 3, words: compressed(own) };
    return this.machine.tables.holds('gdt', found.index, found.words) ? found : null;
  }
}
