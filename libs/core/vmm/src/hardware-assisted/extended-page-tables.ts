import { PAGE_BYTES, type MonitorSpace } from '../monitor-space.js';
import type { Transaction } from '../transaction.js';

const { floor } = Math;

/** EPT entry (SDM Vol. 3C 29.3.2): bits 0–2 read, write, execute; 3–5 memory type (6: write-back); bit 7: maps a page. */
const EPT_READ_WRITE_EXECUTE = 0x7;
const EPT_WRITE_BACK = 6 << 3;
const EPT_LEAF = 1 << 7;

const LARGE_PAGE_BYTES = 0x20_0000;
const ENTRY_BYTES = 8;
/** What one page directory covers; guest-physical addresses have at most 36 bits, so there are at most 64 of them and one PML4 entry. */
const DIRECTORY_BYTES = 2 ** 30;
const MAX_DIRECTORIES = 64;

/**
 * Nested page tables in monitor space, from guest-physical to the VM's RAM (an identity: RAM is one block). They begin
 * empty and are filled as the guest first touches memory, 2 MiB at a time, 4 KiB where RAM ends inside 2 MiB.
 */
export class ExtendedPageTables {
  /** Byte offset of the PML4 table in monitor space. */
  readonly root: number;
  /** Tables by what they cover: level and number at that level. */
  private readonly tables = new Map<string, number>();

  constructor(private readonly space: MonitorSpace, private readonly ramBytes: number) {
    this.root = space.allocate();
  }

  /** The most pages that the tables can take: root, PDPT, page directories, and one page table for where RAM ends. */
  static readonly MAX_PAGES = 2 + MAX_DIRECTORIES + 1;

  isRam(guestPhysical: number): boolean {
    return guestPhysical < this.ramBytes;
  }

  /** Map the page that holds `guestPhysical` to itself. Nothing was there, so nothing has to be flushed. */
  map(transaction: Transaction, guestPhysical: number): void {
    const pdpt = this.table(transaction, 'pdpt', 0, this.root);
    const gib = floor(guestPhysical / DIRECTORY_BYTES);
    const directory = this.table(transaction, 'directory', gib, pdpt + gib * ENTRY_BYTES);
    const large = floor(guestPhysical / LARGE_PAGE_BYTES);
    const directoryEntry = directory + (large % 512) * ENTRY_BYTES;
    const begin = large * LARGE_PAGE_BYTES;
    if (begin + LARGE_PAGE_BYTES <= this.ramBytes || begin >= this.ramBytes) {
      writeEntry(transaction, directoryEntry, begin, EPT_READ_WRITE_EXECUTE | EPT_WRITE_BACK | EPT_LEAF);
      return;
    }
    const table = this.table(transaction, 'table', large, directoryEntry);
    const page = floor(guestPhysical / PAGE_BYTES);
    writeEntry(transaction, table + (page % 512) * ENTRY_BYTES, page * PAGE_BYTES, EPT_READ_WRITE_EXECUTE | EPT_WRITE_BACK);
  }

  /** The table that the entry at `entry` leads to, made and linked when it is not there. */
  private table(transaction: Transaction, level: string, number: number, entry: number): number {
    const key = `${level} ${number}`;
    let offset = this.tables.get(key);
    if (offset === undefined) {
      this.tables.set(key, offset = this.space.allocate());
      writeEntry(transaction, entry, offset, EPT_READ_WRITE_EXECUTE);
    }
    return offset;
  }
}

function writeEntry(transaction: Transaction, at: number, address: number, bits: number): void {
  transaction.charge('page-table-entry');
  transaction.write32('monitor', at, (address | bits) >>> 0, floor(address / 0x1_0000_0000));
}
