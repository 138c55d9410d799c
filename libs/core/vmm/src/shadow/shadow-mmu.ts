import type { Exit } from '@ringside/machine';
import { SHADOW_EXECUTE_DISABLE, SHADOW_PRESENT, SHADOW_TRACED, SHADOW_USER, SHADOW_WRITABLE, type ExecutionControls, type GuestWalk } from '@ringside/x86';
import type { MonitorSpace } from '../monitor-space.js';
import type { Transaction } from '../transaction.js';
import { accessOf, ALL_RIGHTS, bothRights, frameOf, isDirty, isSettled, rightsOf, translateGuest, type GuestPage, type PageRights, type PagingMode, type TrueFault } from './guest-translation.js';
import { ShadowPool } from './shadow-pool.js';
import { COVER_SHIFT, ENTRIES, ENTRY_BYTES, ShadowTable, type ShadowTableKind } from './shadow-table.js';

const { floor, min } = Math;

/** Shadow pages of one guest: 4 MiB of monitor space. */
export const SHADOW_PAGES = 1024;
/** Values of CR3 whose shadows are kept. */
const MAX_ROOTS = 64;
/** What one fault may need: a directory and a table, and a root for the next CR3. */
const ROOM = 4;
/** Beyond this many pages to flush, all of the TLB is. */
const MAX_PAGE_FLUSHES = 16;
const LEAF_RIGHTS = SHADOW_WRITABLE | SHADOW_USER | SHADOW_TRACED;

/** The guest's paging as it stands: mode, CR3, and the page-directory-pointer entries that MOV CR3 loaded (8 words under PAE, else none). */
export interface GuestPagingState { readonly mode: PagingMode; readonly cr3: number; readonly pointers: readonly number[] }

/**
 * Shadow page tables: a cache of what the guest's own tables say, in the format and the frames that the processor walks.
 *
 * Every guest frame that a shadow is made of is write-traced: no shadow entry lets the guest write there, so each change of a guest's table comes here
 * before anything can depend on it, and the shadow is never behind. Accessed and dirty bits are the guest's own: an entry is filled only
 * once the guest's is accessed, writable only once it is dirty, and the access that makes it so sets the bit in the guest's table,
 * exactly as the processor would natively.
 *
 * With CR0.WP = 0 the kernel may write what it has mapped read-only, and an application may not: such a page is in one of two forms, readable by both or
 * writable by the kernel alone, and changes its form when the other side faults.
 */
export class ShadowMmu {
  private readonly pool: ShadowPool;
  private readonly roots = new Map<string, ShadowTable>();
  /** Tables made of a guest frame: what makes it traced. */
  private readonly sources = new Map<number, ShadowTable[]>();
  /** By page of monitor space. */
  private readonly tables = new Map<number, ShadowTable>();
  private readonly blocks = new Set<ShadowTable>();
  /** Leaves of `table`s by the guest frame that they map, as addresses in monitor space. */
  private readonly leaves = new Map<number, Set<number>>();
  private state: GuestPagingState = { mode: { paging: false, writeProtect: false, pae: false, pse: false, executeDisable: false }, cr3: 0, pointers: [] };
  private root: ShadowTable;
  private watched: ReadonlySet<number> = new Set();
  private readonly flushes = new Set<number>();
  private flushAll = false;
  /** Traced writes let through whose instruction may still be under way, since how many were retired, and whether it has needed a translation since. */
  private underWay: { retired: number; ranges: { physical: number; bytes: number }[]; filled: boolean } = { retired: -1, ranges: [], filled: false };

  constructor(space: MonitorSpace, pages = SHADOW_PAGES) {
    this.pool = new ShadowPool(space, pages);
    this.root = this.newRoot(null, keyOf(this.state));
  }

  /** For the execution controls: what the processor walks, and where it finds the guest's own tables. */
  get controls(): Pick<ExecutionControls, 'shadowRoot' | 'guestPaging'> {
    const { mode, cr3, pointers } = this.state;
    return { shadowRoot: this.root.offset, guestPaging: mode.paging ? { cr3, pae: mode.pae, pse: mode.pse, pointers } : null };
  }

  get mode(): PagingMode {
    return this.state.mode;
  }

  /** Trace writes to these frames too, whatever is made of them (a deprivileged guest's descriptor tables), and to no others for that reason. */
  watch(transaction: Transaction, frames: ReadonlySet<number>): void {
    const before = this.watched;
    this.watched = frames;
    for (const frame of frames) if (!before.has(frame) && !this.sources.has(frame)) this.changeLeaves(transaction, frame, SHADOW_WRITABLE, SHADOW_TRACED);
    for (const frame of before) if (!this.isTraced(frame)) this.changeLeaves(transaction, frame, SHADOW_TRACED, SHADOW_WRITABLE);
    this.settle(transaction);
  }

