import { gateDescriptor, type DescriptorWords } from '../deprivileged/segment-descriptor.js';
import { HYPERCALL_VECTOR } from './abi.js';
import { gateSelectorOkay } from './descriptor-check.js';
import type { TrapInfo } from './domain.js';
import type { KernelRing } from './kernel-ring.js';
import { HYPERVISOR_CS } from './selectors.js';

const INTERRUPT_GATE = 14, TRAP_GATE = 15;
/** INT3 and INTO are the guest's to use in every ring. */
const BREAKPOINT = 3, OVERFLOW = 4;

/** Vectors whose gates lead into Xen: all exceptions, and int 0x82. */
export const XEN_VECTORS: readonly number[] = [...Array.from({ length: 32 }, (_, vector) => vector), HYPERCALL_VECTOR];

/** The gate of one of them. int 0x82 is for the guest's kernel alone, which ring -1 has to see to itself when that is in ring 3. Ring 0 is never entered: the processor leaves instead. */
export function xenGate(vector: number, kernelRing: KernelRing): DescriptorWords {
  const dpl = vector === HYPERCALL_VECTOR ? kernelRing : vector === BREAKPOINT || vector === OVERFLOW ? 3 : 0;
  return gateDescriptor(INTERRUPT_GATE, dpl, HYPERVISOR_CS, 0);
}

/**
 * The gate of a vector above the exceptions that the guest's trap table names, or null for #GP, which leads to ring -1.
 *
 * A kernel in ring 1 gets it as its own, and is entered without Xen; not so if the entry masks events, for no gate of the processor
 * sets a byte in shared_info. A kernel in ring 3 is never entered directly, since its page tables have to be loaded first:
 * the gate leads into Xen.
 */
export function guestGate(trap: TrapInfo, kernelRing: KernelRing): DescriptorWords | null {
  if (kernelRing === 3) return trap.dpl === 3 ? gateDescriptor(INTERRUPT_GATE, 3, HYPERVISOR_CS, 0) : null;
  const direct = trap.dpl > 0 && !trap.masksEvents && gateSelectorOkay(trap.cs, kernelRing);
  return direct ? gateDescriptor(TRAP_GATE, trap.dpl, trap.cs, trap.address) : null;
}
