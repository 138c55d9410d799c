import { breakpointsChanged } from './breakpoints.js';
import type { Cpu } from './cpu.js';
import { modeBits } from './mode.js';
import { CPL, CURRENT_SLOT, DR7, EIP } from './state.js';

/**
 * EIP behind the instruction being executed. The run loop advances EIP before it calls a function that may transfer control, and
 * puts it back if the instruction faults or exits, so this is EIP itself: also right between instructions.
 */
export function nextEip(cpu: Cpu): number {
  return cpu.i32[EIP]!;
}

/** Length in bytes of the instruction being executed. */
export function currentInstructionLength(cpu: Cpu): number {
  return (cpu.code.slots[cpu.i32[CURRENT_SLOT]! + 7]! >>> 8) & 15;
}

/** To be called after a change of CS, SS, DS, ES, CPL, CR0, CR3, CR4 or a debug register: what predecoded code depends on. */
export function modeChanged(cpu: Cpu): void {
  cpu.user = cpu.i32[CPL] === 3 ? 1 : 0;
  if (cpu.debugging || (cpu.i32[DR7]! & 0xff) !== 0) breakpointsChanged(cpu);
  const mode = modeBits(cpu);
  if (mode !== cpu.mode) {
    cpu.mode = mode;
    cpu.code.forgetJumps();
    if (cpu.translatedCode !== null) cpu.code.translatedJumps.fill(0);
  }
}