  private isTraced(frame: number): boolean {
    return this.sources.has(frame) || this.watched.has(frame);
  }

  /** The page-directory-pointer entries as last loaded. */
  get pointers(): readonly number[] {
    return this.state.pointers;
  }

  /** CR3, a paging bit of CR0 or CR4, or EFER.NXE has changed. The caller puts `controls` into the reply, which flushes the TLB. */
  load(transaction: Transaction, state: GuestPagingState): void {
    const { mode } = this.state;
    const same = mode.paging === state.mode.paging && mode.pae === state.mode.pae && mode.pse === state.mode.pse
      && mode.executeDisable === state.mode.executeDisable && mode.writeProtect === state.mode.writeProtect;
    if (!same) this.dropAll(transaction);
    this.state = state;
    this.makeRoom(transaction);
    const key = keyOf(state);
    const known = this.roots.get(key);
    this.roots.delete(key);
    if (known === undefined) this.root = this.newRoot(transaction, key);
    else this.roots.set(key, this.root = known);
    if (this.roots.size > MAX_ROOTS) this.dropRoot(transaction, this.roots.keys().next().value!);
    this.settle(transaction);
  }

  /**
   * A traced write, which the processor makes once it is answered. Its instruction runs again for that, and may need the very entries that it
   * writes: they are filled from what still stands there (`fault` says `filled-for-now`), and go when the guest leaves behind it.
   */
  letThrough(transaction: Transaction, physical: number, bytes: number): void {
    const { retired } = transaction.exit;
    if (this.underWay.retired !== retired) this.underWay = { retired, ranges: [], filled: false };
    this.underWay.ranges.push({ physical, bytes });
    this.written(transaction, physical, bytes);
  }

  /** To be called at each exit before it is handled. */
  exitBegins(transaction: Transaction): void {
    const { retired, ranges, filled } = this.underWay;
    if (ranges.length === 0 || transaction.exit.retired === retired) return;
    this.underWay = { retired: -1, ranges: [], filled: false };
    if (filled) for (const { physical, bytes } of ranges) this.written(transaction, physical, bytes);
  }

  /**
   * A #PF of the shadow tables. Hidden: filled in, the instruction runs again; `filled-for-now`: and the guest has to leave behind it. True: the
   * guest's own tables forbid the access.
   */
  fault(transaction: Transaction, exit: Exit): 'filled' | 'filled-for-now' | TrueFault {
    const linear = exit.guestLinear;
    const access = accessOf(exit.event!.errorCode ?? 0);
    const page = translateGuest(exit.walk ?? null, this.state.mode, linear, access);
    // The monitor walks the guest's tables: an entry of PAE paging is two words.
    transaction.charge('guest-word', (exit.walk?.entries.length ?? 0) * (this.state.mode.pae ? 2 : 1));
    if (page.kind === 'fault') return page;
    transaction.charge('guest-word', page.marks.length);
    for (const { address, low } of page.marks) transaction.write32('guest', address, low >>> 0);
    this.makeRoom(transaction);
    const kernelForm = access.write && !access.user && !page.rights.writable;
    const rights = kernelForm ? { ...page.rights, writable: true, user: false } : page.rights;
    const directory = this.directory(transaction, linear);
    if (page.large) this.fillBlock(transaction, directory, linear, page, rights);
    else this.fillTable(transaction, directory, linear, page, rights, exit.walk!);
    this.settle(transaction);
    if (this.underWay.ranges.length === 0) return 'filled';
    this.underWay.filled = true;
    return 'filled-for-now';
  }

  /** Guest memory is about to change: a traced write, DMA, or a write of ring -1 itself. Entries made of these bytes go; they are filled anew when used. */
  written(transaction: Transaction, physical: number, bytes: number): void {
    for (let at = physical; at < physical + bytes;) {
      const end = min(physical + bytes, (floor(at / 4096) + 1) * 4096);
      this.writtenInFrame(transaction, floor(at / 4096), at % 4096, end - at);
      at = end;
    }
    this.settle(transaction);
  }

  // ---- Filling --------------------------------------------------------------------------------------------------------------

