import { gateDescriptor, type DescriptorWords } from '../deprivileged/segment-descriptor.js';
import { HYPERCALL_VECTOR } from './abi.js';
import { HYPERVISOR_CS } from './selectors.js';

const INTERRUPT_GATE = 14;
/** INT3 and INTO are the guest's to use in every ring. */
const BREAKPOINT = 3, OVERFLOW = 4;

/** Vectors whose gates lead into Xen: all exceptions, and int 0x82. */
export const XEN_VECTORS: readonly number[] = [...Array.from({ length: 32 }, (_, vector) => vector), HYPERCALL_VECTOR];

/** The gate of one of them. int 0x82 is for the guest's kernel alone: ring 1. Ring 0 is never entered: the processor leaves instead. */
export function xenGate(vector: number): DescriptorWords {
  const dpl = vector === HYPERCALL_VECTOR ? 1 : vector === BREAKPOINT || vector === OVERFLOW ? 3 : 0;
  return gateDescriptor(INTERRUPT_GATE, dpl, HYPERVISOR_CS, 0);
}
