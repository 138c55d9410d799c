import type { Cpu } from './cpu.js';
import { SLOT_META, SLOT_OP, SLOT_WORDS } from './slot-layout.js';
import { revokeWrites, restoreWrites } from './paging.js';

/**
 * Predecoded instructions. A slot is eight words (slots.ts); slots of consecutive instructions lie behind each other, up to one that
 * transfers control or ends the run. Code is found by the page of the VM's memory that holds its bytes (so by space and frame, whatever
 * maps it) and the mode it was decoded in; a run never crosses a page.
 */
/** Operation numbers that the cache itself writes; see slots.ts. */
export const OP_STALE = 1;

/** The first slots are scratch: one copied instruction and the end of its run. */
export const SCRATCH_SLOT = SLOT_WORDS;
const FIRST_SLOT = 8 * SLOT_WORDS;
const MOST_WORDS = 1 << 22;
const JUMPS = 4096;
export const JUMP_MASK = JUMPS - 1;
/** Offset of the user half in `jumps`. */
export const USER_JUMPS = 2 * JUMPS;
const MODES = 16;
/** Most page tables (16 KiB each) before all code is dropped: a guest that executes everywhere must not make its host grow. */
export const MOST_PAGES = 3072;

/** Why a page is watched. */
const PREDECODED = 1;
const TRANSLATED = 2;

/** Write detection is per 32 bytes, so that data beside code costs little. */
const CHUNK_SHIFT = 5;

export class CodeCache {
  slots = new Int32Array(1 << 14);
  top = FIRST_SLOT;
  /** Counts every time all slots were dropped, for who holds a slot number across a decode. */
  generation = 0;
  /** Counts instructions that were made stale, for a REP that may write over itself. */
  forgotten = 0;
  /** Slots by page offset: key is host page × 16 + mode. */
  readonly pages = new Map<number, Int32Array>();
  /** Not 0 for every page of the VM's memory that holds predecoded code (and which 32-byte chunks of it do), or code that was translated. */
  readonly pageFlags: Uint8Array;
  readonly chunks = new Map<number, Uint32Array>();
  /** (EIP, slot) of recent control transfers that leave a run, supervisor half and user half; slot 0 is none. Valid for the present TLB and mode. */
  readonly jumps = new Int32Array(4 * JUMPS);
  jumpsUsed = false;
  /** Likewise of translated code, whose addresses no page table changes. */
  readonly translatedJumps = new Int32Array(2 * JUMPS);

  constructor(pages: number) {
    this.pageFlags = new Uint8Array(pages);
  }

  forgetJumps(): void {
    if (!this.jumpsUsed) return;
    this.jumps.fill(0);
    this.jumpsUsed = false;
  }
}

/** Room for `words` more words of slots; drops all code when the cache is full. */
export function reserveSlots(cpu: Cpu, words: number): void {
  const { code } = cpu;
  if (code.top + words <= code.slots.length) return;
  if (code.slots.length < MOST_WORDS) {
    const larger = new Int32Array(code.slots.length * 2);
    larger.set(code.slots);
    code.slots = larger;
    return;
  }
  dropCode(cpu);
}

export function dropCode(cpu: Cpu): void {
  const { code } = cpu;
  for (const page of code.chunks.keys()) unwatch(cpu, page, PREDECODED);
  code.pages.clear();
  code.chunks.clear();
  code.top = FIRST_SLOT;
  code.generation++;
  code.jumpsUsed = true;
  code.forgetJumps();
  code.translatedJumps.fill(0);
}

/** The slots of one page in one mode. */
export function codePage(cpu: Cpu, hostPage: number, mode: number): Int32Array {
  const { code } = cpu;
  const key = hostPage * MODES + mode;
  let page = code.pages.get(key);
  if (page === undefined) {
    if (code.pages.size >= MOST_PAGES) dropCode(cpu);
    page = new Int32Array(4096);
    code.pages.set(key, page);
  }
  return page;
}

/** Bytes `from` (inclusive) to `to` of a page now stand predecoded. */
export function watchCode(cpu: Cpu, hostPage: number, from: number, to: number): void {
  const { code } = cpu;
  let chunks = code.chunks.get(hostPage);
  if (chunks === undefined) {
    chunks = new Uint32Array(4);
    code.chunks.set(hostPage, chunks);
    watch(cpu, hostPage, PREDECODED);
  }
  for (let chunk = from >>> CHUNK_SHIFT; chunk <= (to - 1) >>> CHUNK_SHIFT; chunk++) chunks[chunk >>> 5]! |= 1 << (chunk & 31);
}

