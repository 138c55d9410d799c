import type { Cpu } from './cpu.js';
import { LOOKUP_JUMPS } from './event-counters.js';
import { ExitReason } from './exit-reason.js';
import { GP, leave, raise } from './fault.js';
import type { InstructionFunction } from './instruction.js';
import { effectiveAddress, push32 } from './operands.js';
import { SLOT_A, SLOT_IMMEDIATE, SLOT_META, META_OPERAND16 } from './slot-layout.js';
import { EIP, INTERRUPT_SHADOW, SHADOW_STI } from './state.js';

/**
 * The instructions that translated code reaches monitor data with: those below, under a GS override. No segment and no page is asked: the guest's GS holds
 * what the guest put there, and its linear space has no room taken away. The fields are aligned to their size (translation/monitor-data.ts).
 */

/** Byte offset in the VM's memory of the operand. */
function place(cpu: Cpu, slot: number, bytes: number): number {
  const translated = cpu.translatedCode;
  const offset = effectiveAddress(cpu, slot) >>> 0;
  if (translated === null || offset + bytes > translated.dataBytes) raise(cpu, GP, 0);
  return cpu.monitorBase + translated.dataOffset + offset;
}

const register = (cpu: Cpu, slot: number): number => cpu.code.slots[slot + SLOT_A]!;

/** By opcode row; C6/0 that commits with the virtual IF is STI. */
export const MONITOR_DATA_INSTRUCTIONS: Readonly<Record<string, InstructionFunction>> = {
  '88': (cpu, slot) => { cpu.u8[place(cpu, slot, 1)] = cpu.u8[register(cpu, slot)]!; },
  '89': (cpu, slot) => { cpu.i32[place(cpu, slot, 4) >> 2] = cpu.i32[register(cpu, slot)]!; },
  '8B': (cpu, slot) => {
    if ((cpu.code.slots[slot + SLOT_META]! & META_OPERAND16) !== 0) cpu.u16[register(cpu, slot) << 1] = cpu.u16[place(cpu, slot, 2) >> 1]!;
    else cpu.i32[register(cpu, slot)] = cpu.i32[place(cpu, slot, 4) >> 2]!;
  },
  'C6/0': (cpu, slot) => { cpu.u8[place(cpu, slot, 1)] = cpu.code.slots[slot + SLOT_IMMEDIATE]!; },
  'STI': (cpu, slot) => {
    const translated = cpu.translatedCode!;
    const before = translated.interruptFlag;
    cpu.u8[place(cpu, slot, 1)] = cpu.code.slots[slot + SLOT_IMMEDIATE]!;
    if (!before && translated.interruptFlag) cpu.i32[INTERRUPT_SHADOW] = SHADOW_STI;
  },
  '0FB6': (cpu, slot) => { cpu.i32[register(cpu, slot)] = cpu.u8[place(cpu, slot, 1)]!; },
  '0FB7': (cpu, slot) => { cpu.i32[register(cpu, slot)] = cpu.u16[place(cpu, slot, 2) >> 1]!; },
  'FF/6': (cpu, slot) => push32(cpu, cpu.i32[place(cpu, slot, 4) >> 2]!),
  'FF/4': (cpu, slot) => {
    cpu.i32[EIP] = cpu.i32[place(cpu, slot, 4) >> 2]!;
    cpu.f64[LOOKUP_JUMPS]! += 1;
  },
};

/** A gate of translated code: to the processor's own part of the monitor, which finds out by EIP what is wanted (translated-code.ts). */
export function translationGate(cpu: Cpu): void {
  cpu.exit.access = null;
  leave(cpu, ExitReason.TranslationMiss);
}
