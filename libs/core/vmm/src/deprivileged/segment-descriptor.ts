import type { SegmentState } from '@ringside/machine';

/**
 * Segment descriptors as two 32-bit words (SDM Vol. 3A 3.4.5), low word first.
 *
 *  high  31:24 base 31:24 │ 23 G │ 22 D/B │ 20 AVL │ 19:16 limit │ 15 P │ 14:13 DPL │ 12 S │ 11:8 type │ 7:0 base 23:16
 *  low   31:16 base 15:0  │ 15:0 limit
 */
export interface DescriptorWords { readonly low: number; readonly high: number }

export const DESCRIPTOR_PRESENT = 1 << 15;
export const DESCRIPTOR_DPL_SHIFT = 13;
export const DESCRIPTOR_DPL = 3 << DESCRIPTOR_DPL_SHIFT;
/** S: a code or data segment. */
export const DESCRIPTOR_S = 1 << 12;
export const DESCRIPTOR_TYPE = 0xf << 8;
export const DESCRIPTOR_CODE = 1 << 11;
export const DESCRIPTOR_CONFORMING = 1 << 10;
const DESCRIPTOR_WRITABLE = 1 << 9;
const DESCRIPTOR_G = 1 << 23;
/** Base, limit 19:16, G, D/B. */
const FLAT_BITS = 0xffcf_00ff, FLAT = 0x00cf_0000;

export function descriptorDpl({ high }: DescriptorWords): number {
  return (high & DESCRIPTOR_DPL) >> DESCRIPTOR_DPL_SHIFT;
}

/** A flat 4 GiB segment. `type` is the type field: 0xb code execute/read accessed, 0x3 data read/write accessed. */
export function flatDescriptor(dpl: number, type: number): DescriptorWords {
  return { low: 0x0000_ffff, high: (0x00cf_9000 | (dpl << DESCRIPTOR_DPL_SHIFT) | (type << 8)) >>> 0 };
}

/** An available 32-bit TSS (type 9), a busy one (11) or an LDT (2). `limit` in bytes. */
export function systemDescriptor(type: number, base: number, limit: number): DescriptorWords {
  return {
    low: (((base & 0xffff) << 16) | (limit & 0xffff)) >>> 0,
    high: ((base & 0xff00_0000) | (limit & 0xf_0000) | DESCRIPTOR_PRESENT | (type << 8) | ((base >>> 16) & 0xff)) >>> 0,
  };
}

/** An interrupt gate (type 14) or trap gate (15) of 32 bits (SDM Vol. 3A 6.11). */
export function gateDescriptor(type: 14 | 15, dpl: number, selector: number, offset: number): DescriptorWords {
  return { low: ((selector << 16) | (offset & 0xffff)) >>> 0, high: ((offset & 0xffff_0000) | DESCRIPTOR_PRESENT | (dpl << DESCRIPTOR_DPL_SHIFT) | (type << 8)) >>> 0 };
}

/** The hidden part of a segment register loaded from a descriptor; rights as VMX lays them out (SDM Vol. 3C 25.4.1). */
export function segmentState(selector: number, { low, high }: DescriptorWords): SegmentState {
  const pages = (high & DESCRIPTOR_G) !== 0;
  const field = (high & 0xf_0000) | (low & 0xffff);
  return {
    selector,
    base: ((high & 0xff00_0000) | ((high & 0xff) << 16) | (low >>> 16)) >>> 0,
    limit: (pages ? (field << 12) | 0xfff : field) >>> 0,
    rights: (((high >>> 8) & 0xf0ff) | ((high & DESCRIPTOR_S) !== 0 ? 1 : 0)) >>> 0,
  };
}

/** Base 0, 4 GiB, and D/B: offsets of 32 bits that no limit check refuses (of an expand-up segment). */
export function isFlat({ low, high }: DescriptorWords): boolean {
  return low === 0xffff && (high & FLAT_BITS) >>> 0 === FLAT;
}

/** Whether CS can be loaded with it on a return to ring `rpl` (SDM Vol. 2A, IRET): code, present, DPL as the ring (conforming: not above). */
export function isReturnCode(descriptor: DescriptorWords, rpl: number): boolean {
  const { high } = descriptor;
  if ((high & (DESCRIPTOR_S | DESCRIPTOR_CODE)) !== (DESCRIPTOR_S | DESCRIPTOR_CODE) || (high & DESCRIPTOR_PRESENT) === 0) return false;
  return (high & DESCRIPTOR_CONFORMING) !== 0 ? descriptorDpl(descriptor) <= rpl : descriptorDpl(descriptor) === rpl;
}

/** Whether SS can be loaded with it in ring `rpl`: writable data, present, DPL as the ring. */
export function isStack(descriptor: DescriptorWords, rpl: number): boolean {
  const { high } = descriptor;
  return (high & (DESCRIPTOR_S | DESCRIPTOR_CODE | DESCRIPTOR_WRITABLE)) === (DESCRIPTOR_S | DESCRIPTOR_WRITABLE)
    && (high & DESCRIPTOR_PRESENT) !== 0 && descriptorDpl(descriptor) === rpl;
}

