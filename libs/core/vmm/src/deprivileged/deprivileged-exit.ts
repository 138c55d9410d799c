import type { Disposition, SegmentName } from '@ringside/machine';
import type { Transaction } from '../transaction.js';
import type { DeprivilegedMachine } from './deprivileged-machine.js';
import { GuestFrame } from './guest-frame.js';
import { GuestException, LinearMemory } from './linear-memory.js';
import { DESCRIPTOR_DPL, DESCRIPTOR_DPL_SHIFT, DESCRIPTOR_S, segmentState, type DescriptorWords } from './segment-descriptor.js';
import type { VirtualCpu } from './virtual-cpu.js';

const UNUSABLE = 0x1_0000;
const GENERAL_PROTECTION = 13;

/** One exit of a deprivileged guest: the transaction, its registers as they change, and its memory. */
export class DeprivilegedExit {
  readonly frame: GuestFrame;
  readonly memory: LinearMemory;

  constructor(readonly machine: DeprivilegedMachine, readonly transaction: Transaction) {
    this.frame = new GuestFrame(transaction.exit);
    this.memory = new LinearMemory(machine.shadow, transaction);
  }

  get vcpu(): VirtualCpu {
    return this.machine.vcpu;
  }

  /** The ring that the guest believes it is in: 0 or 3. */
  get virtualLevel(): 0 | 3 {
    return this.frame.cpl === 3 ? 3 : 0;
  }

  /** A selector as the guest would see it in `name`: CS and SS of its kernel have RPL 0. */
  virtualSelector(name: SegmentName): number {
    const { selector } = this.frame.segment(name);
    return this.frame.cpl !== 3 && (name === 'cs' || name === 'ss') ? selector & ~3 : selector;
  }

  /** The descriptor that a selector names in the guest's own tables, or null beyond them. @throws GuestException */
  async descriptor(selector: number): Promise<DescriptorWords | null> {
    const table = (selector & 4) === 0 ? this.vcpu.gdtr : this.vcpu.ldtr;
    const offset = selector & 0xfff8;
    if (((selector & 4) !== 0 && (this.vcpu.ldtr.selector & 0xfffc) === 0) || offset + 7 > table.limit) return null;
    const words = await this.memory.read32((table.base + offset) >>> 0, 2, false);
    return { low: words[0]!, high: words[1]! };
  }

  /** Fill a segment register from a descriptor of the guest's that has passed its checks: its ring 0 is ring 1. */
  setSegment(name: SegmentName, selector: number, descriptor: DescriptorWords): void {
    const real = name === 'cs' || name === 'ss' ? (selector & ~3) | ((selector & 3) === 0 ? 1 : selector & 3) : selector;
    this.frame.setSegment(name, segmentState(real, compressed(descriptor)));
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

  commit(disposition: Disposition): void {
    this.machine.settleControls(this.transaction);
    this.frame.commit(this.transaction, disposition);
  }
}

/** Ring compression: code and data of level 0 are at level 1. System descriptors are the guest's to read, not to use. */
export function compressed({ low, high }: DescriptorWords): DescriptorWords {
  if ((high & DESCRIPTOR_S) === 0) return { low: 0, high: 0 };
  return { low, high: ((high & DESCRIPTOR_DPL) === 0 ? high | (1 << DESCRIPTOR_DPL_SHIFT) : high) >>> 0 };
}

export const generalProtection = (errorCode = 0): GuestException => new GuestException(GENERAL_PROTECTION, errorCode);
