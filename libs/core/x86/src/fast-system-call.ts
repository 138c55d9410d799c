import type { Cpu } from './cpu.js';
import { RIGHTS_BIG, RIGHTS_GRANULAR, RIGHTS_PRESENT, RIGHTS_S } from './descriptor.js';
import { FAST_SYSTEM_CALLS } from './event-counters.js';
import { GP, raise } from './fault.js';
import { IF, RF, VM, getEflags, setEflags } from './flags.js';
import { segmentAt } from './segmentation.js';
import { modeChanged } from './slots.js';
import { CPL, CS, ECX, EDX, EIP, ESP, SEGMENT_BASE, SEGMENT_LIMIT, SEGMENT_RIGHTS, SEGMENT_SELECTOR, SS, SYSENTER_CS, SYSENTER_EIP, SYSENTER_ESP } from './state.js';

/* SYSENTER and SYSEXIT (SDM Vol. 2B): flat segments are made up from IA32_SYSENTER_CS; no descriptor is read. */

const FLAT_CODE = RIGHTS_GRANULAR | RIGHTS_BIG | RIGHTS_PRESENT | RIGHTS_S | 0xb;
const FLAT_DATA = RIGHTS_GRANULAR | RIGHTS_BIG | RIGHTS_PRESENT | RIGHTS_S | 0x3;

function setFlat(cpu: Cpu, segment: number, selector: number, rights: number, level: number): void {
  const at = segmentAt(segment);
  cpu.i32[at + SEGMENT_SELECTOR] = selector & 0xffff;
  cpu.i32[at + SEGMENT_BASE] = 0;
  cpu.i32[at + SEGMENT_LIMIT] = -1;
  cpu.i32[at + SEGMENT_RIGHTS] = rights | (level << 5);
}

function enterFlat(cpu: Cpu, codeSelector: number, stackSelector: number, level: number): void {
  setFlat(cpu, CS, codeSelector, FLAT_CODE, level);
  setFlat(cpu, SS, stackSelector, FLAT_DATA, level);
  cpu.i32[CPL] = level;
}

/**
 * SYSENTER to level 0. A deprivileged guest gets #GP: level 0 is the monitor's, which keeps IA32_SYSENTER_CS zero on the
 * processor whatever the guest has asked for.
 */
export function sysenter(cpu: Cpu): void {
  const base = cpu.i32[SYSENTER_CS]! & 0xfffc;
  if (base === 0 || cpu.controls.deprivileged) raise(cpu, GP, 0);
  setEflags(cpu, getEflags(cpu) & ~(VM | IF | RF));
  enterFlat(cpu, base, base + 8, 0);
  cpu.i32[ESP] = cpu.i32[SYSENTER_ESP]!;
  cpu.i32[EIP] = cpu.i32[SYSENTER_EIP]!;
  modeChanged(cpu);
  cpu.f64[FAST_SYSTEM_CALLS]! += 1;
}

/** SYSEXIT to level 3: EIP from EDX, ESP from ECX. */
export function sysexit(cpu: Cpu): void {
  const base = cpu.i32[SYSENTER_CS]! & 0xfffc;
  if (base === 0 || cpu.i32[CPL] !== 0) raise(cpu, GP, 0);
  enterFlat(cpu, (base + 16) | 3, (base + 24) | 3, 3);
  cpu.i32[ESP] = cpu.i32[ECX]!;
  cpu.i32[EIP] = cpu.i32[EDX]!;
  modeChanged(cpu);
  cpu.f64[FAST_SYSTEM_CALLS]! += 1;
}
