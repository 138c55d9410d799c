import type { PageRights } from './guest-translation.js';

/** Entries of a table; a root uses four. */
export const ENTRIES = 512;
export const ENTRY_BYTES = 8;

/**
 * - `root`: the page-directory-pointer table of one value of CR3.
 * - `directory`, `table`: what ring -1 has made of a guest's page directory or page table, or of a part of it: a table of 32-bit
 *   paging has 1,024 entries, so that its directory takes four of these and its page table two.
 * - `block`: 2 MiB of a large page (or of the identity, while the guest's paging is off), shattered into pages.
 */
export type ShadowTableKind = 'root' | 'directory' | 'table' | 'block';

/** One page of shadow entries in monitor space, with its mirror here. */
export class ShadowTable {
  /** Words, low before high: what stands in monitor space. Nobody else writes there. */
  readonly entries = new Int32Array(ENTRIES * 2);
  /** Tables that the entries lead to, by index. */
  readonly children = new Map<number, ShadowTable>();
  /** Entries that lead here. */
  readonly parents: { readonly table: ShadowTable; readonly index: number }[] = [];
  /** Linear address that entry 0 translates, or null once the table is used at several. */
  linear: number | null = 0;

  /**
   * @param offset in monitor space
   * @param frame the guest's frame that it is made of; of a block, the first frame mapped; of a root, -1
   * @param part which part of that frame (0 unless 32-bit paging)
   * @param rights of a table: what the directory entries allow that lead to it; of a block: what the large page allows
   */
  constructor(readonly kind: ShadowTableKind, readonly offset: number, readonly frame: number, readonly part: number, readonly rights: PageRights) {}

  address(index: number): number {
    return this.offset + index * ENTRY_BYTES;
  }

  /** A table that a guest's writes can change: its frame is write-traced. */
  get derived(): boolean {
    return this.kind === 'directory' || this.kind === 'table';
  }
}

/** Bytes that one entry of each kind of table covers, as a shift. */
export const COVER_SHIFT: Readonly<Record<ShadowTableKind, number>> = { root: 30, directory: 21, table: 12, block: 12 };
