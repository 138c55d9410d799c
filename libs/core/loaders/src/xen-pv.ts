/**
 * Domain builder for 32-bit PAE Xen PV guests. What stands where at the start (xen/include/public/xen.h, "start-of-day
 * memory layout"), from the domain's virtual base up, each part on pages of its own:
 *
 *   kernel image · initial ramdisk · p2m list (mfn_list) · start_info · store page · console page
 *   · page tables, mapped read-only · boot stack · at least 512 KiB of padding, up to a multiple of 4 MiB
 *
 * Linear and pseudo-physical addresses differ by the virtual base; page tables hold machine frames.
 */
import type { Effect } from '@ringside/machine';
import { parseElf32, type ElfImage } from './elf32.js';
import { LoaderError } from './loader-error.js';
import { CHUNK_BYTES } from './memory-effects.js';
import {
  FLAT_RING1_CS, FLAT_RING1_DS, FLAT_RING3_CS, FLAT_RING3_DS, START_INFO, XEN_COMMAND_LINE_BYTES, XEN_PAGE_BYTES, XEN_VIRT_START_PAE,
  type FrameType, type InitialFrame, type XenDomain, type XenDomainOptions, type XenImageNotes,
} from './xen-domain.js';
import { readXenNotes } from './xen-notes.js';

export const XEN_MAGIC = 'xen-3.0-x86_32p';
const LAYOUT_ALIGNMENT = 4 << 20;
const LEAST_PADDING = 512 << 10;

/** PAE: 512 entries of 8 bytes in a table, 4 in the root; an L1 table maps 2 MiB, an L2 table 1 GiB (SDM Vol. 3A 4.4). */
const L1_SPAN = 2 << 20;
const L2_SPAN = 1 << 30;
const ROOT_ENTRIES = 4;
const ENTRY_BYTES = 8;
/** Page-table entry bits. Entries of the root carry nothing but Present. */
const PRESENT = 0x01, WRITABLE = 0x02, USER = 0x04, ACCESSED = 0x20, DIRTY = 0x40;
const L1_FLAGS = PRESENT | WRITABLE | ACCESSED;
const L2_FLAGS = PRESENT | WRITABLE | USER | ACCESSED | DIRTY;
/** Machine frames below 4 GiB: CR3 and 32-bit addresses reach no further. */
const FRAMES_BELOW_4_GIB = 1 << 20;

/** Xen's flat segments by ring, with their rights (SDM Vol. 3C 25.4.1): DPL as the ring, present, 32-bit, 4 GiB. */
const FLAT = {
  1: { cs: FLAT_RING1_CS, ds: FLAT_RING1_DS, codeRights: 0xc0bb, dataRights: 0xc0b3 },
  3: { cs: FLAT_RING3_CS, ds: FLAT_RING3_DS, codeRights: 0xc0fb, dataRights: 0xc0f3 },
} as const;
/** CR0: PG WP NE ET MP PE. CR4: PAE. */
const CR0 = 0x8001_0033;
const CR4 = 0x20;
/** Reserved bit 1 and IF; IOPL 0. Events are masked in shared_info, not here. */
const EFLAGS = 0x202;

/** The start-of-day layout in linear addresses. */
interface Layout {
  virtStart: number; virtEnd: number;
  ramdisk: number; p2mList: number; startInfo: number; store: number; console: number;
  pageTables: number; pageTableFrames: number; stack: number;
}

/** Throws LoaderError for an image that is no PAE Xen PV kernel or does not fit the domain. */
export function buildXenDomain(options: XenDomainOptions): XenDomain {
  const elf = parseElf32(options.image);
  const notes = readXenNotes(elf);
  const offset = notes.virtBase - notes.paddrOffset;
  checkNotes(elf, notes, offset);
  const layout = planLayout(elf, notes, offset, options);
  const memory = new DomainMemory(layout.virtStart, options.pfnToMfn);
  for (const segment of elf.segments) memory.write(segment.physical + offset, segment.bytes);
  if (options.ramdisk !== null) memory.write(layout.ramdisk, options.ramdisk);
  memory.write(layout.p2mList, new Uint8Array(options.pfnToMfn.slice().buffer));
  memory.write(layout.startInfo, startInfo(options, layout, memory));
  const types = buildPageTables(layout, memory);
  const hypercallPageMfn = notes.hypercallPage === null ? null : memory.mfnOf(notes.hypercallPage);
  const rootMfn = memory.mfnOf(layout.pageTables);
  return {
    effects: [...memory.effects(), ...entryState(notes, layout, rootMfn, options.kernelRing ?? 1)],
    frames: initialFrames(layout, memory, types),
    notes, hypercallPageMfn, entry: notes.entry, stackPointer: layout.stack + XEN_PAGE_BYTES, startInfo: layout.startInfo,
    pageTableBase: layout.pageTables, pageTableFrames: layout.pageTableFrames, p2mList: layout.p2mList,
    virtStart: layout.virtStart, virtEnd: layout.virtEnd, rootMfn,
    startInfoMfn: memory.mfnOf(layout.startInfo), storeMfn: memory.mfnOf(layout.store), consoleMfn: memory.mfnOf(layout.console),
  };
}

