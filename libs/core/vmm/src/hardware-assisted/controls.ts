import type { VmSpec } from '@ringside/machine';
import { PF, type ExecutionControls } from '@ringside/x86';

/** CR0 bits (SDM Vol. 3A 2.5). */
export const CR0_PE = 0x1, CR0_TS = 0x8, CR0_ET = 0x10, CR0_WP = 0x1_0000, CR0_NW = 0x2000_0000, CR0_CD = 0x4000_0000, CR0_PG = 0x8000_0000;
export const CR4_PSE = 0x10, CR4_PAE = 0x20, CR4_PGE = 0x80, CR4_VMXE = 0x2000, CR4_SMXE = 0x4000;
/** The bits that CR4 has on this processor: TSD, DE, PSE, PAE, PGE, PCE. */
export const CR4_DEFINED = 0x1bc;

/**
 * What this hypervisor owns in the control registers, the least that it has to:
 * - CR0.CD and CR0.NW, because the caches belong to the host;
 * - CR4.VMXE and CR4.SMXE, because a guest without VMX must find them reserved.
 * TS, PE, PG, WP and the rest are the guest's: task switching and paging cost no exit.
 */
export const CR0_OWNED = CR0_CD | CR0_NW;
export const CR4_OWNED = CR4_VMXE | CR4_SMXE;

/**
 * Without nested paging ring -1 also owns what decides how the guest's tables are read: CR0.PG and WP, CR4.PSE, PAE and PGE (whose change
 * reloads the page-directory pointers).
 */
export const CR0_OWNED_SHADOW = CR0_OWNED + CR0_PG + CR0_WP;
export const CR4_OWNED_SHADOW = CR4_OWNED | CR4_PSE | CR4_PAE | CR4_PGE;

/** MSRs that the guest reads and writes without an exit: IA32_TIME_STAMP_COUNTER and the three of SYSENTER. */
export const PASSED_THROUGH_MSRS: readonly number[] = [0x10, 0x174, 0x175, 0x176];

/** IA32_EFER, which ring -1 keeps as every hypervisor does; NXE is the only bit that a 32-bit processor has. */
export const MSR_EFER = 0xc000_0080;
/** MSRs that exit and that ring -1 carries out, with the bits that must be 0. */
export const MSR_RESERVED: ReadonlyMap<number, bigint> = new Map([[MSR_EFER, ~0x800n & 0xffff_ffff_ffff_ffffn]]);

/** The 4 KiB MSR bitmap (SDM Vol. 3C 25.6.9): read low, read high, write low, write high; a set bit exits. */
export function msrBitmap(): Uint8Array {
  const bitmap = new Uint8Array(4096).fill(0xff);
  for (const msr of PASSED_THROUGH_MSRS) {
    for (const part of [0, 2048]) {
      const byte = part + (msr >> 3);
      bitmap[byte] = bitmap[byte]! & ~(1 << (msr & 7));
    }
  }
  return bitmap;
}

/** I/O bitmaps A and B: every port exits but those that the spec granted. */
export function ioBitmap(granted: VmSpec['grantedPorts']): 'all' | Uint8Array {
  if (granted.length === 0) return 'all';
  const bitmap = new Uint8Array(8192).fill(0xff);
  for (const { from, to } of granted) {
    for (let port = from; port <= to; port++) bitmap[port >> 3] = bitmap[port >> 3]! & ~(1 << (port & 7));
  }
  return bitmap;
}

/** First-generation VT-x: the processor walks the shadow; #PF, CR3 and the paging bits are ring -1's. INVLPG is not: the shadow is never behind. */
export function shadowControls(spec: VmSpec, shadow: Pick<ExecutionControls, 'shadowRoot' | 'guestPaging'>): ExecutionControls {
  return {
    ...initialControls(spec, null), ...shadow, cr3LoadExiting: true, cr3StoreExiting: true, exceptionBitmap: 1 << PF,
    cr0Mask: CR0_OWNED_SHADOW, cr4Mask: CR4_OWNED_SHADOW,
  };
}

export function initialControls(spec: VmSpec, eptRoot: number | null): ExecutionControls {
  return {
    nonRoot: true,
    // RDTSC and INVLPG do not exit: virtual time is the guest's own, and nested paging leaves its TLB to it.
    hltExiting: true, invlpgExiting: false, rdtscExiting: false, cr3LoadExiting: false, cr3StoreExiting: false,
    movDrExiting: false, descriptorTableExiting: false, wbinvdExiting: false, pauseExiting: false,
    ioExiting: ioBitmap(spec.grantedPorts), msrExiting: msrBitmap(), exceptionBitmap: 0,
    cr0Mask: CR0_OWNED, cr0ReadShadow: 0, cr4Mask: CR4_OWNED, cr4ReadShadow: 0,
    eptRoot, shadowRoot: null, guestPaging: null, virtualState: null, tscOffset: 0, deprivileged: false,
  };
}
