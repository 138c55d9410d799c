import type { Cpu } from './cpu.js';
import { GP, raise } from './fault.js';
import { CPL, EFLAGS_SYSTEM } from './state.js';
import { ioBitmapAllows } from './task-state-segment.js';

const IOPL_SHIFT = 12;

export const iopl = (cpu: Cpu): number => (cpu.i32[EFLAGS_SYSTEM]! >>> IOPL_SHIFT) & 3;

/**
 * I/O permission of IN, OUT, INS and OUTS (SDM Vol. 1 19.5): anything where CPL ≤ IOPL, else what the TSS's bitmap allows; #GP(0) otherwise.
 * It comes before any VM exit (SDM Vol. 3C 25.1.1).
 */
export function checkIo(cpu: Cpu, port: number, size: number): void {
  if (cpu.i32[CPL]! > iopl(cpu) && !ioBitmapAllows(cpu, port, size)) raise(cpu, GP, 0);
}
