import {
  FRAME_FITS, GATE_FRAME, INTERPRET, JUMP, KEEPS_IF, KEEPS_MODE, KEPT_IF, LOADS_AS_TOLD, MINUS_CR0, PENDING, POPF_CLASS, RETURNS_OUT, saved, SCRATCH, selectorField, TARGET, TS_IS_CLEAR, VIRTUAL_IF, VIRTUAL_IF_BYTE,
  VIRTUAL_IOPL, VIRTUAL_TS,
} from './monitor-data.js';

const REGISTERS = ['EAX', 'ECX', 'EDX', 'EBX', 'ESP', 'EBP', 'ESI', 'EDI'];
const SEGMENTS = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS'];

/** What listings call the fields of the monitor data area. */
const NAMES: ReadonlyMap<number, string> = new Map([
  [VIRTUAL_IF, 'virtual IF'], [VIRTUAL_IF_BYTE, 'virtual IF'], [PENDING, 'an interrupt waits'], [TARGET, 'where to'], [JUMP, 'its place in the cache'], [SCRATCH, 'scratch'], [SCRATCH + 1, 'scratch'],
  [VIRTUAL_IOPL, 'virtual IOPL'], [KEPT_IF, 'kept IF'], [INTERPRET, 'interpret'], [VIRTUAL_TS, 'virtual CR0.TS'], [MINUS_CR0, 'minus the virtual CR0'], [TS_IS_CLEAR, 'the real CR0.TS is 0'],
  ...REGISTERS.map((name, register) => [saved(register), `saved ${name}`] as const),
  ...SEGMENTS.map((name, segment) => [selectorField(segment), `the guest's ${name}`] as const),
  ...Object.entries(GATE_FRAME).map(([name, offset]) => [offset, `gate frame: ${name.toUpperCase()}`] as const),
  [POPF_CLASS, 'table: what POPF does with bits 8–15'], [RETURNS_OUT, 'table: whether a CS leads to ring 3'], [KEEPS_IF, 'table: whether bits 8–15 keep IF'], [KEEPS_MODE, 'table: whether bits 16–23 keep VM 0'],
  [FRAME_FITS, 'table: whether a frame lies in one page'], [LOADS_AS_TOLD, 'table: whether the copied descriptor decides'],
]);

/** GS with a displacement, indexed by a register or not, as the disassembler prints it. */
const THROUGH_GS = /gs:\[(?:e[a-z]{2}\+)?(0x[0-9a-f]+|\d+)\]/;

/** The field of monitor data that an instruction of translated code names; null if none, or one that has no name of its own. */
export function fieldNamed(text: string): string | null {
  const offset = THROUGH_GS.exec(text)?.[1];
  return offset === undefined ? null : NAMES.get(parseInt(offset)) ?? null;
}