function checkNotes(elf: ElfImage, notes: XenImageNotes, offset: number): void {
  if (!/^(yes|bimodal)/.test(notes.paeMode)) {
    throw new LoaderError('xen-not-pae', `The image's Xen notes say PAE_MODE "${notes.paeMode}", and the PV path runs PAE kernels only: build the kernel with PAE.`);
  }
  const bad = (what: string): LoaderError => new LoaderError('xen-bad-notes', `The image's Xen notes do not fit its contents (${what}): check VIRT_BASE, PADDR_OFFSET and ENTRY.`);
  if (notes.virtBase % LAYOUT_ALIGNMENT !== 0) throw bad(`VIRT_BASE 0x${notes.virtBase.toString(16)} is no multiple of 4 MiB`);
  const first = elf.segments[0]!.physical + offset;
  if (first < notes.virtBase) throw bad('a segment lies below VIRT_BASE');
  const holds = (address: number): boolean => elf.segments.some((segment) => address >= segment.physical + offset && address < segment.physical + offset + segment.memoryBytes);
  if (!holds(notes.entry)) throw bad(`nothing is loaded at the entry point 0x${notes.entry.toString(16)}`);
  if (notes.hypercallPage !== null && (notes.hypercallPage % XEN_PAGE_BYTES !== 0 || !holds(notes.hypercallPage))) throw bad('the hypercall page is not a page of the image');
}

function planLayout(elf: ElfImage, notes: XenImageNotes, offset: number, options: XenDomainOptions): Layout {
  const kernelEnd = Math.max(...elf.segments.map((segment) => segment.physical + offset + segment.memoryBytes));
  const ramdisk = pageUp(kernelEnd);
  const p2mList = pageUp(ramdisk + (options.ramdisk?.length ?? 0));
  const startInfo = pageUp(p2mList + options.pfnToMfn.length * 4);
  const store = startInfo + XEN_PAGE_BYTES;
  const console = store + XEN_PAGE_BYTES;
  const pageTables = console + XEN_PAGE_BYTES;
  const virtStart = notes.virtBase;
  // The tables map themselves, so their number depends on the end, and the end on their number: grow until it fits.
  let pageTableFrames = 0;
  let virtEnd = virtStart;
  for (let needed = 1; needed > pageTableFrames;) {
    pageTableFrames = needed;
    virtEnd = Math.ceil((pageTables + (pageTableFrames + 1) * XEN_PAGE_BYTES + LEAST_PADDING) / LAYOUT_ALIGNMENT) * LAYOUT_ALIGNMENT;
    needed = 1 + l2Tables(virtStart, virtEnd).length + (virtEnd - virtStart) / L1_SPAN;
  }
  if (virtEnd > XEN_VIRT_START_PAE) throw new LoaderError('xen-bad-notes', 'The kernel and its ramdisk reach into the addresses that belong to Xen (from 0xF5800000): choose a lower VIRT_BASE or a smaller ramdisk.');
  const needed = virtEnd - virtStart;
  if (needed > options.pfnToMfn.length * XEN_PAGE_BYTES) {
    throw new LoaderError('image-larger-than-ram', `The domain needs ${needed >> 20} MiB to start and has ${Math.floor((options.pfnToMfn.length * XEN_PAGE_BYTES) / 1_048_576)} MiB: give the VM more memory.`);
  }
  return { virtStart, virtEnd, ramdisk, p2mList, startInfo, store, console, pageTables, pageTableFrames, stack: pageTables + pageTableFrames * XEN_PAGE_BYTES };
}

