import { codePage, JUMP_MASK, OP_STALE, reserveSlots, SCRATCH_SLOT, USER_JUMPS, watchCode } from './code-cache.js';
import type { Cpu } from './cpu.js';
import { decode, MORE } from './decoder.js';
import { GP, raise } from './fault.js';
import { OP_END } from './hot-forms.js';
import { MODE_FLAT_CODE } from './mode.js';
import { isRunEnd } from './operations.js';
import { EXECUTE, translate } from './paging.js';
import { SLOT_IMMEDIATE, SLOT_META, SLOT_OP, SLOT_WORDS } from './slot-layout.js';
import { CS, CS_SPACE, SEGMENTS, SEGMENT_BASE, SEGMENT_LIMIT, SEGMENT_WORDS } from './state.js';
import { findTranslatedSlot } from './translated-code.js';

/** From EIP to the slot of its instruction: fetch, decode, and remember. */

/** Longest run of slots, so that a small budget never has to step through many instructions one by one. */
const LONGEST_RUN = 48;
/** Page-table word of `codePage`: an instruction that crosses into the next page, which is decoded anew each time. */
const CROSSES = -1;

/** Bytes of an instruction that lies in two pages, or where there is no RAM. */
const straddling = new Uint8Array(32);

/** Slot of the instruction at `eip`. Raises the fetch's #GP or #PF. A slot below `FIRST_SLOT` is scratch: good for one execution. */
export function findSlot(cpu: Cpu, eip: number): number {
  if (cpu.i32[CS_SPACE] !== 0) return findTranslatedSlot(cpu, eip);
  const cs = SEGMENTS + CS * SEGMENT_WORDS;
  const limit = cpu.i32[cs + SEGMENT_LIMIT]! >>> 0;
  if (eip >>> 0 > limit) raise(cpu, GP, 0);
  const linear = (cpu.i32[cs + SEGMENT_BASE]! + eip) | 0;
  const host = translate(cpu, linear, EXECUTE, cpu.user !== 0);
  const offset = linear & 0xfff;
  if (host < 0) {
    cpu.strayReads++;
    straddling.fill(0xff);
    return tryDecode(cpu, straddling, 15, offset);
  }
  const page = codePage(cpu, host >>> 12, cpu.mode);
  let slot = page[offset]!;
  if (slot === 0) {
    // Bytes that may be read: to the end of the page, or of the segment.
    const inPage = 4096 - offset;
    const inSegment = limit - (eip >>> 0) + 1;
    const bytes = inSegment < inPage ? inSegment : inPage;
    // Runs are kept only where the whole page is inside the segment, so that no later instruction needs a limit check.
    if ((cpu.mode & MODE_FLAT_CODE) !== 0 || ((eip >>> 0) - offset >= 0 && (eip >>> 0) - offset + 4095 <= limit)) {
      slot = decodeRun(cpu, page, host, offset);
    } else return straddle(cpu, linear, host, bytes, inSegment, offset);
    if (slot === CROSSES) page[offset] = CROSSES;
  }
  if (slot === CROSSES) return straddle(cpu, linear, host, 4096 - offset, limit - (eip >>> 0) + 1, offset);
  // A transfer that is remembered spares its translation.
  if (cpu.staleWatch !== null) return slot;
  const { jumps } = cpu.code;
  const entry = (cpu.user !== 0 ? USER_JUMPS : 0) + ((eip ^ (eip >>> 10)) & JUMP_MASK) * 2;
  jumps[entry] = eip;
  jumps[entry + 1] = slot;
  cpu.code.jumpsUsed = true;
  return slot;
}

