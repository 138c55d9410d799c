import type { Cpu } from './cpu.js';
import { AC as ALIGNMENT_CHECK, raise } from './fault.js';
import { AC } from './flags.js';
import { CPL, CR0, EFLAGS_SYSTEM } from './state.js';

const CR0_AM = 1 << 18;

/** Whether misaligned accesses to data fault: at CPL 3, with CR0.AM and EFLAGS.AC set (SDM Vol. 3A, "Interrupt 17 – Alignment Check Exception"). */
export function checksAlignment(cpu: Cpu): boolean {
  return (cpu.i32[EFLAGS_SYSTEM]! & AC) !== 0 && (cpu.i32[CR0]! & CR0_AM) !== 0 && cpu.i32[CPL] === 3;
}

/**
 * Raise #AC(0) for an access of `bytes` (2 or 4) that is not aligned to its size. To be called behind the page walk, whose #PF comes first. Accesses of
 * the processor itself (`user` false: descriptor tables, an inner stack) are never checked.
 */
export function checkAlignment(cpu: Cpu, linear: number, bytes: 2 | 4, user: boolean): void {
  if ((linear & (bytes - 1)) !== 0 && user && checksAlignment(cpu)) raise(cpu, ALIGNMENT_CHECK, 0);
}
