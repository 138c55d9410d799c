import { PDPT } from '../../libs/core/x86/src/testing/arena.js';
import type { OracleCase, OracleResult } from '../../libs/core/x86/src/testing/case.js';

/** Where QEMU 7.2 (TCG) departs from the SDM, and what is done about it. The last column of rows that are only kept out of the generator. */
interface QemuException {
  what: string;
  /** Why the processor is right. */
  source: string;
  /** Corrects a result, in place; absent where the generator does not make such cases. */
  correct?: (oracleCase: OracleCase, result: OracleResult) => void;
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
  { what: 'never sets EFLAGS.RF in the image that a fault pushes', source: 'SDM Vol. 3A 17.3.1.1; RF is compared nowhere' },
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