/** Gigabytes that get an L2 table: those that the mapping touches, and the last one, where Xen puts its own entries. */
function l2Tables(virtStart: number, virtEnd: number): number[] {
  const last = Math.floor((virtEnd - 1) / L2_SPAN);
  const tables: number[] = [];
  for (let index = Math.floor(virtStart / L2_SPAN); index <= last; index++) tables.push(index);
  if (last !== ROOT_ENTRIES - 1) tables.push(ROOT_ENTRIES - 1);
  return tables;
}

/** The domain's memory while it is built: pages by pseudo-physical frame, made when first written. */
class DomainMemory {
  private readonly pages = new Map<number, Uint8Array>();

  constructor(private readonly base: number, private readonly pfnToMfn: Uint32Array) {}

  pfnOf(linear: number): number {
    return Math.floor((linear - this.base) / XEN_PAGE_BYTES);
  }

  mfnOf(linear: number): number {
    return this.pfnToMfn[this.pfnOf(linear)]!;
  }

  mfn(pfn: number): number {
    return this.pfnToMfn[pfn]!;
  }

  write(linear: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      const within = (linear + at - this.base) % XEN_PAGE_BYTES;
      const length = Math.min(XEN_PAGE_BYTES - within, bytes.length - at);
      this.page(linear + at).set(bytes.subarray(at, at + length), within);
      at += length;
    }
  }

  /** A PAE entry: frame and flags. Frames are below 4 GiB, so the high word is 0. */
  writeEntry(linear: number, mfn: number, flags: number): void {
    const page = this.page(linear);
    new DataView(page.buffer).setUint32((linear - this.base) % XEN_PAGE_BYTES, ((mfn << 12) | flags) >>> 0, true);
  }

  /** Contents by rising machine address; neighbours join up to CHUNK_BYTES. */
  effects(): Effect[] {
    const frames = [...this.pages].map(([pfn, bytes]) => ({ mfn: this.mfn(pfn), bytes })).sort((a, b) => a.mfn - b.mfn);
    const effects: Effect[] = [];
    for (let first = 0; first < frames.length;) {
      let end = first + 1;
      while (end < frames.length && frames[end]!.mfn === frames[first]!.mfn + end - first && (end - first) * XEN_PAGE_BYTES < CHUNK_BYTES) end++;
      const bytes = new Uint8Array((end - first) * XEN_PAGE_BYTES);
      for (let index = first; index < end; index++) bytes.set(frames[index]!.bytes, (index - first) * XEN_PAGE_BYTES);
      effects.push({ kind: 'memory', space: 'guest', address: frames[first]!.mfn * XEN_PAGE_BYTES, bytes });
      first = end;
    }
    return effects;
  }

  private page(linear: number): Uint8Array {
    const pfn = this.pfnOf(linear);
    let page = this.pages.get(pfn);
    if (page === undefined) this.pages.set(pfn, page = new Uint8Array(XEN_PAGE_BYTES));
    return page;
  }
}

function startInfo(options: XenDomainOptions, layout: Layout, memory: DomainMemory): Uint8Array {
  const bytes = new Uint8Array(START_INFO.size);
  const view = new DataView(bytes.buffer);
  const encoder = new TextEncoder();
  const commandLine = encoder.encode(options.commandLine);
  if (commandLine.length >= XEN_COMMAND_LINE_BYTES) {
    throw new LoaderError('command-line-too-long', `The command line has ${commandLine.length} bytes and Xen's start_info takes ${XEN_COMMAND_LINE_BYTES - 1}: shorten it.`);
  }
  bytes.set(encoder.encode(XEN_MAGIC), START_INFO.magic);
  bytes.set(commandLine, START_INFO.cmd_line);
  const fields: [keyof typeof START_INFO, number][] = [
    ['nr_pages', options.pfnToMfn.length],
    ['shared_info', options.sharedInfoMachineAddress],
    ['flags', options.flags],
    ['store_mfn', memory.mfnOf(layout.store)],
    ['store_evtchn', options.storeEventChannel],
    ['console_mfn', memory.mfnOf(layout.console)],
    ['console_evtchn', options.consoleEventChannel],
    ['pt_base', layout.pageTables],
    ['nr_pt_frames', layout.pageTableFrames],
    ['mfn_list', layout.p2mList],
    ['mod_start', options.ramdisk === null ? 0 : layout.ramdisk],
    ['mod_len', options.ramdisk?.length ?? 0],
  ];
  for (const [field, value] of fields) view.setUint32(START_INFO[field], value, true);
  return bytes;
}

