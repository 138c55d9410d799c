/**
 * Annotation NOPs: `0F 1F 80 imm32` (NOP [EAX+disp32]), a true no-op on every processor and legal in ring 3. The guest
 * marks where an operation begins and ends; the processor model recognizes the displacement:
 *
 *   31      24 23    16 15             0
 *  ┌──────────┬────────┬────────────────┐
 *  │ 0x52 'R' │  kind  │   operation    │
 *  └──────────┴────────┴────────────────┘
 */
export const MARK_TAG = 0x52;
/** `begin` and `end` enclose all repetitions of one operation; `lap` stands after each repetition. */
export const MarkKind = { Begin: 1, End: 2, Lap: 3 } as const;

/** Operation numbers, shared with the guests' header `marks.h`. `boot` begins at the first instruction by itself. */
export const OPERATIONS = {
  boot: 1, syscall: 2, in: 3, 'cr-write': 4, 'call-ret': 5, 'page-fault': 6, 'divide-error': 7, 'pte-modify': 8,
  'context-switch': 9, fork: 10, 'disk-read': 11, print: 12,
  /** The measuring loop without an operation in it; subtracted by tests. */ empty: 13,
  /** 32 entries in one batch (paravirt: one hypercall). */ 'pte-modify-batch': 14,
  /** One instruction of the probe guest (libs/guests/src/probes.ts). */ probe: 15,
} as const;
export type OperationName = keyof typeof OPERATIONS;

export interface Mark { kind: number; operation: number }
export function parseMark(imm32: number): Mark | null {
  if (imm32 >>> 24 !== MARK_TAG) return null;
  return { kind: (imm32 >>> 16) & 0xff, operation: imm32 & 0xffff };
}