  private directory(transaction: Transaction, linear: number): ShadowTable {
    const index = linear >>> 30;
    const there = this.root.children.get(index);
    if (there !== undefined) return there;
    const { mode, cr3, pointers } = this.state;
    const frame = !mode.paging ? -1 : mode.pae ? frameOf(pointers[index * 2]!, pointers[index * 2 + 1]!) : cr3 >>> 12;
    const directory = this.derived(transaction, 'directory', frame, mode.pae || !mode.paging ? 0 : index, ALL_RIGHTS);
    // The rights of a page-directory-pointer entry's format do not exist: only P and the address.
    this.link(transaction, this.root, index, directory, SHADOW_PRESENT);
    return directory;
  }

  private fillTable(transaction: Transaction, directory: ShadowTable, linear: number, page: GuestPage, rights: PageRights, walk: GuestWalk): void {
    const index = (linear >>> 21) & 0x1ff;
    const [guestDirectory, guestTable] = walk.entries;
    let table = directory.children.get(index);
    if (table === undefined) {
      table = this.derived(transaction, 'table', frameOf(guestDirectory!.low, guestDirectory!.high), this.state.mode.pae ? 0 : index & 1, page.directoryRights);
      this.link(transaction, directory, index, table, SHADOW_PRESENT | SHADOW_WRITABLE | SHADOW_USER);
    }
    this.setLeaf(transaction, table, (linear >>> 12) & 0x1ff, page.frame, rights, page.dirty);
    this.fillNeighbours(transaction, table, guestTable!.address, walk, page.directoryRights);
  }

  /** The rest of the line of entries, as far as they are settled: what they map costs no fault of its own. */
  private fillNeighbours(transaction: Transaction, table: ShadowTable, filled: number, walk: GuestWalk, directoryRights: PageRights): void {
    const { mode } = this.state;
    const size = mode.pae ? 8 : 4;
    const view = new DataView(walk.line.buffer, walk.line.byteOffset, walk.line.byteLength);
    for (let at = 0; at < walk.line.length; at += size) {
      const address = walk.lineAddress + at;
      const index = floor((address % 4096) / size) & 0x1ff;
      if (address === filled || (table.entries[index * 2]! & SHADOW_PRESENT) !== 0) continue;
      const entry = { low: view.getInt32(at, true), high: mode.pae ? view.getInt32(at + 4, true) : 0 };
      if (isSettled(entry, mode)) this.setLeaf(transaction, table, index, frameOf(entry.low, entry.high), bothRights(directoryRights, rightsOf(entry)), isDirty(entry));
    }
  }

  private fillBlock(transaction: Transaction, directory: ShadowTable, linear: number, page: GuestPage, rights: PageRights): void {
    const index = (linear >>> 21) & 0x1ff;
    const old = directory.children.get(index);
    if (old !== undefined) this.unlink(transaction, directory, index);
    const first = page.frame - ((linear >>> 12) & 0x1ff);
    const block = this.newTable(transaction, 'block', first, 0, rights);
    this.blocks.add(block);
    const words = block.entries;
    for (let n = 0; n < ENTRIES; n++) {
      words[n * 2] = this.leafLow(first + n, rights, page.dirty);
      words[n * 2 + 1] = leafHigh(first + n, rights);
    }
    transaction.charge('page-table-entry', ENTRIES);
    transaction.write('monitor', block.offset, new Uint8Array(words.buffer.slice(0)));
    this.link(transaction, directory, index, block, SHADOW_PRESENT | SHADOW_WRITABLE | SHADOW_USER);
  }

  private leafLow(frame: number, rights: PageRights, dirty: boolean): number {
    const writable = !rights.writable || !dirty ? 0 : this.isTraced(frame) ? SHADOW_TRACED : SHADOW_WRITABLE;
    return ((frame % 0x10_0000) << 12) | SHADOW_PRESENT | writable | (rights.user ? SHADOW_USER : 0);
  }

  private setLeaf(transaction: Transaction, table: ShadowTable, index: number, frame: number, rights: PageRights, dirty: boolean): void {
    this.forgetLeaf(table, index);
    let addresses = this.leaves.get(frame);
    if (addresses === undefined) this.leaves.set(frame, addresses = new Set());
    addresses.add(table.address(index));
    this.setEntry(transaction, table, index, this.leafLow(frame, rights, dirty), leafHigh(frame, rights));
  }

  private setEntry(transaction: Transaction, table: ShadowTable, index: number, low: number, high: number): void {
    table.entries[index * 2] = low;
    table.entries[index * 2 + 1] = high;
    transaction.charge('page-table-entry');
    transaction.write32('monitor', table.address(index), low >>> 0, high >>> 0);
  }

  private forgetLeaf(table: ShadowTable, index: number): void {
    const low = table.entries[index * 2]!;
    if ((low & SHADOW_PRESENT) === 0) return;
    const frame = frameOf(low, table.entries[index * 2 + 1]!);
    const addresses = this.leaves.get(frame);
    addresses?.delete(table.address(index));
    if (addresses?.size === 0) this.leaves.delete(frame);
  }

