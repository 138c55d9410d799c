import { PAGE_BYTES } from '../monitor-space.js';
import type { Transaction } from '../transaction.js';
import { MACH2PHYS_VIRT_START } from './abi.js';
import { checkDescriptorPage } from './descriptor-check.js';
import { Errno } from './errno.js';
import { FrameOwner, FrameType, type FrameTable, isPageTable } from './frame-table.js';
import type { KernelRing } from './kernel-ring.js';

const { floor } = Math;

// PAE entries (SDM Vol. 3A 4.4.2). The high word holds address bits 35:32 and XD.
export const PTE_PRESENT = 1, PTE_RW = 2, PTE_USER = 4, PTE_ACCESSED = 0x20, PTE_DIRTY = 0x40;
const XD = 0x8000_0000;
/** Flags that Xen refuses: PWT, PCD, PAT/PSE and GLOBAL in L1 and L2 (L1_DISALLOW_MASK, L2_DISALLOW_MASK). */
const L1_DISALLOWED = 0x198, L2_DISALLOWED = 0x198;
/** In a PDPTE everything but P and the available bits must be 0; XD is not there either (SDM Vol. 3A Table 4-8). */
const L3_DISALLOWED = 0x1fe;
const ENTRIES = 512;
/** Work of validating one page, against WORK_LIMIT. */
const PAGE_WORK = 32;
const L3_ENTRIES = 4;
/** Slots of the fourth page directory from here on are Xen's: the M2P table stands there. */
export const FIRST_XEN_L2_SLOT = (MACH2PHYS_VIRT_START >>> 21) & (ENTRIES - 1);

/** A table entry as two words. */
export interface Entry { readonly low: number; readonly high: number }
const NOT_PRESENT: Entry = { low: 0, high: 0 };

export interface Walk { readonly mfn: number; readonly writable: boolean; readonly user: boolean; readonly tableMfn: number; readonly index: number }

export function entryFrame({ low, high }: Entry): number {
  return (low >>> 12) + (high & 0x7fff_ffff) * 0x10_0000;
}

/**
 * Xen's direct paging: the guest's page tables are the processor's, and the guest asks for each change. The rule that every
 * change keeps: **a frame in use as page table or descriptor table is mapped nowhere writable, and no table refers to a
 * frame that is not the domain's.**
 *
 * Since only ring -1 writes a frame in use as page table, its contents are kept here as well (`mirrors`), but for the
 * Accessed and Dirty bits that the processor sets: entries need not be read back to drop what they refer to.
 */
export class DirectPaging {
  private readonly mirrors = new Map<number, Uint32Array>();
  /** Counts TLB flushes. A frame whose stamp is not older may still stand in a TLB. */
  private flushes = 1;
  /** Machine frame of the L3 table that the kernel runs on; without a kernel in ring 3, applications too. */
  root = -1;
  /** Kernel in ring 3: that of the L3 table for applications (MMUEXT_NEW_USER_BASEPTR), or -1; and whether they run now. */
  userRoot = -1;
  private user = false;
  /** Frames of the domain that it gave back: (machine frame) → they can be had again. */
  readonly free: number[] = [];
  /** What the Xen slots of a fourth page directory hold, from FIRST_XEN_L2_SLOT on. */
  private readonly xenSlots: readonly Entry[];

  constructor(readonly frames: FrameTable, xenL1Frames: readonly number[], private readonly kernelRing: KernelRing) {
    this.xenSlots = xenL1Frames.map((mfn) => ({ low: ((mfn << 12) | PTE_PRESENT | PTE_USER | PTE_ACCESSED) >>> 0, high: 0 }));
  }

  // ---- References -------------------------------------------------------------------------------------------------------

  getPage(mfn: number): boolean {
    if (!this.frames.isDomains(mfn)) return false;
    this.frames.refCount[mfn]!++;
    return true;
  }

  putPage(transaction: Transaction, mfn: number): void {
    const { frames } = this;
    frames.stamp[mfn] = this.flushes;
    if (--frames.refCount[mfn]! > 0) return;
    // The last reference of a frame that the domain gave back is gone: now it is nobody's.
    frames.owner[mfn] = FrameOwner.other;
    frames.type[mfn] = FrameType.none;
    this.free.push(mfn);
    transaction.add({ kind: 'frame', frame: mfn, target: null });
    this.flush(transaction);
  }

  /** One more use of the frame as `type`; its contents are validated if it is the first. 0, or a negative errno. */
  async getType(transaction: Transaction, mfn: number, type: FrameType): Promise<number> {
    const { frames } = this;
    if (frames.typeCount[mfn]! > 0) {
      if (frames.type[mfn] !== type) return -Errno.EBUSY;
      frames.typeCount[mfn]!++;
      return 0;
    }
    if (frames.type[mfn] !== type && frames.stamp[mfn]! >= this.flushes) this.flush(transaction);
    frames.type[mfn] = type;
    frames.typeCount[mfn] = 1;
    const result = await this.validate(transaction, mfn, type);
    if (result !== 0) {
      frames.typeCount[mfn] = 0;
      frames.type[mfn] = FrameType.none;
      this.mirrors.delete(mfn);
    }
    return result;
  }

