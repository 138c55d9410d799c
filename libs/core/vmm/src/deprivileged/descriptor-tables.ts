import type { BusAccess } from '@ringside/x86';
import { PAGE_BYTES } from '../monitor-space.js';
import type { DeprivilegedExit } from './deprivileged-exit.js';
import { compressed, generalProtection } from './deprivileged-exit.js';
import { FIRST_MONITOR_ENTRY } from './deprivileged-machine.js';
import { GuestException } from './linear-memory.js';
import { DESCRIPTOR_PRESENT, DESCRIPTOR_TYPE, DESCRIPTOR_S } from './segment-descriptor.js';

const { floor, min } = Math;
const LDT_TYPE = 2, TSS32_AVAILABLE = 9, TSS16_AVAILABLE = 1, NOT_PRESENT = 11;
const DESCRIPTOR_BYTES = 8;

/** The guest's GDT or LDT has been loaded: copy it, compressed, to where the processor looks, and trace the frames it lies in. */
export async function loadTable(exit: DeprivilegedExit, table: 'gdt' | 'ldt'): Promise<void> {
  const { machine, transaction, memory, vcpu } = exit;
  const { base, limit } = table === 'gdt' ? vcpu.gdtr : vcpu.ldtr;
  const entries = floor((limit + 1) / DESCRIPTOR_BYTES);
  const before = table === 'gdt' ? machine.gdtEntries : machine.ldtEntries;
  for (const [frame, uses] of machine.tableFrames) {
    const rest = uses.filter((use) => use.table !== table);
    if (rest.length > 0) machine.tableFrames.set(frame, rest);
    else machine.tableFrames.delete(frame);
  }
  for (let at = 0; at < entries * DESCRIPTOR_BYTES;) {
    const linear = (base + at) >>> 0;
    const count = min(entries * DESCRIPTOR_BYTES - at, PAGE_BYTES - (linear % PAGE_BYTES));
    const bytes = await read(exit, linear, count);
    for (let offset = 0; offset < count; offset += DESCRIPTOR_BYTES) setEntry(exit, table, (at + offset) / DESCRIPTOR_BYTES, bytes, offset);
    if (bytes !== null) {
      const physical = await memory.translate(linear, { write: false, user: false, fetch: false });
      const frame = floor(physical / PAGE_BYTES);
      machine.tableFrames.set(frame, [...machine.tableFrames.get(frame) ?? [], { table, offset: at - (physical % PAGE_BYTES) }]);
    }
    at += count;
  }
  for (let index = entries; index < before; index++) setEntry(exit, table, index, null, 0);
  if (table === 'gdt') machine.gdtEntries = entries;
  else machine.ldtEntries = entries;
  machine.shadow.watch(transaction, new Set(machine.tableFrames.keys()));
}

/** What is not mapped is read when it is used; until then the processor finds no descriptor there. */
async function read(exit: DeprivilegedExit, linear: number, count: number): Promise<Uint8Array | null> {
  try {
    return await exit.memory.read(linear, count, false);
  } catch (error) {
    if (!(error instanceof GuestException)) throw error;
    return null;
  }
}

function setEntry({ machine, transaction }: DeprivilegedExit, table: 'gdt' | 'ldt', index: number, bytes: Uint8Array | null, offset: number): void {
  const view = bytes === null ? null : new DataView(bytes.buffer, bytes.byteOffset + offset);
  const words = view === null || (table === 'gdt' && index === 0) ? { low: 0, high: 0 } : compressed({ low: view.getUint32(0, true), high: view.getUint32(4, true) });
  if (table === 'ldt') machine.tables.setLdtEntry(transaction, index, words);
  else if (index < FIRST_MONITOR_ENTRY) machine.tables.setGdtEntry(transaction, index, words);
}

/** A traced write to a descriptor table: the entries it touches, as they will be. */
export async function tableWritten(exit: DeprivilegedExit, access: BusAccess): Promise<void> {
  const { machine, transaction } = exit;
  const bytes = access.size * access.count;
  for (const { table, offset } of machine.tableFrames.get(floor(access.address / PAGE_BYTES)) ?? []) {
    const pageBase = access.address - (access.address % PAGE_BYTES);
    const entries = table === 'gdt' ? machine.gdtEntries : machine.ldtEntries;
    const first = floor((offset + (access.address - pageBase)) / DESCRIPTOR_BYTES);
    const last = floor((offset + (access.address - pageBase) + bytes - 1) / DESCRIPTOR_BYTES);
    for (let index = Math.max(first, 0); index <= last && index < entries; index++) {
      const physical = pageBase + index * DESCRIPTOR_BYTES - offset;
      const words = (await transaction.read('guest', physical, DESCRIPTOR_BYTES)).slice();
      for (let n = 0; n < DESCRIPTOR_BYTES; n++) {
        const written = access.data[physical + n - access.address];
        if (written !== undefined) words[n] = written;
      }
      setEntry(exit, table, index, words, 0);
    }
  }
}

/** LLDT (SDM Vol. 2A). @throws GuestException */
export async function loadLdt(exit: DeprivilegedExit, selector: number): Promise<void> {
  const { vcpu, machine, transaction } = exit;
  if ((selector & 0xfffc) === 0) {
    vcpu.ldtr = { selector, base: 0, limit: 0 };
    machine.ldtEntries = 0;
    machine.tables.setLdtr(transaction, 0);
    return;
  }
  vcpu.ldtr = { selector, ...await systemSegment(exit, selector, [LDT_TYPE]) };
  await loadTable(exit, 'ldt');
  machine.tables.setLdtr(transaction, machine.ldtEntries);
}

/** LTR: the guest's TSS is only read, by ring -1, when an event needs its stack; the descriptor becomes busy. @throws GuestException */
export async function loadTaskRegister(exit: DeprivilegedExit, selector: number): Promise<void> {
  const { vcpu, memory } = exit;
  if ((selector & 0xfffc) === 0) throw generalProtection();
  const segment = await systemSegment(exit, selector, [TSS16_AVAILABLE, TSS32_AVAILABLE]);
  const address = (vcpu.gdtr.base + (selector & 0xfff8) + 5) >>> 0;
  const [rights] = await memory.read(address, 1, false);
  await memory.write(address, Uint8Array.of(rights! | 2), false);
  vcpu.tr = { selector, ...segment };
}

async function systemSegment(exit: DeprivilegedExit, selector: number, types: readonly number[]): Promise<{ base: number; limit: number }> {
  const error = selector & 0xfffc;
  const words = (selector & 4) !== 0 ? null : await exit.descriptor(selector);
  if (words === null || (words.high & DESCRIPTOR_S) !== 0 || !types.includes((words.high & DESCRIPTOR_TYPE) >>> 8)) throw generalProtection(error);
  if ((words.high & DESCRIPTOR_PRESENT) === 0) throw new GuestException(NOT_PRESENT, error);
  const field = (words.high & 0xf_0000) | (words.low & 0xffff);
  return {
    base: ((words.high & 0xff00_0000) | ((words.high & 0xff) << 16) | (words.low >>> 16)) >>> 0,
    limit: ((words.high & 0x0080_0000) !== 0 ? (field << 12) | 0xfff : field) >>> 0,
  };
}
