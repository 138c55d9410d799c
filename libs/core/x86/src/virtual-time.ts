import type { Cpu } from './cpu.js';
import { EXECUTED, EXTRA_EXECUTED, REMAINING, RETIRED, SKIPPED } from './state.js';

/**
 * Virtual time in ns when the instruction being executed began, exact in the middle of a slice: RETIRED counts up to the beginning of the
 * slice, the spent part of its budget is what has retired since. Between slices nothing is spent.
 */
export function virtualTime(cpu: Cpu): number {
  return cpu.f64[RETIRED]! + cpu.f64[SKIPPED]! + (cpu.sliceBudget - cpu.i32[REMAINING]!);
}

/** Instructions that the processor had executed when the one being executed began, exact in the middle of a slice as well. */
export function executedSoFar(cpu: Cpu): number {
  return cpu.f64[EXECUTED]! + (cpu.sliceBudget - cpu.i32[REMAINING]!) + cpu.i32[EXTRA_EXECUTED]!;
}
