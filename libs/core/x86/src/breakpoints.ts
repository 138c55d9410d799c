import type { Cpu } from './cpu.js';
import { flushPage } from './paging.js';
import { CR4, CS, DR0, DR7, SEGMENTS, SEGMENT_BASE, SEGMENT_WORDS } from './state.js';

/**
 * Breakpoints of DR0–DR3 (SDM Vol. 3B 17.2). DR7, for breakpoint n:
 *
 *   bits 2n, 2n+1     L and G: enabled when either is set
 *   bits 16+4n, +1    R/W: 00 instruction, 01 data writes, 11 data reads and writes, 10 port accesses (with CR4.DE)
 *   bits 18+4n, +1    LEN: 00 one byte, 01 two, 11 four; the address is aligned to it
 *
 * While any is enabled the processor executes one instruction at a time, and pages that hold a data breakpoint stay out of the TLB, so that
 * each access to them comes by `noteAccess`.
 */

const INSTRUCTION = 0, WRITES = 1, PORTS = 2, READS_AND_WRITES = 3;
const CR4_DE = 8;
const LENGTHS = [1, 2, 8, 4];

const isEnabled = (dr7: number, n: number): boolean => ((dr7 >>> (2 * n)) & 3) !== 0;
const kindOf = (dr7: number, n: number): number => (dr7 >>> (16 + 4 * n)) & 3;
const lengthOf = (dr7: number, n: number): number => LENGTHS[(dr7 >>> (18 + 4 * n)) & 3]!;
const isData = (kind: number): boolean => kind === WRITES || kind === READS_AND_WRITES;

/** To be called after a change of a debug register: translations of watched pages are dropped. */
export function breakpointsChanged(cpu: Cpu): void {
  const dr7 = cpu.i32[DR7]!;
  cpu.debugging = (dr7 & 0xff) !== 0;
  for (let n = 0; n < 4; n++) if (isEnabled(dr7, n) && isData(kindOf(dr7, n))) flushPage(cpu, cpu.i32[DR0 + n]!);
}

/** Whether a page holds a data breakpoint. */
export function isWatched(cpu: Cpu, page: number): boolean {
  const dr7 = cpu.i32[DR7]!;
  for (let n = 0; n < 4; n++) if (isEnabled(dr7, n) && isData(kindOf(dr7, n)) && ((cpu.i32[DR0 + n]! ^ page) & 0xfffff000) === 0) return true;
  return false;
}

/** An access to memory: remember which breakpoints it met, for the trap behind the instruction. */
export function noteAccess(cpu: Cpu, linear: number, bytes: number, write: boolean): void {
  const dr7 = cpu.i32[DR7]!;
  for (let n = 0; n < 4; n++) {
    const kind = kindOf(dr7, n);
    if (!isEnabled(dr7, n) || !isData(kind) || (kind === WRITES && !write)) continue;
    if (overlaps(cpu, n, lengthOf(dr7, n), linear >>> 0, bytes)) cpu.breakpointsMet |= 1 << n;
  }
}

/** An access to ports: remember which I/O breakpoints it met (SDM Vol. 3B 17.2.4). */
export function notePortAccess(cpu: Cpu, port: number, bytes: number): void {
  if ((cpu.i32[CR4]! & CR4_DE) === 0) return;
  const dr7 = cpu.i32[DR7]!;
  for (let n = 0; n < 4; n++) {
    if (isEnabled(dr7, n) && kindOf(dr7, n) === PORTS && overlaps(cpu, n, lengthOf(dr7, n), port, bytes)) cpu.breakpointsMet |= 1 << n;
  }
}

function overlaps(cpu: Cpu, n: number, length: number, first: number, bytes: number): boolean {
  const from = (cpu.i32[DR0 + n]! & -length) >>> 0;
  return first < from + length && first + bytes > from;
}

/** Instruction breakpoints at EIP: bits for DR6. */
export function instructionBreakpoints(cpu: Cpu, eip: number): number {
  const dr7 = cpu.i32[DR7]!;
  const linear = (cpu.i32[SEGMENTS + CS * SEGMENT_WORDS + SEGMENT_BASE]! + eip) | 0;
  let met = 0;
  for (let n = 0; n < 4; n++) if (isEnabled(dr7, n) && kindOf(dr7, n) === INSTRUCTION && cpu.i32[DR0 + n] === linear) met |= 1 << n;
  return met;
}