/** Root, then the L2 tables, then the L1 tables. Returns the type of each table's pseudo-physical frame. */
function buildPageTables(layout: Layout, memory: DomainMemory): Map<number, FrameType> {
  const types = new Map<number, FrameType>();
  const { virtStart, virtEnd, pageTables } = layout;
  const table = (index: number): number => pageTables + index * XEN_PAGE_BYTES;
  const declare = (linear: number, type: FrameType): void => {
    if (memory.mfnOf(linear) >= FRAMES_BELOW_4_GIB) throw new RangeError('Page tables need machine frames below 4 GiB.');
    types.set(memory.pfnOf(linear), type);
  };
  const gigabytes = l2Tables(virtStart, virtEnd);
  declare(table(0), 'l3');
  const l2Of = new Map<number, number>();
  for (const [index, gigabyte] of gigabytes.entries()) {
    const l2 = table(1 + index);
    declare(l2, 'l2');
    l2Of.set(gigabyte, l2);
    memory.writeEntry(table(0) + gigabyte * ENTRY_BYTES, memory.mfnOf(l2), PRESENT);
  }
  const l1Count = (virtEnd - virtStart) / L1_SPAN;
  const firstL1 = 1 + gigabytes.length;
  for (let index = 0; index < l1Count; index++) {
    const l1 = table(firstL1 + index);
    declare(l1, 'l1');
    const linear = virtStart + index * L1_SPAN;
    memory.writeEntry(l2Of.get(Math.floor(linear / L2_SPAN))! + Math.floor((linear % L2_SPAN) / L1_SPAN) * ENTRY_BYTES, memory.mfnOf(l1), L2_FLAGS);
  }
  for (let linear = virtStart; linear < virtEnd; linear += XEN_PAGE_BYTES) {
    const l1 = table(firstL1 + Math.floor((linear - virtStart) / L1_SPAN));
    const flags = types.has(memory.pfnOf(linear)) ? L1_FLAGS & ~WRITABLE : L1_FLAGS;
    memory.writeEntry(l1 + Math.floor((linear % L1_SPAN) / XEN_PAGE_BYTES) * ENTRY_BYTES, memory.mfnOf(linear), flags);
  }
  return types;
}

function initialFrames(layout: Layout, memory: DomainMemory, types: ReadonlyMap<number, FrameType>): InitialFrame[] {
  const frames: InitialFrame[] = [];
  for (let linear = layout.virtStart; linear < layout.virtEnd; linear += XEN_PAGE_BYTES) {
    const pfn = memory.pfnOf(linear);
    const type = types.get(pfn) ?? 'writable';
    frames.push({ pfn, mfn: memory.mfn(pfn), type, pinned: type === 'l3', linear, writable: type === 'writable' });
  }
  return frames;
}

/** arch-x86/xen-x86_32.h: ESI = start_info, ESP = end of the boot stack, flat segments, paging on. */
function entryState(notes: XenImageNotes, layout: Layout, rootMfn: number, ring: 1 | 3): Effect[] {
  const flat = FLAT[ring];
  const data = (['ds', 'es', 'fs', 'gs', 'ss'] as const).map((segment): Effect => (
    { kind: 'segment', segment, selector: flat.ds, base: 0, limit: 0xffff_ffff, rights: flat.dataRights }));
  const general = (['eax', 'ecx', 'edx', 'ebx', 'ebp', 'edi'] as const).map((register): Effect => ({ kind: 'register', register, value: 0 }));
  return [
    { kind: 'register', register: 'cr4', value: CR4 },
    { kind: 'register', register: 'cr3', value: rootMfn * XEN_PAGE_BYTES },
    { kind: 'register', register: 'cr0', value: CR0 },
    { kind: 'segment', segment: 'cs', selector: flat.cs, base: 0, limit: 0xffff_ffff, rights: flat.codeRights },
    ...data,
    ...general,
    { kind: 'register', register: 'esi', value: layout.startInfo },
    { kind: 'register', register: 'esp', value: layout.stack + XEN_PAGE_BYTES },
    { kind: 'register', register: 'eflags', value: EFLAGS },
    { kind: 'register', register: 'cpl', value: ring },
    { kind: 'register', register: 'eip', value: notes.entry },
  ];
}

function pageUp(address: number): number {
  return Math.ceil(address / XEN_PAGE_BYTES) * XEN_PAGE_BYTES;
}

/** Whether an image says that it is a Xen PV kernel. */
export function isXenKernel(image: Uint8Array): boolean {
  try {
    readXenNotes(parseElf32(image));
    return true;
  } catch (error) {
    if (error instanceof LoaderError) return false;
    throw error;
  }
}