  // ---- Tables ---------------------------------------------------------------------------------------------------------------

  /** The shadow of (a part of) a guest's table, made if there is none: its frame is traced from then on. */
  private derived(transaction: Transaction, kind: 'directory' | 'table', frame: number, part: number, rights: PageRights): ShadowTable {
    let tables = this.sources.get(frame);
    const known = tables?.find((table) => table.kind === kind && table.part === part && sameRights(table.rights, rights));
    if (known !== undefined) return known;
    const made = this.newTable(transaction, kind, frame, part, rights);
    if (frame < 0) return made; // the identity is made of no frame
    if (tables === undefined) {
      const traced = this.isTraced(frame);
      this.sources.set(frame, tables = []);
      if (!traced) this.changeLeaves(transaction, frame, SHADOW_WRITABLE, SHADOW_TRACED);
    }
    tables.push(made);
    return made;
  }

  private newTable(transaction: Transaction | null, kind: ShadowTableKind, frame: number, part: number, rights: PageRights): ShadowTable {
    const table = new ShadowTable(kind, this.pool.allocate(transaction), frame, part, rights);
    this.tables.set(table.offset, table);
    return table;
  }

  private newRoot(transaction: Transaction | null, key: string): ShadowTable {
    const root = this.newTable(transaction, 'root', -1, 0, ALL_RIGHTS);
    this.roots.set(key, root);
    return root;
  }

  private link(transaction: Transaction, parent: ShadowTable, index: number, child: ShadowTable, bits: number): void {
    const linear = parent.linear === null ? null : parent.linear + index * 2 ** COVER_SHIFT[parent.kind];
    if (child.parents.length === 0) child.linear = linear;
    else if (child.linear !== linear) this.forgetLinear(child);
    child.parents.push({ table: parent, index });
    parent.children.set(index, child);
    this.setEntry(transaction, parent, index, child.offset | bits, 0);
  }

  private forgetLinear(table: ShadowTable): void {
    table.linear = null;
    for (const child of table.children.values()) this.forgetLinear(child);
  }

  private unlink(transaction: Transaction, parent: ShadowTable, index: number): void {
    const child = parent.children.get(index)!;
    parent.children.delete(index);
    child.parents.splice(child.parents.findIndex((link) => link.table === parent && link.index === index), 1);
    this.setEntry(transaction, parent, index, 0, 0);
    this.flushAll = true;
    if (child.kind === 'block' || (child.parents.length === 0 && child.frame < 0)) this.destroy(transaction, child);
  }

  /** Take a table out of use: its page is free again, and its frame traced no longer when it was the last made of it. */
  private destroy(transaction: Transaction, table: ShadowTable): void {
    for (const { table: parent, index } of [...table.parents]) {
      parent.children.delete(index);
      this.setEntry(transaction, parent, index, 0, 0);
      this.flushAll = true;
    }
    table.parents.length = 0;
    for (const index of [...table.children.keys()]) this.unlink(transaction, table, index);
    if (table.kind === 'table') for (let index = 0; index < ENTRIES; index++) this.forgetLeaf(table, index);
    this.blocks.delete(table);
    this.tables.delete(table.offset);
    this.pool.release(table.offset);
    if (!table.derived || table.frame < 0) return;
    const rest = this.sources.get(table.frame)!.filter((other) => other !== table);
    if (rest.length > 0) this.sources.set(table.frame, rest);
    else {
      this.sources.delete(table.frame);
      if (!this.isTraced(table.frame)) this.changeLeaves(transaction, table.frame, SHADOW_TRACED, SHADOW_WRITABLE);
    }
  }

  /** Every leaf that maps `frame` and has the right `from` gets `to` instead. */
  private changeLeaves(transaction: Transaction, frame: number, from: number, to: number): void {
    for (const address of this.leaves.get(frame) ?? []) {
      const table = this.tables.get(address - (address % 4096))!;
      this.changeLeaf(transaction, table, (address - table.offset) / ENTRY_BYTES, from, to);
    }
    for (const block of this.blocks) {
      const index = frame - block.frame;
      if (index >= 0 && index < ENTRIES) this.changeLeaf(transaction, block, index, from, to);
    }
  }

  private changeLeaf(transaction: Transaction, table: ShadowTable, index: number, from: number, to: number): void {
    const low = table.entries[index * 2]!;
    if ((low & LEAF_RIGHTS & from) === 0) return;
    this.setEntry(transaction, table, index, (low & ~from) | to, table.entries[index * 2 + 1]!);
    if (from === SHADOW_WRITABLE) this.flushEntry(table, index);
  }

