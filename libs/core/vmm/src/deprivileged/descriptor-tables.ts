import type { BusAccess } from '@ringside/x86';
import { PAGE_BYTES } from '../monitor-space.js';
import type { DeprivilegedExit } from './deprivileged-exit.js';
import { FIRST_MONITOR_ENTRY } from './deprivileged-machine.js';
import { compressed } from './ring-compression.js';
import type { VirtualSystemSegment, VirtualTable } from './virtual-cpu.js';

const { floor, max, min } = Math;
const UNUSABLE = 0x1_0000;
const DESCRIPTOR_BYTES = 8;
/** A selector's index has 13 bits. */
const MOST_ENTRIES = 8192;

/**
 * The guest's GDT or LDT has been loaded: copy it, compressed, to where the processor looks, and trace the frames it lies in. Of pages that are not mapped, or whose accessed bit is not
 * set, the processor finds no descriptor: the first load from there comes to ring -1, and sets that bit as it would natively.
 */
export async function loadTable(exit: DeprivilegedExit, table: 'gdt' | 'ldt'): Promise<void> {
  const { machine, transaction, memory, vcpu } = exit;
  const { base, limit } = table === 'gdt' ? vcpu.gdtr : vcpu.ldtr;
  const none = table === 'ldt' && (vcpu.ldtr.rights & UNUSABLE) !== 0;
  const entries = none ? 0 : min(floor((limit + 1) / DESCRIPTOR_BYTES), MOST_ENTRIES);
  const before = table === 'gdt' ? machine.gdtEntries : machine.ldtEntries;
  machine.unread.delete(table);
  for (const [frame, uses] of machine.tableFrames) {
    const rest = uses.filter((use) => use.table !== table);
    if (rest.length > 0) machine.tableFrames.set(frame, rest);
    else machine.tableFrames.delete(frame);
  }
  const bytes = new Uint8Array(entries * DESCRIPTOR_BYTES);
  const holes: { from: number; to: number }[] = [];
  for (let at = 0; at < bytes.length;) {
    const linear = (base + at) >>> 0;
    const count = min(bytes.length - at, PAGE_BYTES - (linear % PAGE_BYTES));
    const there = await memory.peek(linear, count);
    if (there === null) holes.push({ from: at, to: at + count });
    else {
      bytes.set(there.bytes, at);
      const frame = floor(there.physical / PAGE_BYTES);
      machine.tableFrames.set(frame, [...machine.tableFrames.get(frame) ?? [], { table, offset: at - (there.physical % PAGE_BYTES) }]);
    }
    at += count;
  }
  if (holes.length > 0) machine.unread.add(table);
  for (let index = 0; index < entries; index++) {
    const at = index * DESCRIPTOR_BYTES;
    setEntry(exit, table, index, holes.some(({ from, to }) => at < to && at + DESCRIPTOR_BYTES > from) ? null : bytes.subarray(at, at + DESCRIPTOR_BYTES));
  }
  for (let index = entries; index < before; index++) setEntry(exit, table, index, null);
  if (table === 'gdt') machine.gdtEntries = entries;
  else machine.ldtEntries = entries;
  machine.shadow.watch(transaction, new Set(machine.tableFrames.keys()));
}

/** A descriptor has been read where it stands: pages of the tables that were not mapped, or not accessed, when they were loaded may be now. */
export async function readOnward(exit: DeprivilegedExit): Promise<void> {
  for (const table of [...exit.machine.unread]) await loadTable(exit, table);
}

function setEntry({ machine, transaction }: DeprivilegedExit, table: 'gdt' | 'ldt', index: number, bytes: Uint8Array | null): void {
  const view = bytes === null ? null : new DataView(bytes.buffer, bytes.byteOffset);
  const words = view === null || (table === 'gdt' && index === 0) ? { low: 0, high: 0 } : compressed({ low: view.getUint32(0, true), high: view.getUint32(4, true) });
  if (machine.tables.holds(table, index, words)) return;
  if (table === 'ldt') machine.tables.setLdtEntry(transaction, index, words);
  else if (index < FIRST_MONITOR_ENTRY) machine.tables.setGdtEntry(transaction, index, words);
}

/** A traced write of the guest to a descriptor table: the entries it touches, as they will be. */
export function tableWritten(exit: DeprivilegedExit, access: BusAccess): Promise<void> {
  return tableChanged(exit, access.address, access.size * access.count, access.data);
}

/** `data`: what the bytes will be; null if the transaction has them already. */
async function tableChanged(exit: DeprivilegedExit, address: number, bytes: number, data: Uint8Array | null): Promise<void> {
  const { machine, transaction } = exit;
  const inPage = address % PAGE_BYTES;
  for (const { table, offset } of machine.tableFrames.get(floor(address / PAGE_BYTES)) ?? []) {
    const entries = table === 'gdt' ? machine.gdtEntries : machine.ldtEntries;
    const first = floor((offset + inPage) / DESCRIPTOR_BYTES);
    const last = floor((offset + inPage + bytes - 1) / DESCRIPTOR_BYTES);
    for (let index = max(first, 0); index <= last && index < entries; index++) {
      const inFrame = index * DESCRIPTOR_BYTES - offset;
      if (inFrame < 0 || inFrame + DESCRIPTOR_BYTES > PAGE_BYTES) {
        // Of a table that is not aligned: the descriptor lies in two pages.
        setEntry(exit, table, index, null);
        machine.unread.add(table);
        continue;
      }
      const physical = address - inPage + inFrame;
      const words = (await transaction.read('guest', physical, DESCRIPTOR_BYTES)).slice();
      for (let n = 0; data !== null && n < DESCRIPTOR_BYTES; n++) {
        const written = data[physical + n - address];
        if (written !== undefined) words[n] = written;
      }
      setEntry(exit, table, index, words);
    }
  }
}

/** The guest's GDTR or LDTR is another now. */
export async function changeTable(exit: DeprivilegedExit, table: 'gdt', to: VirtualTable): Promise<void>;
export async function changeTable(exit: DeprivilegedExit, table: 'ldt', to: VirtualSystemSegment): Promise<void>;
export async function changeTable(exit: DeprivilegedExit, table: 'gdt' | 'ldt', to: VirtualTable | VirtualSystemSegment): Promise<void> {
  const { vcpu, machine, transaction } = exit;
  if (table === 'gdt') vcpu.gdtr = to;
  else vcpu.ldtr = to as VirtualSystemSegment;
  await loadTable(exit, table);
  if (table === 'ldt') machine.tables.setLdtr(transaction, machine.ldtEntries);
}

/** A write of ring -1 itself to guest memory (physical): page tables and descriptor tables that lie there follow. */
export async function writeGuest(exit: DeprivilegedExit, address: number, bytes: Uint8Array): Promise<void> {
  exit.machine.shadow.written(exit.transaction, address, bytes.length);
  exit.transaction.write('guest', address, bytes);
  await tableChanged(exit, address, bytes.length, null);
}