  putType(transaction: Transaction, mfn: number): void {
    const { frames } = this;
    if (--frames.typeCount[mfn]! > 0) return;
    frames.stamp[mfn] = this.flushes;
    const type = frames.type[mfn]!;
    if (!isPageTable(type)) return;
    const mirror = this.mirrors.get(mfn)!;
    this.mirrors.delete(mfn);
    for (let index = 0; index < guestEntries(type); index++) this.putEntry(transaction, type, entryAt(mirror, index));
  }

  async getPageAndType(transaction: Transaction, mfn: number, type: FrameType): Promise<number> {
    if (!this.getPage(mfn)) return -Errno.EINVAL;
    const result = await this.getType(transaction, mfn, type);
    if (result !== 0) this.putPage(transaction, mfn);
    return result;
  }

  putPageAndType(transaction: Transaction, mfn: number): void {
    this.putType(transaction, mfn);
    this.putPage(transaction, mfn);
  }

  // ---- What the guest asks for ------------------------------------------------------------------------------------------

  async pin(transaction: Transaction, mfn: number, type: FrameType): Promise<number> {
    const result = await this.getPageAndType(transaction, mfn, type);
    if (result !== 0) return result;
    if (this.frames.pinned[mfn] === 1) {
      this.putPageAndType(transaction, mfn);
      return -Errno.EINVAL;
    }
    this.frames.pinned[mfn] = 1;
    return 0;
  }

  unpin(transaction: Transaction, mfn: number): number {
    if (!this.frames.isDomains(mfn) || this.frames.pinned[mfn] === 0) return -Errno.EINVAL;
    this.frames.pinned[mfn] = 0;
    this.putPageAndType(transaction, mfn);
    return 0;
  }

  /** MMUEXT_NEW_BASEPTR: CR3. */
  async setRoot(transaction: Transaction, mfn: number): Promise<number> {
    const result = await this.getPageAndType(transaction, mfn, FrameType.l3);
    if (result !== 0) return result;
    const old = this.root;
    this.root = mfn;
    this.loadRoot(transaction);
    if (old >= 0) this.putPageAndType(transaction, old);
    return 0;
  }

  /** MMUEXT_NEW_USER_BASEPTR: what applications run on when the kernel is in ring 3; frame 0 for nothing. */
  async setUserRoot(transaction: Transaction, mfn: number): Promise<number> {
    if (mfn !== 0) {
      const result = await this.getPageAndType(transaction, mfn, FrameType.l3);
      if (result !== 0) return result;
    }
    const old = this.userRoot;
    this.userRoot = mfn === 0 ? -1 : mfn;
    if (old >= 0) this.putPageAndType(transaction, old);
    return 0;
  }

  /** Kernel in ring 3: whether applications run, on tables without the kernel (the opposite of Xen's TF_kernel_mode). */
  get userMode(): boolean {
    return this.user;
  }

  /** Kernel in ring 3: on to the applications' tables. False when the guest has named none. */
  enterUserMode(transaction: Transaction): boolean {
    if (this.userRoot < 0) return false;
    this.user = true;
    this.loadRoot(transaction);
    return true;
  }

  /** Kernel in ring 3: back to the kernel's tables. */
  enterKernelMode(transaction: Transaction): void {
    if (!this.user) return;
    this.user = false;
    this.loadRoot(transaction);
  }

  /** Change one entry of a table in use. `preserveAd`: Accessed and Dirty stay as the processor left them. */
  async updateEntry(transaction: Transaction, mfn: number, index: number, wanted: Entry, preserveAd: boolean): Promise<number> {
    const type = this.frames.type[mfn]!;
    const mirror = this.mirrors.get(mfn)!;
    if (index >= guestEntries(type)) return type === FrameType.l2Xen ? -Errno.EPERM : -Errno.EINVAL;
    if (type === FrameType.l3 && index === L3_ENTRIES - 1 && this.xenSlotsNeeded && (wanted.low & PTE_PRESENT) === 0) return -Errno.EINVAL;
    const old = entryAt(mirror, index);
    const keepsReference = sameReference(type, old, wanted);
    const result = keepsReference ? checkFlags(type, wanted) : await this.getEntry(transaction, type, index, wanted);
    if (result !== 0) return result;
    transaction.charge('page-table-entry');
    let low = this.adjustFlags(type, wanted.low);
    if (preserveAd && (low & PTE_PRESENT) !== 0 && (old.low & PTE_PRESENT) !== 0) {
      const current = await transaction.read('guest', mfn * PAGE_BYTES + index * 8, 1);
      low = ((low & ~(PTE_ACCESSED | PTE_DIRTY)) | (current[0]! & (PTE_ACCESSED | PTE_DIRTY))) >>> 0;
    }
    mirror[index * 2] = low;
    mirror[index * 2 + 1] = wanted.high;
    transaction.write32('guest', mfn * PAGE_BYTES + index * 8, low, wanted.high);
    if (!keepsReference) this.putEntry(transaction, type, old);
    // The processor holds the four top entries in registers (SDM Vol. 3A 4.4.1).
    if (mfn === this.loadedRoot) this.loadRoot(transaction);
    return 0;
  }

