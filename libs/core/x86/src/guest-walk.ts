import type { Cpu } from './cpu.js';
import type { GuestPaging } from './execution-controls.js';
import { frameOffset } from './paging.js';
import type { GuestWalk, WalkedEntry } from './step.js';

const { floor } = Math;

const PRESENT = 1, LARGE = 0x80;
const LINE_BYTES = 64;
const NO_BYTES = new Uint8Array(0);

/** A word of guest memory; all ones where no RAM is, as a walk on the bus would read. */
function word(cpu: Cpu, physical: number): number {
  const host = frameOffset(cpu, floor(physical / 4096));
  return host < 0 ? -1 : cpu.i32[(host + (physical % 4096)) >> 2]!;
}

const frameOf = (low: number, high: number): number => (low >>> 12) + (high & 0xf) * 0x100000;

/** What the guest's tables say about `linear`: entries from the directory down, no checks, nothing changed. The address of an entry follows from the one before it. */
function walkEntries(cpu: Cpu, paging: GuestPaging, linear: number): WalkedEntry[] {
  const entries: WalkedEntry[] = [];
  if (!paging.pae) {
    const address = ((paging.cr3 & 0xfffff000) >>> 0) + ((linear >>> 22) << 2);
    const low = word(cpu, address);
    entries.push({ address, low, high: 0 });
    if ((low & PRESENT) === 0 || ((low & LARGE) !== 0 && paging.pse)) return entries;
    const table = ((low & 0xfffff000) >>> 0) + ((linear >>> 10) & 0xffc);
    entries.push({ address: table, low: word(cpu, table), high: 0 });
    return entries;
  }
  const pointer = (linear >>> 30) * 2;
  if ((paging.pointers[pointer]! & PRESENT) === 0) return entries;
  const address = frameOf(paging.pointers[pointer]!, paging.pointers[pointer + 1]!) * 4096 + ((linear >>> 18) & 0xff8);
  const low = word(cpu, address);
  const high = word(cpu, address + 4);
  entries.push({ address, low, high });
  if ((low & PRESENT) === 0 || (low & LARGE) !== 0) return entries;
  const table = frameOf(low, high) * 4096 + ((linear >>> 9) & 0xff8);
  entries.push({ address: table, low: word(cpu, table), high: word(cpu, table + 4) });
  return entries;
}

export function walkGuest(cpu: Cpu, paging: GuestPaging, linear: number): GuestWalk {
  const entries = walkEntries(cpu, paging, linear);
  const last = entries.at(-1);
  if (last === undefined) return { entries, lineAddress: 0, line: NO_BYTES };
  return lineAround(cpu, entries, last.address - (last.address % LINE_BYTES), LINE_BYTES);
}

/** For MOV to CR3 under PAE: the page-directory-pointer table that the value names. */
export function walkPointers(cpu: Cpu, cr3: number): GuestWalk {
  return lineAround(cpu, [], (cr3 & ~0x1f) >>> 0, 32);
}

function lineAround(cpu: Cpu, entries: WalkedEntry[], lineAddress: number, bytes: number): GuestWalk {
  const host = frameOffset(cpu, floor(lineAddress / 4096));
  const line = host < 0 ? new Uint8Array(bytes).fill(0xff) : cpu.u8.slice(host + (lineAddress % 4096), host + (lineAddress % 4096) + bytes);
  return { entries, lineAddress, line };
}

/** Frame that the guest's tables give `linear` (paging off: its own), or -1: a reader's view, as supervisor, without effects. */
export function guestFrame(cpu: Cpu, paging: GuestPaging | null, linear: number): number {
  if (paging === null) return linear >>> 12;
  const entries = walkEntries(cpu, paging, linear);
  const last = entries.at(-1);
  if (last === undefined || entries.some(({ low }) => (low & PRESENT) === 0)) return -1;
  if (entries.length === 2) return frameOf(last.low, last.high);
  if (paging.pae) return frameOf(last.low, last.high) + ((linear >>> 12) & 0x1ff);
  return ((last.low >>> 22) << 10) + ((linear >>> 12) & 0x3ff) + ((last.low >>> 13) & 0xff) * 0x100000;
}
