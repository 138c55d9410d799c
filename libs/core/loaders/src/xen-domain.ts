import type { Effect } from '@ringside/machine';

/**
 * What the domain builder (xen-pv.ts) hands to ring -1: a 32-bit PAE domain, laid out as Xen's own builder does
 * (xen/include/public/xen.h, "start-of-day memory layout"), ready to be entered in ring 1.
 */

/** Bytes of a page and of a frame. */
export const XEN_PAGE_BYTES = 4096;
/** `MAX_GUEST_CMDLINE`: bytes of the command line in start_info, its final NUL included. */
export const XEN_COMMAND_LINE_BYTES = 1024;
/** First linear address that belongs to Xen in a PAE guest (`__HYPERVISOR_VIRT_START_PAE`): the M2P table stands there. */
export const XEN_VIRT_START_PAE = 0xf5800000;

/** Selectors that Xen reserves for a 32-bit guest (xen/include/public/arch-x86/xen-x86_32.h). */
export const FLAT_RING1_CS = 0xe019;
export const FLAT_RING1_DS = 0xe021;
export const FLAT_RING3_CS = 0xe02b;
export const FLAT_RING3_DS = 0xe033;

/** Byte offsets of `struct start_info` (xen/include/public/xen.h), 32-bit guest. */
export const START_INFO = {
  magic: 0, nr_pages: 32, shared_info: 36, flags: 40, store_mfn: 44, store_evtchn: 48, console_mfn: 52, console_evtchn: 56,
  pt_base: 60, nr_pt_frames: 64, mfn_list: 68, mod_start: 72, mod_len: 76, cmd_line: 80, first_p2m_pfn: 1104, nr_p2m_frames: 1108,
  size: 1112,
} as const;

/** Frame types of Xen's frame table (PGT_*). A frame has one type at a time; page tables are never mapped writable. */
export type FrameType = 'none' | 'writable' | 'l1' | 'l2' | 'l3' | 'seg-desc';

export interface XenDomainOptions {
  /** The guest's ELF file. */
  readonly image: Uint8Array;
  /** Initial ramdisk, mapped behind the image, or null. */
  readonly ramdisk: Uint8Array | null;
  readonly commandLine: string;
  /** Machine frame of every pseudo-physical frame: `pfnToMfn[pfn]`. Its length is the domain's size in pages (nr_pages). */
  readonly pfnToMfn: Uint32Array;
  /** Machine address of shared_info: a frame that ring -1 owns and lets the domain map. */
  readonly sharedInfoMachineAddress: number;
  /** Event channel ports that ring -1 has allocated, 0 for none. */
  readonly storeEventChannel: number;
  readonly consoleEventChannel: number;
  /** start_info.flags: SIF_PRIVILEGED 1, SIF_INITDOMAIN 2. 0 for a plain domain. */
  readonly flags: number;
  /** Ring in which the kernel is entered: 1, as 32-bit Xen does, unless said. */
  readonly kernelRing?: 1 | 3;
}

/** What one pseudo-physical frame is when the domain starts. Frames not listed are 'writable' when mapped, and unmapped. */
export interface InitialFrame {
  readonly pfn: number;
  readonly mfn: number;
  readonly type: FrameType;
  /** The root (L3) is pinned, as Xen's builder does, which holds the whole tree in place. */
  readonly pinned: boolean;
  /** Linear address at which the initial page tables map the frame, or null. */
  readonly linear: number | null;
  /** Whether that mapping is writable. Never so for page tables. */
  readonly writable: boolean;
}

/** Values of the ELF notes (xen/include/public/elfnote.h) or of the old `__xen_guest` string, with their defaults. */
export interface XenImageNotes {
  readonly guestOs: string;
  readonly guestVersion: string;
  readonly xenVersion: string;
  readonly loader: string;
  /** Linear address of pseudo-physical 0. */
  readonly virtBase: number;
  /** Offset between the ELF file's physical addresses and pseudo-physical ones (XEN_ELFNOTE_PADDR_OFFSET). */
  readonly paddrOffset: number;
  readonly entry: number;
  /** Linear address of the page that ring -1 fills with hypercall stubs, or null when the guest has none. */
  readonly hypercallPage: number | null;
  readonly features: readonly string[];
  /** 'yes', 'no', 'bimodal' as written; only PAE guests are accepted. */
  readonly paeMode: string;
  readonly suspendCancel: boolean;
}

export interface XenDomain {
  /**
   * Memory (space 'guest', machine-physical addresses, at most 256 KiB each; apply after the frame map, since a machine
   * frame must have a place), then registers and segments of the entry in ring 1: EIP, ESP, ESI = start_info, CR4 (PAE),
   * CR3, CR0 (PE PG WP), EFLAGS (IF set; events are masked in shared_info, which ring -1 writes), flat segments.
   */
  readonly effects: Effect[];
  /** Every frame that the initial page tables map, or that they are made of. */
  readonly frames: InitialFrame[];
  readonly notes: XenImageNotes;
  /** Machine frame of the hypercall page, or null; ring -1 fills it. */
  readonly hypercallPageMfn: number | null;
  readonly entry: number;
  readonly stackPointer: number;
  /** Linear addresses. */
  readonly startInfo: number;
  readonly pageTableBase: number;
  readonly pageTableFrames: number;
  readonly p2mList: number;
  /** First and one past the last linear address of the initial mapping (4 MiB aligned, ≥ 512 KiB of padding in it). */
  readonly virtStart: number;
  readonly virtEnd: number;
  /** Machine frame of the L3 (page-directory-pointer) table, for CR3. Below 4 GiB. */
  readonly rootMfn: number;
  readonly startInfoMfn: number;
  readonly storeMfn: number;
  readonly consoleMfn: number;
}
