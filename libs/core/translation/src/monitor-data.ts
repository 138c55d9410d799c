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
 *   0x018 the virtual IF as it was, while IRET has changed it and may still fault
 *   0x01c not 0 while nothing may run, neither translated nor directly: ring -1 executes each instruction
 *   0x020 saved general registers, by number
 *   0x040 the guest's selectors of ES CS SS DS FS GS, zero-extended
 *   0x060 what an event pushed that came through a gate into the cache: EIP, CS, EFLAGS, ESP, SS (gate-stub.ts)
 *   0x074 virtual CR0.TS, in place: 8 or 0
 *   0x078 minus the virtual CR0 with TS 0: ring -1 writes it
 *   0x07c not 0 while the real CR0.TS is 0: ring -1 writes it
 *   0x100 POPF_CLASS, 0x200 RETURNS_OUT, 0x300 KEEPS_IF, 0x400 KEEPS_MODE, 0x500 FRAME_FITS, 0x600 LOADS_AS_TOLD: 256 bytes each
 *   0x800 parameters of the gates, 64 bytes each
 *   0x10000 lookup table, 65,536 entries of (guest EIP, TC address)
 *
 * A unit is good for one layout: the version is part of its key.
 */
export const LAYOUT_VERSION = 3;

export const VIRTUAL_IF = 0x000;
/** The byte of VIRTUAL_IF that holds IF (bit 9). Written whole: an AND would change the guest's flags. */
export const VIRTUAL_IF_BYTE = VIRTUAL_IF + 1;
export const IF_IN_BYTE = 0x02;
export const PENDING = 0x004;
export const TARGET = 0x008;
export const JUMP = 0x00c;
export const SCRATCH = 0x010;
export const VIRTUAL_IOPL = 0x014;
export const KEPT_IF = 0x018;
export const INTERPRET = 0x01c;
export const SAVED = 0x020;
export const SELECTORS = 0x040;
export const VIRTUAL_TS = 0x074;
/** CR0.TS. */
export const TS_IN_BYTE = 0x08;
export const MINUS_CR0 = 0x078;
export const TS_IS_CLEAR = 0x07c;
/**
 * What bits 8–15 of an EFLAGS image mean to POPF: 0 a callout (the image sets IOPL or NT), 1 IF becomes 0, 3 IF becomes 1: one less is VIRTUAL_IF_BYTE.
 */
export const POPF_CLASS = 0x100;
/** Of the low byte of a CS selector: whether it leads to ring 3. These tables are of 0 (no) and 1. */
export const RETURNS_OUT = 0x200;
/** Of bits 8–15 of an EFLAGS image: whether IRET with it leaves an application with IF 1, IOPL 0 and NT 0. */
export const KEEPS_IF = 0x300;
/** Of bits 16–23: whether it leaves VM 0. */
export const KEEPS_MODE = 0x400;
/** Of the low byte of a stack pointer: whether a frame of 20 bytes below it lies in one page, so that all of it can be pushed if its first word can. */
export const FRAME_FITS = 0x500;
/**
 * Of the low byte of a selector that ring 0 loads into a data segment register: whether its RPL and the monitor's copy of the descriptor decide as the guest's own would. With RPL 1 they do not, for what
 * ring 0 had to itself (DPL 0) is at DPL 1 in the copy.
 */
export const LOADS_AS_TOLD = 0x600;

/** The monitor's stack: five words that the processor pushes on its way through a gate into the cache. */
export const GATE_FRAME = { eip: 0x060, cs: 0x064, eflags: 0x068, esp: 0x06c, ss: 0x070 } as const;
/** Gates of the guest's that ring -1 can have lead into the cache at one time. */
export const GATES = 8;
const GATE_PARAMETERS = 0x800, GATE_PARAMETER_BYTES = 0x40;

/**
 * What ring -1 tells the stub of gate n, and the stub compares with the guest's memory each time. `idtEntry` and `esp0` are linear addresses in the guest's IDT and TSS; the words
 * expected there are negated, so that LEA adds up to 0. `interruptFlag` is what VIRTUAL_IF_BYTE becomes.
 */
export function gateParameters(gate: number): GateParameterFields {
  const at = GATE_PARAMETERS + gate * GATE_PARAMETER_BYTES;
  return { idtEntry: at, minusLow: at + 4, minusHigh: at + 8, esp0: at + 12, minusSs0: at + 16, handler: at + 20, interruptFlag: at + 24, cs: at + 28, ss: at + 32 };
}
export interface GateParameterFields {
  readonly idtEntry: number; readonly minusLow: number; readonly minusHigh: number; readonly esp0: number; readonly minusSs0: number;
  readonly handler: number; readonly interruptFlag: number; readonly cs: number; readonly ss: number;
}
export const LOOKUP = 0x1_0000;
export const LOOKUP_ENTRIES = 0x1_0000;
/** Entries are indexed by the low half of the guest's EIP; an entry that holds no translation has a key whose low half is another. */
export const LOOKUP_ENTRY_BYTES = 8;
export const MONITOR_DATA_BYTES = LOOKUP + LOOKUP_ENTRIES * LOOKUP_ENTRY_BYTES;
/** Behind the area, the stubs of the gates: one page. */
export const GATE_STUB_BYTES = 512;
export const gateStub = (gate: number): number => MONITOR_DATA_BYTES + gate * GATE_STUB_BYTES;

export const saved = (register: number): number => SAVED + 4 * register;
export const selectorField = (segment: number): number => SELECTORS + 4 * segment;

const VM_IN_BYTE = 0x02; // in byte 2 of EFLAGS
const TF_NT_IOPL = 0x71; // in byte 1 of EFLAGS: TF 0x01, IF 0x02, IOPL 0x30, NT 0x40
const TF = 0x01;
/** EIP, CS, EFLAGS, ESP, SS. */
export const FRAME_BYTES = 20;

/** CR0 as a Multiboot loader leaves it: PE and ET. */
const FIRST_CR0 = 0x11;

/** The area as it is before the guest runs: interrupts off, no translation known. */
export function initialMonitorData(): Uint8Array {
  const bytes = new Uint8Array(MONITOR_DATA_BYTES);
  for (let byte = 0; byte < 256; byte++) {
    const simple = (byte & TF_NT_IOPL & ~TF) === 0;
    bytes[POPF_CLASS + byte] = simple ? (byte & IF_IN_BYTE) + 1 : 0;
    bytes[RETURNS_OUT + byte] = (byte & 3) === 3 ? 1 : 0;
    bytes[LOADS_AS_TOLD + byte] = (byte & 3) === 1 ? 0 : 1;
    bytes[KEEPS_IF + byte] = simple && (byte & IF_IN_BYTE) !== 0 ? 1 : 0;
    bytes[KEEPS_MODE + byte] = (byte & VM_IN_BYTE) === 0 ? 1 : 0;
    bytes[FRAME_FITS + byte] = byte === 0 || byte >= FRAME_BYTES ? 1 : 0;
  }
  const view = new DataView(bytes.buffer);
  view.setInt32(MINUS_CR0, -FIRST_CR0, true);
  view.setUint32(TS_IS_CLEAR, 1, true);
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
