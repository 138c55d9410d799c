import { ES, GS } from '@ringside/x86';

/**
 * The monitor data area: what translated code and the monitor tell each other. In code that the processor fetches from monitor space a GS
 * override addresses it (offset 0 is the area's first byte), whatever the guest's own GS holds.
 *
 *   0x000 virtual EFLAGS.IF, in place: byte 1 is 0x02 or 0
 *   0x004 not 0 while an interrupt waits for the guest to set IF
 *   0x008 guest EIP that an indirect transfer goes to
 *   0x00c its address in the translation cache
 *   0x010 scratch
 *   0x014 virtual IOPL, 0 to 3: ring -1 writes it, and code is translated for one value or the other
 *   0x020 saved general registers, by number
 *   0x040 the guest's selectors of ES CS SS DS FS GS, zero-extended
 *   0x100 POPF_CLASS, 256 bytes
 *   0x10000 lookup table, 65,536 entries of (guest EIP, TC address)
 *
 * A unit is good for one layout: the version is part of its key.
 */
export const LAYOUT_VERSION = 1;

export const VIRTUAL_IF = 0x000;
/** The byte of VIRTUAL_IF that holds IF (bit 9). Written whole: an AND would change the guest's flags. */
export const VIRTUAL_IF_BYTE = VIRTUAL_IF + 1;
export const IF_IN_BYTE = 0x02;
export const PENDING = 0x004;
export const TARGET = 0x008;
export const JUMP = 0x00c;
export const SCRATCH = 0x010;
export const VIRTUAL_IOPL = 0x014;
export const SAVED = 0x020;
export const SELECTORS = 0x040;
/**
 * What bits 8–15 of an EFLAGS image mean to POPF: 0 a callout (the image sets IOPL or NT), 1 IF becomes 0, 3 IF becomes 1: one less is VIRTUAL_IF_BYTE.
 */
export const POPF_CLASS = 0x100;
export const LOOKUP = 0x1_0000;
export const LOOKUP_ENTRIES = 0x1_0000;
/** Entries are indexed by the low half of the guest's EIP; an entry that holds no translation has a key whose low half is another. */
export const LOOKUP_ENTRY_BYTES = 8;
export const MONITOR_DATA_BYTES = LOOKUP + LOOKUP_ENTRIES * LOOKUP_ENTRY_BYTES;

export const saved = (register: number): number => SAVED + 4 * register;
export const selectorField = (segment: number): number => SELECTORS + 4 * segment;

const TF_NT_IOPL = 0x71; // in byte 1 of EFLAGS: TF 0x01, IF 0x02, IOPL 0x30, NT 0x40
const TF = 0x01;

/** The area as it is before the guest runs: interrupts off, no translation known. */
export function initialMonitorData(): Uint8Array {
  const bytes = new Uint8Array(MONITOR_DATA_BYTES);
  for (let image = 0; image < 256; image++) bytes[POPF_CLASS + image] = (image & TF_NT_IOPL & ~TF) !== 0 ? 0 : (image & IF_IN_BYTE) + 1;
  const view = new DataView(bytes.buffer);
  for (let index = 0; index < LOOKUP_ENTRIES; index++) view.setUint32(LOOKUP + index * LOOKUP_ENTRY_BYTES, emptyKey(index), true);
  return bytes;
}

/** A key that no guest EIP with this index has. */
export function emptyKey(index: number): number {
  return index ^ 0xffff;
}

/** Fields that translated code may write: offset and bytes. The area's other fields are the monitor's. */
export const WRITABLE_FIELDS: ReadonlyMap<number, number> = new Map([
  [VIRTUAL_IF_BYTE, 1], [TARGET, 4], [SCRATCH, 4],
  ...Array.from({ length: 8 }, (_, register) => [saved(register), 4] as const),
  ...Array.from({ length: GS - ES + 1 }, (_, segment) => [selectorField(segment), 4] as const),
]);

/** Fields that it may read besides: offset and bytes (those indexed by a register are read through their base). */
export const READABLE_FIELDS: ReadonlyMap<number, number> = new Map([[VIRTUAL_IF, 4], [PENDING, 4], [SCRATCH + 1, 1]]);