/** Decode from `offset` to the first control transfer, the page's end, or code that is already there. */
function decodeRun(cpu: Cpu, page: Int32Array, host: number, offset: number): number {
  reserveSlots(cpu, (LONGEST_RUN + 1) * SLOT_WORDS);
  const { code } = cpu;
  if (code.pages.get((host >>> 12) * 16 + cpu.mode) !== page) page = codePage(cpu, host >>> 12, cpu.mode); // the cache was full and was dropped
  const { slots } = code;
  const first = code.top;
  const pageEnd = (host | 0xfff) + 1;
  let slot = first;
  let at = host;
  let next = offset;
  let open = true;
  for (let count = 0; count < LONGEST_RUN && open && next < 4096; count++) {
    if (count > 0 && page[next]! > 0) break;
    const length = decode(cpu, cpu.u8, at, pageEnd, slot, next, cpu.mode);
    if (length === MORE) break;
    page[next] = slot;
    open = !isRunEnd(slots[slot + SLOT_OP]!);
    slot += SLOT_WORDS;
    at += length;
    next += length;
  }
  if (slot === first) return CROSSES;
  let left = 0;
  for (let back = slot - SLOT_WORDS; back >= first; back -= SLOT_WORDS) slots[back + SLOT_META]! |= ++left;
  if (open) {
    endRun(slots, slot, next);
    slot += SLOT_WORDS;
  }
  code.top = slot;
  watchCode(cpu, host >>> 12, offset, next);
  return first;
}

/** The slot behind a run that just goes on: not an instruction, it counts nothing. */
export function endRun(slots: Int32Array, slot: number, next: number): void {
  slots.fill(0, slot, slot + SLOT_WORDS);
  slots[slot + SLOT_OP] = OP_END;
  slots[slot + SLOT_IMMEDIATE] = next;
}

/** An instruction that begins at the end of a page (or of the segment): fetched and decoded each time, into scratch. */
function straddle(cpu: Cpu, linear: number, host: number, inPage: number, inSegment: number, offset: number): number {
  let bytes = inPage < 15 ? inPage : 15;
  straddling.set(cpu.u8.subarray(host, host + bytes));
  let slot = tryDecode(cpu, straddling, bytes, offset);
  if (slot !== MORE) return slot;
  // It needs bytes beyond: the segment's end is #GP, the next page may be a page fault there.
  if (bytes >= inSegment) raise(cpu, GP, 0);
  const next = (linear + inPage) | 0;
  const nextHost = translate(cpu, next, EXECUTE, cpu.user !== 0);
  const total = inSegment < 15 ? inSegment : 15;
  for (; bytes < total; bytes++) straddling[bytes] = nextHost < 0 ? 0xff : cpu.u8[nextHost + bytes - inPage]!;
  if (nextHost < 0) cpu.strayReads++;
  slot = tryDecode(cpu, straddling, total, offset);
  if (slot === MORE) raise(cpu, GP, 0);
  return slot;
}

const SECOND_SCRATCH = SCRATCH_SLOT + 3 * SLOT_WORDS;

function tryDecode(cpu: Cpu, bytes: Uint8Array, length: number, offset: number): number {
  const size = decode(cpu, bytes, 0, length, SECOND_SCRATCH, offset, cpu.mode);
  if (size === MORE) return MORE;
  const { slots } = cpu.code;
  slots[SECOND_SCRATCH + SLOT_META]! |= 1;
  endRun(slots, SECOND_SCRATCH + SLOT_WORDS, offset + size);
  return SECOND_SCRATCH;
}

/** Copy one instruction to scratch, alone, so that exactly one is executed. Of translated code, one that may not count (translated-code.ts). */
export function isolate(slots: Int32Array, slot: number, translated: boolean): number {
  slots.copyWithin(SCRATCH_SLOT, slot, slot + SLOT_WORDS);
  const meta = slots[slot + SLOT_META]!;
  if (slots[slot + SLOT_OP] === OP_STALE || slots[slot + SLOT_OP] === OP_END) return slot;
  const counts = !translated || ((meta - slots[slot + SLOT_WORDS + SLOT_META]!) & 0xff) !== 0;
  slots[SCRATCH_SLOT + SLOT_META] = (meta & 0x0fffff00) | (counts ? 1 : 1 << 28);
  endRun(slots, SCRATCH_SLOT + SLOT_WORDS, ((meta >>> 12) & 0xfff) + ((meta >>> 8) & 15));
  return SCRATCH_SLOT;
}
