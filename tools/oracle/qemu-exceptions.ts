import { ARENA_BASE, createArena, IDT, PDPT } from '../../libs/core/x86/src/testing/arena.js';
import type { OracleCase, OracleResult } from '../../libs/core/x86/src/testing/case.js';

/** Where QEMU 7.2 (TCG) departs from the SDM, and what is done about it. The last column of rows that are only kept out of the generator. */
interface QemuException {
  what: string;
  /** Why the processor is right. */
  source: string;
  /** Corrects a result, in place; absent where the generator does not make such cases. */
  correct?: (oracleCase: OracleCase, result: OracleResult) => void;
}

const FAULTS = new Set([0, 5, 6, 11, 13, 14]), PUSHES_ERROR_CODE = new Set([11, 13, 14]);
const RF = 0x1_0000;
const template = createArena();

/** Sets bits of one byte of the memory that a case left. The runs of changed bytes come out as a comparison with the original finds them. */
function setBits({ patches }: OracleCase, result: OracleResult, offset: number, bits: number): void {
  const patch = patches.findLast(({ offset: start, bytes }) => offset >= start && offset < start + bytes.length);
  const original = patch ? (patch.bytes[offset - patch.offset] as number) : (template[offset] as number);
  const changed = new Map(result.changes.flatMap((run) => Array.from(run.bytes, (byte, index): [number, number] => [run.offset + index, byte])));
  const value = (changed.get(offset) ?? original) | bits;
  if (value === original) changed.delete(offset);
  else changed.set(offset, value);
  const runs: { offset: number; bytes: number[] }[] = [];
  for (const [at, byte] of [...changed].sort((a, b) => a[0] - b[0])) {
    const last = runs.at(-1);
    if (last && last.offset + last.bytes.length === at) last.bytes.push(byte);
    else runs.push({ offset: at, bytes: [byte] });
  }
  result.changes = runs.map((run) => ({ offset: run.offset, bytes: Uint8Array.from(run.bytes) }));
}

const isInto = ({ patches }: OracleCase): boolean => patches.some(({ bytes }) => bytes.length === 1 && bytes[0] === 0xce);

export const QEMU_EXCEPTIONS: readonly QemuException[] = [
  {
    what: 'sets an accessed bit in PDPTEs of PAE paging',
    source: 'SDM Vol. 3A 4.4.1: bits 8:5 of a PDPTE are reserved',
    correct: (_, result) => {
      result.changes = result.changes.filter(({ offset }) => offset < PDPT || offset >= PDPT + 32);
    },
  },
  {
    what: 'pushes error codes without EXT when an exception is met while an exception is delivered',
    source: 'SDM Vol. 3A 6.13; INT n, INT3 and INTO leave EXT clear',
    correct: (oracleCase, result) => {
      if (oracleCase.delivered !== 0 && !isInto(oracleCase) && result.vector >= 10 && result.vector <= 13) result.error |= 1;
    },
  },
  {
    what: 'reports a reserved bit in an upper paging entry without P',
    source: 'SDM Vol. 3A 4.7: RSVD can be set only with P',
    correct: (_, result) => {
      if (result.vector === 14 && result.error & 8) result.error |= 1;
    },
  },
  { what: 'never sets the accessed bit of code segments reached by far transfers, nor of the stack a gate switches to', source: 'SDM Vol. 3A 3.4.5.1; such descriptors are accessed already' },
  { what: 'takes IA32_SYSENTER_CS 1–3 for a selector', source: 'SDM Vol. 2, SYSENTER: #GP(0) when bits 15:2 are zero; not generated' },
  {
    what: 'never sets EFLAGS.RF in the image that a fault pushes',
    source: 'SDM Vol. 3A 17.3.1.1',
    correct: (oracleCase, result) => {
      const vector = 31 - Math.clz32(oracleCase.delivered);
      if (result.vector !== 3 || !FAULTS.has(vector) || oracleCase.name !== 'exception delivery') return;
      const gateType = oracleCase.patches.findLast(({ offset }) => offset === IDT + vector * 8)?.bytes[5] ?? 0;
      if (!(gateType & 8)) return; // a 16-bit gate pushes FLAGS
      const eflags = (result.registers[4] as number) - ARENA_BASE + 8 + (PUSHES_ERROR_CODE.has(vector) ? 4 : 0);
      setBits(oracleCase, result, eflags + 2, RF >>> 16);
    },
  },
  { what: 'checks no code-segment limit on far RET, IRET and gates, and gives its #GP the selector on far CALL', source: 'SDM Vol. 2, RET, IRET, INT, CALL: #GP(0); tested by hand-written cases' },
  { what: 'raises #TS for an absent stack segment of an inner ring', source: 'SDM Vol. 2, CALL and INT: #SS(selector); tested by hand-written cases' },
  { what: 'raises #GP before #UD for MOV CR1, CR5–7, DR4 and DR5 above ring 0', source: 'the host processor raises #UD there; not generated above ring 0' },
  { what: 'lets LTR load a null selector', source: 'SDM Vol. 2, LTR: #GP(0); not generated' },
  { what: 'keeps reserved bits of DR6 (12) and DR7 (15:14)', source: 'SDM Vol. 3B 17.2.3, 17.2.4; not written' },
  { what: 'raises #GP for a JMP through a call gate to absent code', source: 'SDM Vol. 2, JMP: #NP(selector); not generated' },
  { what: 'does not know INT1 (F1)', source: 'SDM Vol. 3A 6.15; runs on the host processor' },
  { what: 'gives CS the DPL of conforming code as RPL after a call gate', source: 'SDM Vol. 2, CALL: CS(RPL) := CPL; not generated' },
  { what: 'takes 8F /1 to /7 for POP, and C6 and C7 /1 to /7 for MOV', source: 'SDM Vol. 2, Table A-6, groups 1A and 11; not generated' },
  { what: 'checks neither limit nor type on data accesses and stack pushes', source: 'SDM Vol. 3A 5.3, 5.4; such cases run on the host processor, with segments of its LDT' },
  { what: 'ignores LOCK where it is not allowed', source: 'SDM Vol. 2, LOCK; such cases run on the host processor' },
  { what: 'gives read-modify-write faults the error code of a read', source: 'SDM Vol. 3A 4.7; such cases run on the host processor' },
  { what: 'sets PDE.A when the page-table entry is absent', source: 'SDM Vol. 3A 4.8; directory entries of such cases are accessed already' },
  { what: 'lets CR0.PG be set without PE and NW without CD', source: 'SDM Vol. 2, MOV CR: #GP(0); tested by hand-written cases' },
  { what: 'reads PDPTEs at each walk instead of at MOV CR3', source: 'SDM Vol. 3A 4.4.1; tested by hand-written cases' },
  { what: 'keeps the upper half of the offset of a 16-bit gate', source: 'SDM Vol. 3A 5.8.3; such gates have none here' },
  { what: 'answers unknown MSRs', source: 'SDM Vol. 2, RDMSR: #GP(0); tested by hand-written cases' },
];

export function correctQemu(oracleCase: OracleCase, result: OracleResult): OracleResult {
  for (const { correct } of QEMU_EXCEPTIONS) correct?.(oracleCase, result);
  return result;
}
