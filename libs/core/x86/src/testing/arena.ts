import { Random } from './random.js';

/**
 * The memory in which every oracle case runs: 26 pages at one physical address, the same on our processor and in QEMU,
 * so that page tables, descriptors and stacks are the same bytes on both.
 *
 * | page  | offset  | holds |
 * |-------|---------|-------|
 * | 0     | 0x00000 | GDT (128 entries), LDT at 0x400 (16 entries), IDT at 0x800 (256 gates) |
 * | 1     | 0x01000 | the case's TSS with its I/O bitmap; a second TSS at 0x400 |
 * | 2–5   | 0x02000 | two-level paging: directory, tables of arena, code window, data window |
 * | 6–10  | 0x06000 | PAE: page-directory-pointer table, directory, the three tables |
 * | 11    | 0x0b000 | the runner's capture TSSs (QEMU only; never compared) |
 * | 12–15 | 0x0c000 | spare page tables for a case's own use |
 * | 16–17 | 0x10000 | code window |
 * | 18–21 | 0x12000 | data window; its last page is mapped read-only |
 * | 22–24 | 0x16000 | stacks of rings 0, 1 and 2 |
 * | 25    | 0x19000 | landing code: INT3 in every byte |
 */
export const ARENA_BASE = 0x40_0000;
export const ARENA_PAGES = 26;
export const ARENA_BYTES = ARENA_PAGES * 0x1000;

/** Offsets in the arena. */
export const GDT = 0, LDT = 0x400, IDT = 0x800, TSS = 0x1000, TSS2 = 0x1400;
export const PAGE_DIRECTORY = 0x2000, ARENA_TABLE = 0x3000, CODE_TABLE = 0x4000, DATA_TABLE = 0x5000;
export const PDPT = 0x6000, PAE_DIRECTORY = 0x7000, PAE_ARENA_TABLE = 0x8000, PAE_CODE_TABLE = 0x9000, PAE_DATA_TABLE = 0xa000;
export const CAPTURE = 0xb000, RUNNER_TSS = 0xbd00, SPARE = 0xc000, CODE = 0x1_0000, DATA = 0x1_2000, STACK0 = 0x1_6000, STACK1 = 0x1_7000, STACK2 = 0x1_8000, LANDING = 0x1_9000;

/** Linear addresses of the windows when paging is on; the arena itself is mapped one to one. */
export const CODE_LINEAR = 0x2000_0000, DATA_LINEAR = 0x3000_0000;
export const CODE_BYTES = 0x2000, DATA_BYTES = 0x4000, DATA_WRITABLE = 0x3000;

/** Selectors of the template GDT. User code and data stand where a 32-bit Linux process finds them, so that the host agrees. */
export const CODE0 = 0x08, DATA0 = 0x10, TSS_SELECTOR = 0x18, CODE3 = 0x23, DATA3 = 0x2b, CODE1 = 0x31, DATA1 = 0x39, CODE2 = 0x42, DATA2 = 0x4a, LDT_SELECTOR = 0x50,
  RUNNER_TSS_SELECTOR = 0x58, TSS2_SELECTOR = 0x60;
/** First of the GDT entries (to 0x1f8) which a case fills as it likes. */
export const FREE_SELECTOR = 0x80;
/** Capture task of exception 0; each further vector 8 more. */
export const CAPTURE_SELECTOR = 0x200;
export const CODE_SELECTORS = [CODE0, CODE1, CODE2, CODE3] as const;
export const DATA_SELECTORS = [DATA0, DATA1, DATA2, DATA3] as const;
/** Limit of the template's TSS: 104 bytes, a bitmap for ports 0–0x3ff, and the byte of ones behind it. */
export const TSS_LIMIT = 0x68 + 0x80;

/** A segment descriptor: SDM Vol. 3A 3.4.5. `type` holds bits 0–4 (S included), `flags` bits AVL, L, D/B, G. */
export function descriptor(base: number, limit: number, type: number, dpl: number, present: boolean, flags: number): Uint8Array {
  return Uint8Array.of(
    limit, limit >>> 8, base, base >>> 8, base >>> 16,
    type | (dpl << 5) | (present ? 0x80 : 0), ((limit >>> 16) & 0xf) | (flags << 4), base >>> 24);
}

/** A call, interrupt, trap or task gate: SDM Vol. 3A 5.8.3, 6.11. */
export function gate(selector: number, offset: number, type: number, dpl: number, present: boolean, parameters = 0): Uint8Array {
  return Uint8Array.of(
    offset, offset >>> 8, selector, selector >>> 8, parameters,
    type | (dpl << 5) | (present ? 0x80 : 0), offset >>> 16, offset >>> 24);
}

function put32(image: Uint8Array, offset: number, value: number): void {
  image[offset] = value;
  image[offset + 1] = value >>> 8;
  image[offset + 2] = value >>> 16;
  image[offset + 3] = value >>> 24;
}