function watch(cpu: Cpu, hostPage: number, why: number): void {
  const { pageFlags } = cpu.code;
  const watched = pageFlags[hostPage] !== 0;
  pageFlags[hostPage]! |= why;
  if (!watched) revokeWrites(cpu, hostPage);
}

function unwatch(cpu: Cpu, hostPage: number, why: number): void {
  const { pageFlags } = cpu.code;
  pageFlags[hostPage]! &= ~why;
  if (pageFlags[hostPage] === 0) restoreWrites(cpu, hostPage);
}

/** Writes to a page are told to whoever keeps the translations made of it (`TranslatedCode.sourceWritten`), until they are not wanted any more. */
export function watchSource(cpu: Cpu, hostPage: number, wanted: boolean): void {
  if (wanted) watch(cpu, hostPage, TRANSLATED);
  else unwatch(cpu, hostPage, TRANSLATED);
}

/** Bytes of a page that may hold code were written: forget instructions made of them. May span pages. */
export function codeWritten(cpu: Cpu, host: number, bytes: number): void {
  const { code } = cpu;
  let at = host;
  let left = bytes;
  while (left > 0) {
    const offset = at & 0xfff;
    const length = left < 4096 - offset ? left : 4096 - offset;
    const hostPage = at >>> 12;
    const flags = code.pageFlags[hostPage]!;
    if ((flags & TRANSLATED) !== 0) cpu.translatedCode?.sourceWritten(cpu, hostPage, offset, offset + length);
    if ((flags & PREDECODED) !== 0) {
      const chunks = code.chunks.get(hostPage)!;
      const last = (offset + length - 1) >>> CHUNK_SHIFT;
      for (let chunk = offset >>> CHUNK_SHIFT; chunk <= last; chunk++) {
        if ((chunks[chunk >>> 5]! & (1 << (chunk & 31))) !== 0) {
          forget(cpu, hostPage, offset, offset + length);
          break;
        }
      }
    }
    at += length;
    left -= length;
  }
}

/** Make stale every slot with a byte in [from, to), and stop watching chunks that hold no instruction any more. */
function forget(cpu: Cpu, hostPage: number, from: number, to: number): void {
  const { code } = cpu;
  const { slots } = code;
  const chunks = code.chunks.get(hostPage)!;
  const firstChunk = from >>> CHUNK_SHIFT;
  const lastChunk = (to - 1) >>> CHUNK_SHIFT;
  for (let chunk = firstChunk; chunk <= lastChunk; chunk++) chunks[chunk >>> 5]! &= ~(1 << (chunk & 31));
  const first = (firstChunk << CHUNK_SHIFT) - 15;
  const end = (lastChunk + 1) << CHUNK_SHIFT;
  for (let mode = 0; mode < MODES; mode++) {
    const page = code.pages.get(hostPage * MODES + mode);
    if (page === undefined) continue;
    for (let offset = first < 0 ? 0 : first; offset < end; offset++) {
      const slot = page[offset]!;
      if (slot === 0) continue;
      const length = slotLength(slots, slot);
      if (offset < to && offset + length > from) {
        slots[slot + SLOT_OP] = OP_STALE;
        page[offset] = 0;
        code.forgotten++;
      } else {
        for (let chunk = offset >>> CHUNK_SHIFT; chunk <= (offset + length - 1) >>> CHUNK_SHIFT; chunk++) {
          if (chunk >= firstChunk && chunk <= lastChunk) chunks[chunk >>> 5]! |= 1 << (chunk & 31);
        }
      }
    }
  }
  if ((chunks[0]! | chunks[1]! | chunks[2]! | chunks[3]!) === 0) {
    code.chunks.delete(hostPage);
    for (let mode = 0; mode < MODES; mode++) code.pages.delete(hostPage * MODES + mode);
    unwatch(cpu, hostPage, PREDECODED);
  }
}

/** Instruction length in bytes, from a slot's last word (layout: slots.ts). */
function slotLength(slots: Int32Array, slot: number): number {
  return (slots[slot + SLOT_META]! >>> 8) & 15;
}
