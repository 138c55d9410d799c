/**
 * ELF for 32-bit x86, executables only, read strictly.
 * Reference: Tool Interface Standard ELF specification 1.2; System V ABI, Intel386 supplement.
 */
import { LoaderError } from './loader-error.js';

export const EI_CLASS = 4;
export const EI_DATA = 5;
export const ELFCLASS32 = 1;
export const ELFCLASS64 = 2;
export const ELFDATA2LSB = 1;
export const ET_EXEC = 2;
export const EM_386 = 3;
export const PT_LOAD = 1;
export const PT_NOTE = 4;
export const SHT_SYMTAB = 2;
export const SHT_NOBITS = 8;
const ELF_HEADER_BYTES = 52;
const PROGRAM_HEADER_BYTES = 32;
const SECTION_HEADER_BYTES = 40;

export interface ElfSegment {
  readonly physical: number;
  readonly virtual: number;
  /** What the file holds of it; the rest up to `memoryBytes` is zero. */
  readonly bytes: Uint8Array;
  readonly memoryBytes: number;
}

export interface ElfSection { readonly name: string; readonly type: number; readonly address: number; readonly bytes: Uint8Array }

export interface ElfImage {
  readonly entry: number;
  /** Loadable segments that occupy memory, by rising physical address; they do not overlap. */
  readonly segments: readonly ElfSegment[];
  /** Contents of the PT_NOTE segments. */
  readonly notes: readonly Uint8Array[];
  /** Empty if the file was stripped of its section headers. */
  readonly sections: readonly ElfSection[];
}

/** Throws LoaderError. Reads nothing outside `file`, whatever its headers say. */
export function parseElf32(file: Uint8Array): ElfImage {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  checkIdentification(file, view);
  const programHeaders = table(view, 'program headers', view.getUint32(28, true), view.getUint16(44, true), view.getUint16(42, true), PROGRAM_HEADER_BYTES);
  const segments: ElfSegment[] = [];
  const notes: Uint8Array[] = [];
  for (const header of programHeaders) {
    const [type, offset, virtual, physical, fileBytes, memoryBytes] = words(view, header, 6) as [number, number, number, number, number, number];
    if (type === PT_NOTE) notes.push(slice(file, offset, fileBytes, 'a note segment'));
    if (type !== PT_LOAD || memoryBytes === 0) continue;
    if (fileBytes > memoryBytes) throw truncated('a segment holds more bytes in the file than in memory');
    if (physical + memoryBytes > 0x1_0000_0000 || virtual + memoryBytes > 0x1_0000_0000) throw truncated('a segment ends above 4 GiB');
    segments.push({ physical, virtual, bytes: slice(file, offset, fileBytes, 'a segment'), memoryBytes });
  }
  if (segments.length === 0) throw new LoaderError('elf-not-executable', 'The ELF file has nothing to load (no PT_LOAD segment): link it as an executable.');
  segments.sort((a, b) => a.physical - b.physical);
  for (const [index, segment] of segments.entries()) {
    const next = segments[index + 1];
    if (next !== undefined && segment.physical + segment.memoryBytes > next.physical) {
      throw new LoaderError('elf-overlapping-segments', `Two segments of the ELF file overlap at physical address 0x${next.physical.toString(16)}: check the linker script.`);
    }
  }
  return { entry: view.getUint32(24, true), segments, notes, sections: sections(file, view) };
}

function checkIdentification(file: Uint8Array, view: DataView): void {
  if (file.length < 16 || view.getUint32(0, false) !== 0x7f454c46) {
    throw new LoaderError('not-elf', 'The image is not an ELF file: build the guest as a 32-bit ELF executable (gcc -m32).');
  }
  if (file[EI_CLASS] === ELFCLASS64) throw new LoaderError('elf-64-bit', 'The image is a 64-bit ELF file and the processor is 32-bit: build the guest with gcc -m32.');
  if (file[EI_CLASS] !== ELFCLASS32 || file[EI_DATA] !== ELFDATA2LSB) {
    throw new LoaderError('elf-wrong-machine', 'The image is not a little-endian 32-bit ELF file: build the guest for i386 (gcc -m32).');
  }
  if (file.length < ELF_HEADER_BYTES) throw truncated('its header is incomplete');
  const machine = view.getUint16(18, true);
  if (machine !== EM_386) throw new LoaderError('elf-wrong-machine', `The image is an ELF file for another machine (e_machine ${machine}): build the guest for i386 (gcc -m32).`);
  const type = view.getUint16(16, true);
  if (type !== ET_EXEC) throw new LoaderError('elf-not-executable', `The image is no executable (e_type ${type}): link it with fixed addresses (gcc -static -no-pie).`);
}

function sections(file: Uint8Array, view: DataView): ElfSection[] {
  const count = view.getUint16(48, true);
  const offset = view.getUint32(32, true);
  if (count === 0 || offset === 0) return [];
  const headers = table(view, 'section headers', offset, count, view.getUint16(46, true), SECTION_HEADER_BYTES);
  const stringHeader = headers[view.getUint16(50, true)];
  const sectionBytes = (header: number): Uint8Array => {
    const [, type, , , at, size] = words(view, header, 6) as [number, number, number, number, number, number];
    return type === 0 || type === SHT_NOBITS ? new Uint8Array(0) : slice(file, at, size, 'a section');
  };
  const strings = stringHeader === undefined ? new Uint8Array(0) : sectionBytes(stringHeader);
  return headers.map((header) => {
    const [name, type, , address] = words(view, header, 4) as [number, number, number, number];
    return { name: cString(strings, name), type, address, bytes: sectionBytes(header) };
  });
}

/** File offsets of a table's entries. */
function table(view: DataView, what: string, offset: number, count: number, entryBytes: number, leastBytes: number): number[] {
  if (count === 0) return [];
  if (entryBytes < leastBytes) throw truncated(`its ${what} are ${entryBytes} bytes each instead of ${leastBytes}`);
  if (offset + count * entryBytes > view.byteLength) throw truncated(`its ${what} lie behind the end of the file`);
  return Array.from({ length: count }, (_, index) => offset + index * entryBytes);
}

function words(view: DataView, at: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => view.getUint32(at + index * 4, true));
}

function slice(file: Uint8Array, offset: number, length: number, what: string): Uint8Array {
  if (offset + length > file.length) throw truncated(`${what} lies behind the end of the file`);
  return file.subarray(offset, offset + length);
}

/** Latin-1 text up to NUL or the end. */
export function cString(bytes: Uint8Array, at: number): string {
  let text = '';
  for (let index = at; index < bytes.length && bytes[index] !== 0; index++) text += String.fromCharCode(bytes[index]!);
  return text;
}

function truncated(why: string): LoaderError {
  return new LoaderError('elf-truncated', `The ELF file is damaged or truncated (${why}): build or copy it again.`);
}
