import type { OperationName } from '@ringside/machine';
import { usageFailure } from '../failure.js';

/** The operations of a comparison, in the order of its table, each with what it is exactly. */
export const COMPARED: readonly { name: OperationName; exactly: string }[] = [
  { name: 'boot', exactly: 'first instruction to shell prompt' },
  { name: 'syscall', exactly: 'the cheapest system call from ring 3 and back' },
  { name: 'in', exactly: 'IN from port 0x80' },
  { name: 'cr-write', exactly: 'CLTS, then MOV CR0 that sets TS; paravirt: two fpu_taskswitch' },
  { name: 'call-ret', exactly: 'a near CALL and its RET in the kernel' },
  { name: 'page-fault', exactly: 'a true fault in ring 3; the handler skips the instruction' },
  { name: 'divide-error', exactly: '#DE in ring 3; the handler skips the instruction' },
  { name: 'pte-modify', exactly: 'one store that changes the frame of a present entry, no INVLPG; paravirt: one mmu_update' },
  { name: 'pte-modify-batch', exactly: '32 such entries; paravirt: one mmu_update with 32 requests' },
  { name: 'context-switch', exactly: 'two processes yield to each other once' },
  { name: 'fork', exactly: 'fork, exit and wait, copy-on-write' },
  { name: 'disk-read', exactly: 'read one sector from ring 3' },
  { name: 'print', exactly: 'print a page: from the program\'s system call to the document' },
];

/** `all`, or names; each once, in the order of the table. `empty`, the measuring loop without an operation, may be named as well. */
export function parseOperations(names: readonly string[]): OperationName[] {
  const known: readonly OperationName[] = [...COMPARED.map(({ name }) => name), 'empty'];
  const unknown = names.find((name) => name !== 'all' && !known.some((one) => one === name));
  if (unknown !== undefined) throw usageFailure(`There is no operation "${unknown}"; there are ${known.join(', ')}, or all.`);
  if (names.length === 0) throw usageFailure('--ops wants at least one operation, or all.');
  return known.filter((name) => names.includes(name) || (names.includes('all') && name !== 'empty'));
}