  /** The entry that maps `linear` in the guest's current tables (or in its kernel's), or null. Never Xen's own part of the address space. */
  walk(linear: number, tables: 'current' | 'kernel' = 'current'): Walk | null {
    const leaf = this.leafTable(linear, tables);
    if (leaf === null) return null;
    const { tableMfn, index, writable, user } = leaf;
    const entry = entryAt(this.mirrors.get(tableMfn)!, index);
    if ((entry.low & PTE_PRESENT) === 0) return null;
    return { mfn: entryFrame(entry), writable: writable && (entry.low & PTE_RW) !== 0, user: user && (entry.low & PTE_USER) !== 0, tableMfn, index };
  }

  /** The L1 table and index that `linear` goes through, whatever stands there. */
  leafTable(linear: number, tables: 'current' | 'kernel' = 'current'): Walk | null {
    if (linear >= MACH2PHYS_VIRT_START || this.root < 0) return null;
    const directory = entryAt(this.mirrors.get(tables === 'kernel' ? this.root : this.loadedRoot)!, linear >>> 30);
    if ((directory.low & PTE_PRESENT) === 0) return null;
    const table = entryAt(this.mirrors.get(entryFrame(directory))!, (linear >>> 21) & (ENTRIES - 1));
    if ((table.low & PTE_PRESENT) === 0) return null;
    const tableMfn = entryFrame(table);
    return { mfn: tableMfn, writable: (table.low & PTE_RW) !== 0, user: (table.low & PTE_USER) !== 0, tableMfn, index: (linear >>> 12) & (ENTRIES - 1) };
  }

  /** Ring -1 writes through a mapping: mark it as the processor would. Accessed and Dirty both, so no bit of the processor's is lost. */
  markDirty(transaction: Transaction, { tableMfn, index }: Walk): void {
    const mirror = this.mirrors.get(tableMfn)!;
    const low = mirror[index * 2]!;
    const marked = low | PTE_ACCESSED | PTE_DIRTY;
    if (marked >>> 0 === low) return;
    mirror[index * 2] = marked;
    transaction.write('guest', tableMfn * PAGE_BYTES + index * 8, Uint8Array.of(marked & 0xff));
  }

  flush(transaction: Transaction): void {
    this.flushes++;
    transaction.add({ kind: 'flush', scope: 'all' });
  }

  /** The mirror of a table in use, for tests of the rule above. */
  table(mfn: number): Uint32Array | undefined {
    return this.mirrors.get(mfn);
  }

  // ---- Validation -------------------------------------------------------------------------------------------------------

  private async validate(transaction: Transaction, mfn: number, type: FrameType): Promise<number> {
    if (type === FrameType.writable || type === FrameType.none) return 0;
    if (!transaction.spend(PAGE_WORK)) return -Errno.E2BIG;
    const words = new Uint32Array((await transaction.read('guest', mfn * PAGE_BYTES, PAGE_BYTES)).buffer);
    if (type === FrameType.segDesc) return checkDescriptorPage(transaction, mfn, words, this.kernelRing);
    if (type === FrameType.l3 && this.xenSlotsNeeded && (words[(L3_ENTRIES - 1) * 2]! & PTE_PRESENT) === 0) return -Errno.EINVAL;
    this.mirrors.set(mfn, words);
    const count = guestEntries(type);
    for (let index = 0; index < count; index++) {
      const result = await this.getEntry(transaction, type, index, entryAt(words, index));
      if (result === 0) continue;
      while (index-- > 0) this.putEntry(transaction, type, entryAt(words, index));
      return result;
    }
    this.adjustTable(transaction, mfn, type, words);
    if (type === FrameType.l2Xen) this.installXenSlots(transaction, mfn, words);
    return 0;
  }

