import type { SegmentName, SegmentState } from '@ringside/machine';
import type { DeprivilegedExit } from './deprivileged-exit.js';
import { GuestException } from './linear-memory.js';
import { DESCRIPTOR_CODE, DESCRIPTOR_CONFORMING, DESCRIPTOR_DPL, DESCRIPTOR_DPL_SHIFT, DESCRIPTOR_S, descriptorDpl, type DescriptorWords } from './segment-descriptor.js';

/*
 * Ring compression: the guest's ring 0 runs in ring 1, its rings 1 and 2 in ring 2, its ring 3 in ring 3. Descriptors, the hidden parts of segment registers and
 * the RPL of the kernel's CS and SS follow. Conforming code needs nothing: it runs in its caller's ring.
 */
export type Ring = 0 | 1 | 2 | 3;

/** The ring that a ring of the guest runs in. */
export const realRing = (ring: Ring): 1 | 2 | 3 => (ring === 0 ? 1 : ring === 3 ? 3 : 2);

const UNUSABLE = 0x1_0000;
const RIGHTS_DPL_SHIFT = 5, RIGHTS_DPL = 3 << RIGHTS_DPL_SHIFT;
const CODE_CONFORMING = 0xc;

const isConforming = ({ rights }: SegmentState): boolean => (rights & CODE_CONFORMING) === CODE_CONFORMING;
const withDpl = (state: SegmentState, dpl: number): SegmentState => ({ ...state, rights: ((state.rights & ~RIGHTS_DPL) | (dpl << RIGHTS_DPL_SHIFT)) >>> 0 });

const ACCESS_BYTE_AND_FLAGS = 0x00f0_ff00, LIMIT_HIGH = 0x000f_0000, LIMIT_LOW = 0xffff;
const TSS16 = 1, LDT = 2, TSS32 = 9;

/**
 * A descriptor of the guest's as the monitor's table holds it. System descriptors lead nowhere (a gate to the null selector, a TSS or LDT at no address), but
 * LAR and LSL of an application see of them what they would see natively.
 */
export function compressed({ low, high }: DescriptorWords): DescriptorWords {
  if ((high & DESCRIPTOR_S) === 0) {
    const type = (high >>> 8) & 0xf;
    const segment = (type & ~2) === TSS16 || type === LDT || (type & ~2) === TSS32;
    return { low: segment ? low & LIMIT_LOW : 0, high: (high & (ACCESS_BYTE_AND_FLAGS | (segment ? LIMIT_HIGH : 0))) >>> 0 };
  }
  if ((high & (DESCRIPTOR_CODE | DESCRIPTOR_CONFORMING)) === (DESCRIPTOR_CODE | DESCRIPTOR_CONFORMING)) return { low, high };
  return { low, high: ((high & ~DESCRIPTOR_DPL) | (realRing(descriptorDpl({ low, high }) as Ring) << DESCRIPTOR_DPL_SHIFT)) >>> 0 };
}

/** A segment register of the guest's as the processor holds it. CS and SS of ring 0 have RPL 1; those of rings 1 and 2 keep theirs, which says which ring it is. */
export function compressedSegment(name: SegmentName, state: SegmentState, ring: Ring): SegmentState {
  if ((state.rights & UNUSABLE) !== 0) return state;
  const real = isConforming(state) ? state : withDpl(state, realRing(((state.rights & RIGHTS_DPL) >>> RIGHTS_DPL_SHIFT) as Ring));
  return ring === 0 && (name === 'cs' || name === 'ss') ? { ...real, selector: real.selector | 1 } : real;
}

/** The reverse, for a guest in `ring`. */
export async function virtualSegment(exit: DeprivilegedExit, name: SegmentName, state: SegmentState, ring: Ring): Promise<SegmentState> {
  if ((state.rights & UNUSABLE) !== 0) return state;
  const selector = name === 'cs' || name === 'ss' ? (state.selector & ~3) | ring : state.selector;
  if (isConforming(state)) return { ...state, selector };
  if (name === 'cs' || name === 'ss') return withDpl({ ...state, selector }, ring);
  const dpl = (state.rights & RIGHTS_DPL) >>> RIGHTS_DPL_SHIFT;
  return dpl === 3 ? state : withDpl(state, dpl === 1 ? 0 : await middleDpl(exit, state.selector));
}

/** DPL 1 and 2 of the guest are both 2 here: its own descriptor knows. */
async function middleDpl(exit: DeprivilegedExit, selector: number): Promise<number> {
  try {
    const words = await exit.descriptor(selector);
    return words !== null && descriptorDpl(words) === 1 ? 1 : 2;
  } catch (error) {
    if (!(error instanceof GuestException)) throw error;
    return 2;
  }
}
