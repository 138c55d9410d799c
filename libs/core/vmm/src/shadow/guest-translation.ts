import { I686_FEATURES, type GuestWalk, type WalkedEntry } from '@ringside/x86';

/** How the guest's paging works now: CR0.PG and WP, CR4.PAE and PSE, EFER.NXE as the guest sees them. */
export interface PagingMode { readonly paging: boolean; readonly writeProtect: boolean; readonly pae: boolean; readonly pse: boolean; readonly executeDisable: boolean }
export interface PageAccess { readonly write: boolean; readonly user: boolean; readonly fetch: boolean }

/** What a page may be used for, all levels of the guest's tables together. */
export interface PageRights { readonly writable: boolean; readonly user: boolean; readonly executable: boolean }

export interface GuestPage {
  readonly kind: 'page';
  /** Frame of the 4 KiB that the address lies in. */
  readonly frame: number;
  readonly rights: PageRights;
  /** What the directory entry alone allows: a table is shadowed once for each. */
  readonly directoryRights: PageRights;
  /** The entry that maps the page has its dirty bit (now). */
  readonly dirty: boolean;
  /** Mapped by a page larger than 4 KiB. */
  readonly large: boolean;
  /** Accessed and dirty bits that the access sets: low words to be written to the guest's tables, as the processor would. */
  readonly marks: readonly { address: number; low: number }[];
}
/** The guest's tables do not allow the access: the guest must get this #PF. */
export interface TrueFault { readonly kind: 'fault'; readonly errorCode: number }

const PRESENT = 1, WRITABLE = 2, USER = 4, ACCESSED = 0x20, DIRTY = 0x40, LARGE = 0x80;
const ERROR_PROTECTION = 1, ERROR_WRITE = 2, ERROR_USER = 4, ERROR_RESERVED = 8, ERROR_FETCH = 16;

const ADDRESS_BITS_ABOVE_32 = I686_FEATURES.physicalAddressBits - 32;
/** PSE-36: bits 13–16 of a 4 MiB entry are address bits 32–35, those up to 21 beyond them reserved. */
const RESERVED_4_MIB = 0x3fe000 & ~(((1 << ADDRESS_BITS_ABOVE_32) - 1) << 13);
const RESERVED_2_MIB = 0x1fe000;
const ABOVE_ADDRESS = -(1 << ADDRESS_BITS_ABOVE_32);

/** The access that a #PF error code tells of (SDM Vol. 3A 4.7). Under shadow paging I/D is always reported. */
export function accessOf(errorCode: number): PageAccess {
  return { write: (errorCode & ERROR_WRITE) !== 0, user: (errorCode & ERROR_USER) !== 0, fetch: (errorCode & ERROR_FETCH) !== 0 };
}

export const ALL_RIGHTS: PageRights = { writable: true, user: true, executable: true };

export function frameOf(low: number, high: number): number {
  return (low >>> 12) + (high & 0xf) * 0x10_0000;
}

/** Whether an entry has a bit set that its format reserves (SDM Vol. 3A 4.3, 4.4). */
export function hasReservedBits({ low, high }: { low: number; high: number }, mode: PagingMode, large: boolean): boolean {
  if (!mode.pae) return large && (low & RESERVED_4_MIB) !== 0;
  if ((high & (mode.executeDisable ? 0x7fffffff : -1) & ABOVE_ADDRESS) !== 0) return true;
  return large && (low & RESERVED_2_MIB) !== 0;
}

export function rightsOf({ low, high }: { low: number; high: number }): PageRights {
  return { writable: (low & WRITABLE) !== 0, user: (low & USER) !== 0, executable: high >= 0 };
}

export function bothRights(one: PageRights, other: PageRights): PageRights {
  return { writable: one.writable && other.writable, user: one.user && other.user, executable: one.executable && other.executable };
}

/** What the processor would make of `access` to `linear` with these tables (SDM Vol. 3A 4.6–4.8), or identity while paging is off. */
export function translateGuest(walk: GuestWalk | null, mode: PagingMode, linear: number, access: PageAccess): GuestPage | TrueFault {
  if (!mode.paging) return { kind: 'page', frame: linear >>> 12, rights: ALL_RIGHTS, directoryRights: ALL_RIGHTS, dirty: true, large: true, marks: [] };
  const [directory, table] = walk?.entries ?? [];
  if (directory === undefined || (directory.low & PRESENT) === 0) return pageFault(mode, access, 0);
  const large = (directory.low & LARGE) !== 0 && (mode.pae || mode.pse);
  if (hasReservedBits(directory, mode, large)) return pageFault(mode, access, ERROR_PROTECTION | ERROR_RESERVED);
  const directoryRights = rightsOf(directory);
  if (large) {
    return allowed(mode, access, directoryRights) ? {
      kind: 'page', frame: largeFrame(directory, mode, linear), rights: directoryRights, directoryRights, large, ...marked(null, directory, access),
    } : pageFault(mode, access, ERROR_PROTECTION);
  }
  if (table === undefined || (table.low & PRESENT) === 0) return pageFault(mode, access, 0);
  if (hasReservedBits(table, mode, false)) return pageFault(mode, access, ERROR_PROTECTION | ERROR_RESERVED);
  const rights = bothRights(directoryRights, rightsOf(table));
  if (!allowed(mode, access, rights)) return pageFault(mode, access, ERROR_PROTECTION);
  return { kind: 'page', frame: frameOf(table.low, table.high), rights, directoryRights, large, ...marked(directory, table, access) };
}

function largeFrame({ low, high }: WalkedEntry, mode: PagingMode, linear: number): number {
  if (mode.pae) return frameOf(low, high) + ((linear >>> 12) & 0x1ff);
  return ((low >>> 22) << 10) + ((linear >>> 12) & 0x3ff) + ((low >>> 13) & 0xff) * 0x10_0000;
}

function allowed(mode: PagingMode, { write, user, fetch }: PageAccess, rights: PageRights): boolean {
  if (user && !rights.user) return false;
  if (write && !rights.writable && (user || mode.writeProtect)) return false;
  return !fetch || rights.executable;
}

function pageFault(mode: PagingMode, { write, user, fetch }: PageAccess, cause: number): TrueFault {
  // I/D is reported only where execute-disable is in force.
  const reported = fetch && mode.pae && mode.executeDisable ? ERROR_FETCH : 0;
  return { kind: 'fault', errorCode: cause | (write ? ERROR_WRITE : 0) | (user ? ERROR_USER : 0) | reported };
}

/** Accessed bits of both levels, and on a write the dirty bit of the entry that maps the page. */
function marked(directory: WalkedEntry | null, maps: WalkedEntry, { write }: PageAccess): Pick<GuestPage, 'dirty' | 'marks'> {
  const marks: { address: number; low: number }[] = [];
  if (directory !== null && (directory.low & ACCESSED) === 0) marks.push({ address: directory.address, low: directory.low | ACCESSED });
  const wanted = maps.low | ACCESSED | (write ? DIRTY : 0);
  if (wanted !== maps.low) marks.push({ address: maps.address, low: wanted });
  return { dirty: (wanted & DIRTY) !== 0, marks };
}

/** An entry of a page table that an access through it would find just as it is: present, accessed, no reserved bit. */
export function isSettled(entry: { low: number; high: number }, mode: PagingMode): boolean {
  return (entry.low & (PRESENT | ACCESSED)) === (PRESENT | ACCESSED) && !hasReservedBits(entry, mode, false);
}

export const isDirty = ({ low }: { low: number }): boolean => (low & DIRTY) !== 0;
