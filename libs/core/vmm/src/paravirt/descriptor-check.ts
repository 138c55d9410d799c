import { DESCRIPTOR_DPL, DESCRIPTOR_DPL_SHIFT, DESCRIPTOR_PRESENT, DESCRIPTOR_S, DESCRIPTOR_TYPE, type DescriptorWords } from '../deprivileged/segment-descriptor.js';
import { PAGE_BYTES } from '../monitor-space.js';
import type { Transaction } from '../transaction.js';
import { FIRST_RESERVED_GDT_ENTRY } from './selectors.js';
import { Errno } from './errno.js';
import type { KernelRing } from './kernel-ring.js';

const CALL_GATE = 0xc << 8;
/** L, the 64-bit code flag. */
const DESCRIPTOR_L = 1 << 21;

/** An RPL below the kernel's ring becomes that ring: the guest cannot name ring 0. */
export function fixSelector(selector: number, kernelRing: KernelRing): number {
  return (selector & 3) < kernelRing ? (selector & 0xfffc) | kernelRing : selector;
}

/** Whether a gate may lead to `selector`: not to Xen's own descriptors (but for the flat ones it offers), and not to ring 0. */
export function gateSelectorOkay(selector: number, kernelRing: KernelRing): boolean {
  return (selector & 3) >= kernelRing && ((selector >> 3) < FIRST_RESERVED_GDT_ENTRY || (selector & 4) !== 0 || FLAT_GATE_SELECTORS.has(selector));
}
const FLAT_GATE_SELECTORS: ReadonlySet<number> = new Set([0xe019, 0xe02b]);

/**
 * Xen's check_descriptor: the descriptor as it may stand in a GDT or LDT, or null. A DPL below the kernel's ring is raised to it; of
 * the system descriptors only call gates pass, and not into ring 0.
 */
export function checkDescriptor({ low, high }: DescriptorWords, kernelRing: KernelRing): DescriptorWords | null {
  // One that is not present always faults, so it is safe.
  if ((high & DESCRIPTOR_PRESENT) === 0) return { low, high };
  const dpl = (high & DESCRIPTOR_DPL) >> DESCRIPTOR_DPL_SHIFT;
  const fixed = dpl < kernelRing ? ((high & ~DESCRIPTOR_DPL) | (kernelRing << DESCRIPTOR_DPL_SHIFT)) >>> 0 : high;
  if ((high & DESCRIPTOR_S) !== 0) return (high & DESCRIPTOR_L) !== 0 ? null : { low, high: fixed };
  const type = high & DESCRIPTOR_TYPE;
  if (type === 0) return { low, high: fixed };
  if (type !== CALL_GATE || !gateSelectorOkay(low >>> 16, kernelRing)) return null;
  return { low, high: fixed };
}

/** Check and correct a frame that becomes a descriptor table (512 descriptors). Corrections go into the frame itself. */
export function checkDescriptorPage(transaction: Transaction, mfn: number, words: Uint32Array, kernelRing: KernelRing): number {
  transaction.charge('descriptor-check', words.length / 2);
  const corrected: number[] = [];
  for (let index = 0; index < words.length / 2; index++) {
    const checked = checkDescriptor({ low: words[index * 2]!, high: words[index * 2 + 1]! }, kernelRing);
    if (checked === null) return -Errno.EINVAL;
    if (checked.high !== words[index * 2 + 1]) corrected.push(index, checked.high);
  }
  for (let at = 0; at < corrected.length; at += 2) transaction.write32('guest', mfn * PAGE_BYTES + corrected[at]! * 8 + 4, corrected[at + 1]!);
  return 0;
}
