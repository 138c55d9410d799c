/**
 * Multiboot version 1: puts a kernel image, its modules and the boot information into RAM, and the processor into the
 * state that the specification promises. Reference: The Multiboot Specification 0.6.96, sections 3.1–3.3.
 */
import type { Effect } from '@ringside/machine';
import { parseElf32 } from './elf32.js';
import { LoaderError } from './loader-error.js';
import { memoryEffects } from './memory-effects.js';

export const MULTIBOOT_HEADER_MAGIC = 0x1badb002;
/** In EAX at the entry. */
export const MULTIBOOT_BOOTLOADER_MAGIC = 0x2badb002;
/** The header stands in the first 8,192 bytes of the image, at a multiple of 4. */
export const MULTIBOOT_SEARCH_BYTES = 8192;
/** Header flags: bits 0–15 are demands. */
export const MULTIBOOT_PAGE_ALIGN = 1 << 0;
export const MULTIBOOT_MEMORY_INFO = 1 << 1;
export const MULTIBOOT_VIDEO_MODE = 1 << 2;
/** The header's own address fields stand instead of the ELF headers (the "a.out kludge"). */
export const MULTIBOOT_ADDRESS_FIELDS = 1 << 16;
/** Information flags. */
export const INFO_MEMORY = 1 << 0;
export const INFO_COMMAND_LINE = 1 << 2;
export const INFO_MODULES = 1 << 3;
export const INFO_MEMORY_MAP = 1 << 6;
export const INFO_BOOT_LOADER_NAME = 1 << 9;
const INFO_BYTES = 116;
const MEMORY_MAP_AVAILABLE = 1;
const MEMORY_MAP_RESERVED = 2;

const BOOT_LOADER_NAME = 'Ringside';
const PAGE_BYTES = 4096;
/** End of conventional memory; RAM goes on at 1 MiB. Between them a PC has its adapters. */
const LOWER_MEMORY_END = 0xa0000;
const UPPER_MEMORY = 0x100000;
const LONGEST_COMMAND_LINE = 4095;

/** Flat segments with the access rights of SDM Vol. 3C 25.4.1: code execute/read, data read/write, accessed, DPL 0, 32-bit, 4 GiB. */
const CODE_SELECTOR = 0x08;
const CODE_RIGHTS = 0xc09b;
const DATA_SELECTOR = 0x10;
const DATA_RIGHTS = 0xc093;
const UNUSABLE = 0x10000;
const BUSY_TSS_RIGHTS = 0x8b;
const CR0_PE_ET = 0x11;

export interface MultibootModule { readonly bytes: Uint8Array; readonly commandLine: string }

export interface MultibootOptions {
  readonly image: Uint8Array;
  /** Guest RAM from address 0, bytes. */
  readonly memoryBytes: number;
  readonly commandLine: string;
  readonly modules?: readonly MultibootModule[];
}

export interface LoadedMultiboot {
  /** RAM contents, then registers and segments. RAM is taken to be zero where nothing is written (.bss). */
  readonly effects: Effect[];
  readonly entry: number;
  /** Physical address of the Multiboot information structure, in EBX. */
  readonly info: number;
  /** One past the last byte of the kernel image (with .bss) and modules. */
  readonly end: number;
}

interface Header { readonly offset: number; readonly flags: number; readonly addresses: readonly number[] }
interface Piece { readonly address: number; readonly bytes: Uint8Array; readonly memoryBytes: number }

/** Whether the image has a Multiboot header at all. */
export function isMultiboot(image: Uint8Array): boolean {
  return findHeader(image) !== null;
}

/** Throws LoaderError if the image cannot be loaded as it demands. */
export function loadMultiboot(options: MultibootOptions): LoadedMultiboot {
  const { image, memoryBytes } = options;
  const header = findHeader(image);
  const isElf = image.length >= 4 && image[0] === 0x7f && image[1] === 0x45 && image[2] === 0x4c && image[3] === 0x46;
  const byAddressFields = header !== null && (header.flags & MULTIBOOT_ADDRESS_FIELDS) !== 0;
  // A 64-bit file is refused by parseElf32 even if its header has address fields: nothing in it could run.
  const elf = isElf || !byAddressFields ? parseElf32(image) : null;
  if (header === null) {
    throw new LoaderError('no-multiboot-header', 'The image has no Multiboot header in its first 8192 bytes: add the magic 0x1BADB002, flags and checksum (see docs/first-guest.md).');
  }
  const refused = header.flags & 0xffff & ~(MULTIBOOT_PAGE_ALIGN | MULTIBOOT_MEMORY_INFO);
  if (refused !== 0) {
    const what = (refused & MULTIBOOT_VIDEO_MODE) !== 0 ? 'a video mode, and this machine has no display' : `features that are unknown here (flags 0x${refused.toString(16)})`;
    throw new LoaderError('multiboot-unsupported-flags', `The image's Multiboot header demands ${what}: clear those bits of its flags.`);
  }
  const { pieces, entry } = byAddressFields ? byHeader(image, header) : bySegments(elf!);
  for (const piece of pieces) requireRam(piece.address + piece.memoryBytes, memoryBytes);
  if (!pieces.some((piece) => entry >= piece.address && entry < piece.address + piece.memoryBytes)) {
    throw new LoaderError('bad-entry', `The image's entry point 0x${entry.toString(16)} lies outside everything it loads: check ENTRY in the linker script.`);
  }
  const imageEnd = Math.max(...pieces.map((piece) => piece.address + piece.memoryBytes));
  const modules = placeModules(options.modules ?? [], imageEnd);
  const end = modules.at(-1)?.end ?? imageEnd;
  requireRam(end, memoryBytes);
  const info = placeInfo(options, modules, pieces, end);
  const effects = [...pieces, ...modules, info].flatMap((piece) => memoryEffects(piece.address, piece.bytes));
  return { effects: [...effects, ...entryState(entry, info.address)], entry, info: info.address, end };
}

