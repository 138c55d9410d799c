import type { Disposition, SegmentName } from '@ringside/machine';
import type { Boundary } from '@ringside/x86';
import type { Transaction } from '../transaction.js';
import type { DeprivilegedMachine } from './deprivileged-machine.js';
import { GuestFrame } from './guest-frame.js';
import { GuestException, LinearMemory } from './linear-memory.js';
import { compressedSegment, type Ring } from './ring-compression.js';
import { segmentState, type DescriptorWords } from './segment-descriptor.js';
import type { VirtualCpu } from './virtual-cpu.js';

const UNUSABLE = 0x1_0000;
/** Access rights: unusable, B, P, S, code, expand-down, writable. */
const STACK_BITS = 0x1_409e, FLAT_STACK = 0x4092;
const GENERAL_PROTECTION = 13;

/** One exit of a deprivileged guest: the transaction, its registers as they change, and its memory. */
export class DeprivilegedExit {
  readonly frame: GuestFrame;
  readonly memory: LinearMemory;
  /** What the boundary behind the exit is like, where ring -1 decides that. */
  boundary: Boundary | null = null;

  constructor(readonly machine: DeprivilegedMachine, readonly transaction: Transaction) {
    this.frame = new GuestFrame(transaction.exit);
    this.memory = new LinearMemory(machine.shadow, transaction);
    machine.shadow.exitBegins(transaction);
  }

  get vcpu(): VirtualCpu {
    return this.machine.vcpu;
  }

  /** The ring that the guest believes it is in (ring-compression.ts). */
  get virtualLevel(): Ring {
    const { cpl } = this.frame;
    return cpl === 3 ? 3 : cpl === 1 ? 0 : (this.frame.segment('cs').selector & 3) as Ring;
  }

  /** The stack segment is 4 GiB of writable memory, and ESP 32 bits wide. */
  get flatStack(): boolean {
    const { base, limit, rights } = this.frame.segment('ss');
    return base === 0 && limit === 0xffff_ffff && (rights & STACK_BITS) === FLAT_STACK;
  }

  /** A selector as the guest would see it in `name`: CS and SS of its kernel have RPL 0. */
  virtualSelector(name: SegmentName): number {
    const { selector } = this.frame.segment(name);
    return this.frame.cpl === 1 && (name === 'cs' || name === 'ss') ? selector & ~3 : selector;
  }

  /** The descriptor that a selector names in the guest's own tables, or null beyond them. @throws GuestException */
  async descriptor(selector: number): Promise<DescriptorWords | null> {
    const table = (selector & 4) === 0 ? this.vcpu.gdtr : this.vcpu.ldtr;
    const offset = selector & 0xfff8;
    if (((selector & 4) !== 0 && (this.vcpu.ldtr.selector & 0xfffc) === 0) || offset + 7 > table.limit) return null;
    this.transaction.charge('descriptor-check');
    const words = await this.memory.read32((table.base + offset) >>> 0, 2, false);
    return { low: words[0]!, high: words[1]! };
  }

  /** Fill a segment register from a descriptor of the guest's that has passed its checks in the ring it will be in. */
  setSegment(name: SegmentName, selector: number, descriptor: DescriptorWords, ring: Ring): void {
    this.frame.setSegment(name, compressedSegment(name, segmentState(selector, descriptor), ring));
  }

  setNullSegment(name: SegmentName, selector: number): void {
    this.frame.setSegment(name, { selector, base: 0, limit: 0, rights: UNUSABLE });
  }

  /** Words from the top of the guest's stack. @throws GuestException */
  async stack(count: number): Promise<Uint32Array> {
    return this.memory.read32(this.stackLinear(this.frame.esp), count, this.frame.cpl === 3);
  }

  stackLinear(esp: number): number {
    return (this.frame.segment('ss').base + esp) >>> 0;
  }

  /** The answer's effects; `disposition` is what becomes of the instruction. */
  commit(disposition: Disposition): void {
    const { boundary, vcpu } = this;
    if (boundary !== null) {
      const { exit, effects } = this.transaction;
      effects.unshift({ kind: 'boundary', boundary });
      vcpu.shadow = boundary.shadow;
      vcpu.shadowAt = exit.retired + (disposition.kind === 'retire' ? disposition.count ?? 1 : 0);
      vcpu.trapTold = boundary.trap ?? 0;
    }
    this.machine.settleControls(this.transaction);
    this.frame.commit(this.transaction, disposition);
  }
}

export const generalProtection = (errorCode = 0): GuestException => new GuestException(GENERAL_PROTECTION, errorCode);
