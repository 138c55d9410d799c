/**
 * What the hypervisor asked the processor to leave the guest for: the VM-execution control fields of a VMCS
 * (SDM Vol. 3C 25.6), for the reasons this processor knows. `native` runs with `NO_CONTROLS`.
 */
export interface ExecutionControls {
  /** Non-root operation: VMCALL exits instead of #UD, CPUID exits. `false` only on `native`. */
  readonly nonRoot: boolean;
  readonly hltExiting: boolean;
  readonly invlpgExiting: boolean;
  readonly rdtscExiting: boolean;
  readonly cr3LoadExiting: boolean;
  readonly cr3StoreExiting: boolean;
  readonly movDrExiting: boolean;
  readonly descriptorTableExiting: boolean;
  readonly wbinvdExiting: boolean;
  readonly pauseExiting: boolean;
  /** 'all', 'none', or the 65,536-bit bitmaps A and B as 8,192 bytes: bit n set = port n exits. Ports that do not exit are bus cycles. */
  readonly ioExiting: 'all' | 'none' | Uint8Array;
  /** 'all', 'none', or the 4 × 1,024-byte MSR bitmap (read low, read high, write low, write high). */
  readonly msrExiting: 'all' | 'none' | Uint8Array;
  /** Bit n: exception n exits. */
  readonly exceptionBitmap: number;
  /** Bits owned by the host: reads give the read shadow; a write that would change an owned bit from its shadow exits. */
  readonly cr0Mask: number;
  readonly cr0ReadShadow: number;
  readonly cr4Mask: number;
  readonly cr4ReadShadow: number;
  /** EPT root as a byte offset in monitor space (4-level walk), or null: guest-physical is machine-physical. */
  readonly eptRoot: number | null;
  /**
   * Shadow page tables: byte offset in monitor space of a page-directory-pointer table of four entries (PAE format, shadow-entry.ts),
   * which the processor walks instead of the guest's tables whatever CR0.PG says; or null. A translation they do not hold
   * is a #PF that always leaves the guest.
   */
  readonly shadowRoot: number | null;
  /** Under a shadow root: the guest's own tables, read (only) to put what they say into the exit of a #PF; null while the guest's paging is off. */
  readonly guestPaging: GuestPaging | null;
  /** What the guest's own ring 0 would show where sensitive instructions do not trap: compared, never shown (sensitive.ts). Null: not compared. */
  readonly virtualState: VirtualState | null;
  /** What RDTSC adds to virtual time. */
  readonly tscOffset: number;
  /**
   * Deprivileged guest (paravirt, trap-and-emulate, binary translation): the kernel runs above ring 0; GDTR, IDTR, LDTR
   * and TR address monitor space; any event whose gate leads to ring 0 is an exit; LGDT, MOV CR and the like raise #GP.
   */
  readonly deprivileged: boolean;
}

/** Where a guest's own paging structures are, and in which format. */
export interface GuestPaging {
  readonly cr3: number;
  readonly pae: boolean;
  /** CR4.PSE: 4 MiB pages with 32-bit paging. */
  readonly pse: boolean;
  /** The four page-directory-pointer entries as the guest's MOV CR3 loaded them: 8 words, low before high; empty with 32-bit paging. */
  readonly pointers: readonly number[];
}

/** Privileged state of a deprivileged guest that unprivileged instructions read. */
export interface VirtualState {
  /** IF and IOPL, in their places in EFLAGS. */
  readonly flags: number;
  readonly cr0: number;
  readonly gdtBase: number;
  readonly gdtLimit: number;
  readonly idtBase: number;
  readonly idtLimit: number;
  /** Selectors. */
  readonly ldtr: number;
  readonly tr: number;
}

export const NO_CONTROLS: ExecutionControls = {
  nonRoot: false, hltExiting: false, invlpgExiting: false, rdtscExiting: false, cr3LoadExiting: false, cr3StoreExiting: false,
  movDrExiting: false, descriptorTableExiting: false, wbinvdExiting: false, pauseExiting: false,
  ioExiting: 'none', msrExiting: 'none', exceptionBitmap: 0,
  cr0Mask: 0, cr0ReadShadow: 0, cr4Mask: 0, cr4ReadShadow: 0, eptRoot: null, shadowRoot: null, guestPaging: null, virtualState: null, tscOffset: 0, deprivileged: false,
};