  // ---- Invalidation -----------------------------------------------------------------------------------------------------------

  private writtenInFrame(transaction: Transaction, frame: number, offset: number, bytes: number): void {
    const tables = this.sources.get(frame);
    if (tables === undefined) return;
    const size = this.state.mode.pae ? 8 : 4;
    for (const table of [...tables]) {
      // What the guest no longer uses is probably no table any more: it costs one exit, not one for each write.
      if (!this.isLive(table)) {
        this.destroy(transaction, table);
        continue;
      }
      for (let entry = floor(offset / size); entry * size < offset + bytes; entry++) this.zapGuestEntry(transaction, table, entry);
    }
  }

  /** Reached from the root that the processor walks now. */
  private isLive(table: ShadowTable): boolean {
    return table === this.root || table.parents.some((link) => this.isLive(link.table));
  }

  /** Guest entry `entry` of the frame that `table` is made of. An entry of a 32-bit directory covers 4 MiB: two of ours. */
  private zapGuestEntry(transaction: Transaction, table: ShadowTable, entry: number): void {
    if (this.state.mode.pae) {
      this.zap(transaction, table, entry);
    } else if (table.kind === 'directory') {
      if (entry >> 8 !== table.part) return;
      this.zap(transaction, table, (entry & 0xff) * 2);
      this.zap(transaction, table, (entry & 0xff) * 2 + 1);
    } else if (entry >> 9 === table.part) {
      this.zap(transaction, table, entry & 0x1ff);
    }
  }

  private zap(transaction: Transaction, table: ShadowTable, index: number): void {
    if ((table.entries[index * 2]! & SHADOW_PRESENT) === 0) return;
    if (table.kind === 'directory') {
      this.unlink(transaction, table, index);
      return;
    }
    this.forgetLeaf(table, index);
    this.setEntry(transaction, table, index, 0, 0);
    this.flushEntry(table, index);
  }

  private flushEntry(table: ShadowTable, index: number): void {
    if (table.linear === null) this.flushAll = true;
    else this.flushes.add((table.linear + index * 4096) >>> 0);
  }

  private settle(transaction: Transaction): void {
    if (this.flushAll || this.flushes.size > MAX_PAGE_FLUSHES) transaction.add({ kind: 'flush', scope: 'all' });
    else for (const linear of this.flushes) transaction.add({ kind: 'flush-page', linear });
    this.flushAll = false;
    this.flushes.clear();
  }

  // ---- Recycling ----------------------------------------------------------------------------------------------------------------

  /** Room for what one fault needs: first tables that nothing leads to go, then the other address spaces, then all. */
  private makeRoom(transaction: Transaction): void {
    if (this.pool.available >= ROOM) return;
    this.dropOrphans(transaction);
    if (this.pool.available >= ROOM) return;
    for (const [key, root] of [...this.roots]) if (root !== this.root) this.dropRoot(transaction, key);
    this.dropOrphans(transaction);
    if (this.pool.available >= ROOM) return;
    for (const index of [...this.root.children.keys()]) this.unlink(transaction, this.root, index);
    this.dropOrphans(transaction);
  }

  private dropOrphans(transaction: Transaction): void {
    for (let dropped = true; dropped;) {
      dropped = false;
      for (const table of [...this.tables.values()]) {
        if (table.kind === 'root' || table.parents.length > 0 || !this.tables.has(table.offset)) continue;
        this.destroy(transaction, table);
        dropped = true;
      }
    }
  }

  private dropRoot(transaction: Transaction, key: string): void {
    const root = this.roots.get(key)!;
    this.roots.delete(key);
    this.destroy(transaction, root);
  }

  /** The mode of paging has changed: nothing made so far means what it did. */
  private dropAll(transaction: Transaction): void {
    for (const key of [...this.roots.keys()]) this.dropRoot(transaction, key);
    this.dropOrphans(transaction);
  }
}

const leafHigh = (frame: number, rights: PageRights): number => floor(frame / 0x10_0000) | (rights.executable ? 0 : SHADOW_EXECUTE_DISABLE);

const sameRights = (one: PageRights, other: PageRights): boolean =>
  one.writable === other.writable && one.user === other.user && one.executable === other.executable;

/** What tells two shadows apart while the mode stays: the tables that the processor would walk. */
function keyOf({ mode, cr3, pointers }: GuestPagingState): string {
  if (!mode.paging) return 'identity';
  return mode.pae ? pointers.join(' ') : String(cr3 >>> 12);
}
