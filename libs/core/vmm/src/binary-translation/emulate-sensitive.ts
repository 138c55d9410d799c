import { cpuidLeaf, I686_FEATURES, type InstructionAssist } from '@ringside/x86';
import type { DeprivilegedExit } from '../deprivileged/deprivileged-exit.js';
import { EAX } from '../deprivileged/guest-frame.js';
import { EFLAGS_IF, EFLAGS_IOPL } from '../deprivileged/virtual-cpu.js';

const EFLAGS_RF = 1 << 16, EFLAGS_VM = 1 << 17;
/** CF PF AF ZF SF TF DF OF NT AC ID. */
const POPF_FLAGS = 0x24_4dd5;

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
    case 'PUSHF v': await pushFlags(exit, instruction); return true;
    case 'POPF v': await popFlags(exit, instruction); return true;
    default: return false;
  }
}

/** The image as ring 0 would push it: RF and VM are 0 in it. */
async function pushFlags(exit: DeprivilegedExit, { operandSize }: InstructionAssist): Promise<void> {
  const { vcpu, frame, memory } = exit;
  const image = (frame.eflags & ~(EFLAGS_IF | EFLAGS_IOPL | EFLAGS_RF | EFLAGS_VM)) | vcpu.flags;
  const esp = (frame.esp - operandSize) >>> 0;
  await memory.write(exit.stackLinear(esp), Uint8Array.of(image, image >>> 8, image >>> 16, image >>> 24).subarray(0, operandSize), false);
  frame.esp = esp;
}

/** What ring 0 loads: IF and IOPL into the virtual ones, RF is cleared. */
async function popFlags(exit: DeprivilegedExit, { operandSize }: InstructionAssist): Promise<void> {
  const { vcpu, frame, memory } = exit;
  const bytes = await memory.read(exit.stackLinear(frame.esp), operandSize, false);
  const image = bytes.reduce((word, byte, n) => word | (byte << (8 * n)), 0);
  const mask = operandSize === 4 ? POPF_FLAGS : POPF_FLAGS & 0xffff;
  frame.eflags = ((frame.eflags & ~(mask | EFLAGS_RF)) | (image & mask) | EFLAGS_IF) >>> 0;
  vcpu.flags = image;
  frame.esp = (frame.esp + operandSize) >>> 0;
}

/** Limit and base, six bytes (SDM Vol. 2B, SGDT). */
async function storeTable({ memory, frame }: DeprivilegedExit, { linear }: InstructionAssist, { base, limit }: { base: number; limit: number }): Promise<void> {
  const bytes = new Uint8Array(6);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, limit, true);
  view.setUint32(2, base, true);
  await memory.write(linear!, bytes, frame.cpl === 3);
}

/** To memory 16 bits, to a 32-bit register all of it, to a 16-bit register its lower half. */
async function storeWord({ memory, frame }: DeprivilegedExit, { linear, b, operandSize }: InstructionAssist, value: number): Promise<void> {
  if (linear !== null) await memory.write(linear, Uint8Array.of(value, value >>> 8), frame.cpl === 3);
  else frame.general[b] = operandSize === 4 ? value : ((frame.general[b]! & 0xffff_0000) | (value & 0xffff)) >>> 0;
}