/** Fills the tables of both paging modes. Entries are present, writable, user, accessed and dirty (0x67); read-only is 0x65. */
function fillPageTables(image: Uint8Array): void {
  const tables: [directoryIndex: number, paeIndex: number, table: number, paeTable: number, firstPage: number, pages: number][] = [
    [1, 2, ARENA_TABLE, PAE_ARENA_TABLE, 0, ARENA_PAGES],
    [0x80, 0x100, CODE_TABLE, PAE_CODE_TABLE, CODE / 0x1000, 2],
    [0xc0, 0x180, DATA_TABLE, PAE_DATA_TABLE, DATA / 0x1000, 4],
  ];
  for (const [directoryIndex, paeIndex, table, paeTable, firstPage, pages] of tables) {
    put32(image, PAGE_DIRECTORY + directoryIndex * 4, ARENA_BASE + table + 0x67);
    put32(image, PAE_DIRECTORY + paeIndex * 8, ARENA_BASE + paeTable + 0x67);
    for (let page = 0; page < pages; page++) {
      const frame = ARENA_BASE + (firstPage + page) * 0x1000;
      const rights = table === DATA_TABLE && page === 3 ? 0x65 : 0x67;
      put32(image, table + page * 4, frame + rights);
      put32(image, paeTable + page * 8, frame + rights);
    }
  }
  put32(image, PDPT, ARENA_BASE + PAE_DIRECTORY + 1);
}

/** The arena before a case has patched it. */
export function createArena(): Uint8Array {
  const image = new Uint8Array(ARENA_BYTES);
  const setGdt = (selector: number, bytes: Uint8Array): void => image.set(bytes, GDT + (selector & ~7));
  for (let ring = 0; ring < 4; ring++) {
    setGdt(CODE_SELECTORS[ring] as number, descriptor(0, 0xf_ffff, 0x1b, ring, true, 0xc));
    setGdt(DATA_SELECTORS[ring] as number, descriptor(0, 0xf_ffff, 0x13, ring, true, 0xc));
  }
  setGdt(TSS_SELECTOR, descriptor(ARENA_BASE + TSS, TSS_LIMIT, 0x0b, 0, true, 0));
  setGdt(TSS2_SELECTOR, descriptor(ARENA_BASE + TSS2, 0x67, 0x09, 0, true, 0));
  setGdt(RUNNER_TSS_SELECTOR, descriptor(ARENA_BASE + RUNNER_TSS, 0x67, 0x09, 0, true, 0));
  setGdt(LDT_SELECTOR, descriptor(ARENA_BASE + LDT, 0x7f, 0x02, 0, true, 0));
  for (let vector = 0; vector < 32; vector++) {
    const selector = CAPTURE_SELECTOR + vector * 8;
    setGdt(selector, descriptor(ARENA_BASE + CAPTURE + vector * 0x68, 0x67, 0x09, 0, true, 0));
    // As Linux has them: INT n of ring 3 reaches only the gates of INT3 and INTO.
    image.set(gate(selector, 0, 0x05, vector === 3 || vector === 4 ? 3 : 0, true), IDT + vector * 8);
  }
  // Ring stacks and an I/O bitmap that denies everything.
  for (const tss of [TSS, TSS2]) {
    put32(image, tss + 4, ARENA_BASE + STACK0 + 0xff0);
    put32(image, tss + 8, DATA0);
    put32(image, tss + 12, ARENA_BASE + STACK1 + 0xff0);
    put32(image, tss + 16, DATA1);
    put32(image, tss + 20, ARENA_BASE + STACK2 + 0xff0);
    put32(image, tss + 24, DATA2);
    put32(image, tss + 0x60, LDT_SELECTOR);
    put32(image, tss + 0x64, 0x68_0000);
  }
  image.fill(0xff, TSS + 0x68, TSS + TSS_LIMIT + 1);
  fillPageTables(image);
  image.fill(0xcc, CODE, CODE + CODE_BYTES);
  image.fill(0xcc, LANDING, LANDING + 0x1000);
  const random = new Random(0x5eed);
  for (let offset = DATA; offset < DATA + DATA_BYTES; offset += 4) put32(image, offset, random.operand());
  return image;
}

/**
 * Offsets that the launch and the capture of a case write by themselves, so that they are never compared: the saved registers of
 * the two TSSs, busy bits of TSS descriptors, and the capture TSSs.
 */
export function isIncidental(offset: number): boolean {
  if (offset >= CAPTURE && offset < CAPTURE + 0x1000) return true;
  const inTss = offset >= TSS2 ? offset - TSS2 : offset - TSS;
  if ((inTss >= 0 && inTss < 4) || (inTss >= 0x1c && inTss < 0x60)) return true;
  if (offset === GDT + TSS_SELECTOR + 5 || offset === GDT + RUNNER_TSS_SELECTOR + 5) return true;
  return offset >= GDT + CAPTURE_SELECTOR && offset < GDT + CAPTURE_SELECTOR + 0x100;
}