  /** Take the references that an entry stands for. 0, or why it must not be there. */
  private async getEntry(transaction: Transaction, type: number, index: number, entry: Entry): Promise<number> {
    if ((entry.low & PTE_PRESENT) === 0) return 0;
    transaction.charge('page-table-entry');
    const flags = checkFlags(type, entry);
    if (flags !== 0) return flags;
    const mfn = entryFrame(entry);
    if (type !== FrameType.l1) {
      const child = type === FrameType.l3 ? (index === L3_ENTRIES - 1 ? FrameType.l2Xen : FrameType.l2) : FrameType.l1;
      return this.getPageAndType(transaction, mfn, child);
    }
    if (!this.getPage(mfn)) return -Errno.EPERM;
    if ((entry.low & PTE_RW) === 0) return 0;
    const result = await this.getType(transaction, mfn, FrameType.writable);
    if (result !== 0) this.putPage(transaction, mfn);
    return result;
  }

  private putEntry(transaction: Transaction, type: number, entry: Entry): void {
    if ((entry.low & PTE_PRESENT) === 0) return;
    transaction.charge('page-table-entry');
    const mfn = entryFrame(entry);
    if (type !== FrameType.l1 || (entry.low & PTE_RW) !== 0) this.putType(transaction, mfn);
    this.putPage(transaction, mfn);
  }

  /** A kernel in ring 1 always sees the M2P; tables for applications of a kernel in ring 3 may end below the fourth GiB. */
  private get xenSlotsNeeded(): boolean {
    return this.kernelRing === 1;
  }

  /**
   * Xen's adjust_guest_l1e of 64-bit guests: a kernel in ring 3 can use no page that is a supervisor's, so U/S is set whatever
   * the guest says. Root entries have no such bit.
   */
  private adjustFlags(type: number, low: number): number {
    return this.kernelRing === 3 && type !== FrameType.l3 && (low & PTE_PRESENT) !== 0 ? (low | PTE_USER) >>> 0 : low;
  }

  private adjustTable(transaction: Transaction, mfn: number, type: number, words: Uint32Array): void {
    const count = guestEntries(type);
    let adjusted = false;
    for (let index = 0; index < count; index++) {
      const low = words[index * 2]!;
      words[index * 2] = this.adjustFlags(type, low);
      adjusted ||= words[index * 2] !== low;
    }
    if (adjusted) transaction.write('guest', mfn * PAGE_BYTES, new Uint8Array(words.buffer).slice(0, count * 8));
  }

  /** Whatever the guest left in them, Xen's slots hold Xen's tables: the M2P read-only, and nothing else. */
  private installXenSlots(transaction: Transaction, mfn: number, words: Uint32Array): void {
    for (let slot = FIRST_XEN_L2_SLOT; slot < ENTRIES; slot++) {
      const { low, high } = this.xenSlots[slot - FIRST_XEN_L2_SLOT] ?? NOT_PRESENT;
      words[slot * 2] = low;
      words[slot * 2 + 1] = high;
    }
    const bytes = new Uint8Array(words.buffer).slice(FIRST_XEN_L2_SLOT * 8);
    transaction.write('guest', mfn * PAGE_BYTES + FIRST_XEN_L2_SLOT * 8, bytes);
  }

  /** Machine frame of the L3 table in CR3. */
  private get loadedRoot(): number {
    return this.user ? this.userRoot : this.root;
  }

  private loadRoot(transaction: Transaction): void {
    this.flushes++;
    transaction.add({ kind: 'register', register: 'cr3', value: (this.loadedRoot * PAGE_BYTES) >>> 0 });
  }
}

function entryAt(words: Uint32Array, index: number): Entry {
  return { low: words[index * 2]!, high: words[index * 2 + 1]! };
}

/** Entries of a table that the guest fills. */
function guestEntries(type: number): number {
  return type === FrameType.l3 ? L3_ENTRIES : type === FrameType.l2Xen ? FIRST_XEN_L2_SLOT : ENTRIES;
}

function checkFlags(type: number, { low, high }: Entry): number {
  if ((low & PTE_PRESENT) === 0) return 0;
  const disallowed = type === FrameType.l1 ? L1_DISALLOWED : type === FrameType.l3 ? L3_DISALLOWED : L2_DISALLOWED;
  if ((low & disallowed) !== 0) return -Errno.EINVAL;
  return type === FrameType.l3 && (high & XD) !== 0 ? -Errno.EINVAL : 0;
}

/** Whether both entries are present and stand for the same references, so that none has to be taken or dropped. */
function sameReference(type: number, old: Entry, wanted: Entry): boolean {
  if ((old.low & wanted.low & PTE_PRESENT) === 0 || entryFrame(old) !== entryFrame(wanted)) return false;
  return type !== FrameType.l1 || ((old.low ^ wanted.low) & PTE_RW) === 0;
}

/** Machine frame of a machine address; the index of the 8-byte entry in it. */
export function splitMachineAddress(address: number): { mfn: number; index: number } {
  const mfn = floor(address / PAGE_BYTES);
  return { mfn, index: (address - mfn * PAGE_BYTES) >>> 3 };
}
