import { cpuidLeaf, I686_FEATURES, type InstructionAssist } from '@ringside/x86';
import type { DeprivilegedExit } from '../deprivileged/deprivileged-exit.js';
import { EAX } from '../deprivileged/guest-frame.js';

/**
 * Sensitive instructions that do not trap in ring 1: under binary translation they never run there, and are answered from the state that the guest
 * believes in. True if it was one of them.
 */
export async function emulateSensitive(exit: DeprivilegedExit, instruction: InstructionAssist): Promise<boolean> {
  const { vcpu, frame } = exit;
  switch (instruction.name) {
    case 'SGDT Mt': await storeTable(exit, instruction, vcpu.gdtr); return true;
    case 'SIDT Mt': await storeTable(exit, instruction, vcpu.idtr); return true;
    case 'SLDT Ev': await storeWord(exit, instruction, vcpu.ldtr.selector); return true;
    case 'STR Ev': await storeWord(exit, instruction, vcpu.tr.selector); return true;
    case 'SMSW Ev': await storeWord(exit, instruction, vcpu.cr0); return true;
    case 'CPUID': {
      const leaf = cpuidLeaf(I686_FEATURES, frame.general[EAX]!);
      frame.general.set([leaf.eax, leaf.ecx, leaf.edx, leaf.ebx], EAX);
      return true;
    }
    default: return false;
  }
}

/** Limit and base, six bytes (SDM Vol. 2B, SGDT). */
async function storeTable({ memory }: DeprivilegedExit, { linear }: InstructionAssist, { base, limit }: { base: number; limit: number }): Promise<void> {
  const bytes = new Uint8Array(6);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, limit, true);
  view.setUint32(2, base, true);
  await memory.write(linear!, bytes, false);
}

/** To memory 16 bits, to a 32-bit register all of it, to a 16-bit register its lower half. */
async function storeWord({ memory, frame }: DeprivilegedExit, { linear, b, operandSize }: InstructionAssist, value: number): Promise<void> {
  if (linear !== null) await memory.write(linear, Uint8Array.of(value, value >>> 8), false);
  else frame.general[b] = operandSize === 4 ? value : ((frame.general[b]! & 0xffff_0000) | (value & 0xffff)) >>> 0;
}