function findHeader(image: Uint8Array): Header | null {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  const last = Math.min(image.length, MULTIBOOT_SEARCH_BYTES) - 12;
  for (let offset = 0; offset <= last; offset += 4) {
    if (view.getUint32(offset, true) !== MULTIBOOT_HEADER_MAGIC) continue;
    const flags = view.getUint32(offset + 4, true);
    if (((MULTIBOOT_HEADER_MAGIC + flags + view.getUint32(offset + 8, true)) >>> 0) !== 0) continue;
    if ((flags & MULTIBOOT_ADDRESS_FIELDS) === 0) return { offset, flags, addresses: [] };
    if (offset + 32 > image.length) continue;
    return { offset, flags, addresses: [12, 16, 20, 24, 28].map((field) => view.getUint32(offset + field, true)) };
  }
  return null;
}

/** header_addr load_addr load_end_addr bss_end_addr entry_addr say where the file's bytes go. */
function byHeader(image: Uint8Array, header: Header): { pieces: Piece[]; entry: number } {
  const [headerAddress, loadAddress, loadEnd, bssEnd, entry] = header.addresses as [number, number, number, number, number];
  const from = header.offset - (headerAddress - loadAddress);
  const length = loadEnd === 0 ? image.length - from : loadEnd - loadAddress;
  const memoryBytes = Math.max(length, bssEnd === 0 ? 0 : bssEnd - loadAddress);
  if (headerAddress < loadAddress || from < 0 || length <= 0 || from + length > image.length) {
    throw new LoaderError('multiboot-bad-address', "The address fields of the image's Multiboot header do not fit the file: check header_addr, load_addr and load_end_addr.");
  }
  return { pieces: [{ address: loadAddress, bytes: image.subarray(from, from + length), memoryBytes }], entry };
}

function bySegments(elf: ReturnType<typeof parseElf32>): { pieces: Piece[]; entry: number } {
  const pieces = elf.segments.map((segment) => ({ address: segment.physical, bytes: segment.bytes, memoryBytes: segment.memoryBytes }));
  // Paging is off at the entry: an entry point given as a virtual address means its physical one, as GRUB 2 takes it.
  const holder = elf.segments.find((segment) => elf.entry >= segment.virtual && elf.entry < segment.virtual + segment.memoryBytes);
  return { pieces, entry: holder === undefined ? elf.entry : elf.entry - holder.virtual + holder.physical };
}

function requireRam(end: number, memoryBytes: number): void {
  if (end <= memoryBytes) return;
  const mebibytes = (bytes: number): number => Math.ceil(bytes / 1_048_576);
  throw new LoaderError('image-larger-than-ram', `The image needs memory up to ${mebibytes(end)} MiB and the machine has ${mebibytes(memoryBytes)} MiB: give the VM more memory.`);
}

interface PlacedModule extends Piece { readonly end: number; readonly commandLine: string }

/** Modules stand behind the image, each on a page of its own (which satisfies MULTIBOOT_PAGE_ALIGN). */
function placeModules(modules: readonly MultibootModule[], imageEnd: number): PlacedModule[] {
  let at = imageEnd;
  return modules.map(({ bytes, commandLine }) => {
    const address = pageUp(at);
    at = address + bytes.length;
    return { address, bytes, memoryBytes: bytes.length, end: at, commandLine };
  });
}

