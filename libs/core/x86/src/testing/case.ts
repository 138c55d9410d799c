import { Random } from './random.js';

/** Order of `OracleCase.selectors`: the encoding order of segment registers. */
export const SELECTOR_NAMES = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'] as const;
export const GENERAL_REGISTER_NAMES = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi'] as const;

/** Bytes laid over the arena's template before a case starts. */
export interface ArenaPatch {
  offset: number;
  bytes: Uint8Array;
}

/**
 * One prepared machine state. The code bytes are among the patches; the case runs until an exception whose gate is a capture gate
 * (all 32 unless a patch of the IDT says otherwise; INT3 ends a case that went well).
 */
export interface OracleCase {
  /** What the case is about: shown in findings, and counted for coverage. */
  name: string;
  registers: Uint32Array;
  eip: number;
  eflags: number;
  /** ES, CS, SS, DS, FS, GS; loaded with the descriptors that the patched GDT and LDT hold for them. CPL = CS.RPL. */
  selectors: Uint32Array;
  cr0: number;
  cr3: number;
  cr4: number;
  efer: number;
  /** IA32_SYSENTER_CS, _ESP, _EIP. */
  sysenter: Uint32Array;
  patches: ArenaPatch[];
  /** EFLAGS bits that the SDM leaves undefined after this case. */
  undefinedFlags: number;
  /** Exceptions (bit n: vector n) that the case's own IDT delivers to its own handlers, instead of ending the case. */
  delivered: number;
}

/** What a case ended with. */
export interface OracleResult {
  /** Exception that ended it (3: INT3, the normal end), or one of `SHUTDOWN`, `TIMEOUT`. */
  vector: number;
  error: number;
  cr2: number;
  registers: Uint32Array;
  eip: number;
  eflags: number;
  selectors: Uint32Array;
  cr0: number;
  cr4: number;
  dr6: number;
  /** TR's selector, and the table registers. */
  tr: number;
  gdtrBase: number;
  gdtrLimit: number;
  idtrBase: number;
  idtrLimit: number;
  /** Runs of bytes of the arena that changed, ascending. */
  changes: ArenaPatch[];
}

/** Triple fault. */
export const SHUTDOWN = 0x100;
/** The oracle gave up waiting: the case is dropped. */
export const TIMEOUT = 0x101;

/** CR2 before every case: a value that no fault can leave. */
export const INITIAL_CR2 = 0xc0de_c0de;

/** General registers of case `seed` before the case's own choices: so a recorded case stores only what differs. */
export function seededRegisters(seed: number): Uint32Array {
  const random = new Random(seed);
  return Uint32Array.from({ length: 8 }, () => random.operand());
}

/** Where two results differ, as lines for a person; empty when they agree. `flagsMask`: EFLAGS bits not compared. */
export function compareResults(expected: OracleResult, actual: OracleResult, flagsMask: number): string[] {
  const lines: string[] = [];
  const check = (what: string, want: number, got: number): void => {
    if (want >>> 0 !== got >>> 0) lines.push(`${what}: expected ${hex(want)}, got ${hex(got)}`);
  };
  check('vector', expected.vector, actual.vector);
  if (expected.vector === SHUTDOWN || actual.vector === SHUTDOWN) return lines;
  check('error code', expected.error, actual.error);
  check('cr2', expected.cr2, actual.cr2);
  GENERAL_REGISTER_NAMES.forEach((name, index) => check(name, expected.registers[index] as number, actual.registers[index] as number));
  check('eip', expected.eip, actual.eip);
  check('eflags', expected.eflags & ~flagsMask, actual.eflags & ~flagsMask);
  SELECTOR_NAMES.forEach((name, index) => check(name, expected.selectors[index] as number, actual.selectors[index] as number));
  for (const field of ['cr0', 'cr4', 'dr6', 'tr', 'gdtrBase', 'gdtrLimit', 'idtrBase', 'idtrLimit'] as const) check(field, expected[field], actual[field]);
  const want = expected.changes.map(formatPatch).join(' ');
  const got = actual.changes.map(formatPatch).join(' ');
  if (want !== got) lines.push(`memory: expected {${want}}, got {${got}}`);
  return lines;
}

export function hex(value: number): string {
  return `0x${(value >>> 0).toString(16)}`;
}

export function formatPatch({ offset, bytes }: ArenaPatch): string {
  return `${offset.toString(16)}:${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}