/** The information structure with everything it points to, in one piece. */
function placeInfo(options: MultibootOptions, modules: readonly PlacedModule[], pieces: readonly Piece[], end: number): Piece {
  const encoder = new TextEncoder();
  const commandLine = encoder.encode(`${options.commandLine}\0`);
  if (commandLine.length > LONGEST_COMMAND_LINE + 1) throw new LoaderError('command-line-too-long', `The command line is longer than ${LONGEST_COMMAND_LINE} bytes: shorten it.`);
  const moduleNames = modules.map((module) => encoder.encode(`${module.commandLine}\0`));
  const loaderName = encoder.encode(`${BOOT_LOADER_NAME}\0`);
  const map = memoryMap(options.memoryBytes);
  const moduleTable = INFO_BYTES;
  const mapTable = moduleTable + modules.length * 16;
  const strings = mapTable + map.length * 24;
  const size = strings + [commandLine, loaderName, ...moduleNames].reduce((sum, text) => sum + text.length, 0);
  const address = infoAddress(size, pieces, end, options.memoryBytes);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  let textAt = strings;
  const put = (text: Uint8Array): number => {
    bytes.set(text, textAt);
    textAt += text.length;
    return address + textAt - text.length;
  };
  const set = (offset: number, value: number): void => view.setUint32(offset, value, true);
  set(0, INFO_MEMORY | INFO_COMMAND_LINE | INFO_MODULES | INFO_MEMORY_MAP | INFO_BOOT_LOADER_NAME);
  set(4, Math.min(options.memoryBytes, LOWER_MEMORY_END) / 1024); // mem_lower, KiB from 0
  set(8, Math.max(0, options.memoryBytes - UPPER_MEMORY) / 1024); // mem_upper, KiB from 1 MiB
  set(16, put(commandLine));
  set(20, modules.length);
  set(24, address + moduleTable);
  set(44, map.length * 24);
  set(48, address + mapTable);
  set(64, put(loaderName));
  for (const [index, module] of modules.entries()) {
    const at = moduleTable + index * 16;
    set(at, module.address);
    set(at + 4, module.end);
    set(at + 8, put(moduleNames[index]!));
  }
  for (const [index, entry] of map.entries()) {
    const at = mapTable + index * 24;
    set(at, 20); // Size of the entry without this field.
    set(at + 4, entry.from);
    set(at + 12, entry.bytes);
    set(at + 20, entry.type);
  }
  return { address, bytes, memoryBytes: size };
}

function memoryMap(memoryBytes: number): { from: number; bytes: number; type: number }[] {
  const map = [
    { from: 0, bytes: Math.min(memoryBytes, LOWER_MEMORY_END), type: MEMORY_MAP_AVAILABLE },
    { from: LOWER_MEMORY_END, bytes: UPPER_MEMORY - LOWER_MEMORY_END, type: MEMORY_MAP_RESERVED },
  ];
  if (memoryBytes > UPPER_MEMORY) map.push({ from: UPPER_MEMORY, bytes: memoryBytes - UPPER_MEMORY, type: MEMORY_MAP_AVAILABLE });
  return map;
}

/** As high as possible below 640 KiB, where kernels do not expect to load; behind everything else if the image is there. */
function infoAddress(size: number, pieces: readonly Piece[], end: number, memoryBytes: number): number {
  const low = Math.floor((LOWER_MEMORY_END - size) / PAGE_BYTES) * PAGE_BYTES;
  const free = low > 0 && !pieces.some((piece) => piece.address < low + size && low < piece.address + piece.memoryBytes);
  if (free && end >= UPPER_MEMORY) return low;
  if (free && end <= low) return low;
  const address = pageUp(Math.max(end, UPPER_MEMORY));
  requireRam(address + size, memoryBytes);
  return address;
}

/** Section 3.2 "Machine state". What it leaves undefined is given a fixed value, so that every run begins alike. */
function entryState(entry: number, info: number): Effect[] {
  const data = (['ds', 'es', 'fs', 'gs', 'ss'] as const).map((segment): Effect => (
    { kind: 'segment', segment, selector: DATA_SELECTOR, base: 0, limit: 0xffff_ffff, rights: DATA_RIGHTS }));
  const general = (['ecx', 'edx', 'esp', 'ebp', 'esi', 'edi'] as const).map((register): Effect => ({ kind: 'register', register, value: 0 }));
  return [
    { kind: 'register', register: 'cr4', value: 0 },
    { kind: 'register', register: 'cr3', value: 0 },
    { kind: 'register', register: 'cr0', value: CR0_PE_ET },
    { kind: 'segment', segment: 'cs', selector: CODE_SELECTOR, base: 0, limit: 0xffff_ffff, rights: CODE_RIGHTS },
    ...data,
    { kind: 'segment', segment: 'ldtr', selector: 0, base: 0, limit: 0, rights: UNUSABLE },
    { kind: 'segment', segment: 'tr', selector: 0, base: 0, limit: 0xffff, rights: BUSY_TSS_RIGHTS },
    { kind: 'table', table: 'gdtr', base: 0, limit: 0, space: 'guest' },
    { kind: 'table', table: 'idtr', base: 0, limit: 0, space: 'guest' },
    ...general,
    { kind: 'register', register: 'eax', value: MULTIBOOT_BOOTLOADER_MAGIC },
    { kind: 'register', register: 'ebx', value: info },
    { kind: 'register', register: 'eflags', value: 0x2 },
    { kind: 'register', register: 'cpl', value: 0 },
    { kind: 'register', register: 'eip', value: entry },
  ];
}

function pageUp(address: number): number {
  return Math.ceil(address / PAGE_BYTES) * PAGE_BYTES;
}
