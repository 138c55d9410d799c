import { SCRATCH_SLOT } from './code-cache.js';
import type { Cpu } from './cpu.js';
import { decode } from './decoder.js';
import { walkPointers } from './guest-walk.js';
import { operandLinearUnchecked } from './operands.js';
import { OPERATION_NAMES } from './operations.js';
import { INDEX_ADDRESS16, META_OPERAND16, META_REP, META_REPNE, SLOT_A, SLOT_B, SLOT_BASE, SLOT_IMMEDIATE, SLOT_INDEX, SLOT_META, SLOT_OP } from './slot-layout.js';
import { segmentOf } from './operands.js';
import { CURRENT_SLOT, ZERO } from './state.js';
import type { InstructionAssist } from './step.js';

const NARROW = ' (16)';
const REPEATED = 'REP ';

/** The guest instruction that a callout is for, from its bytes; the registers are the guest's. */
export function describeBytes(cpu: Cpu, bytes: Uint8Array): InstructionAssist {
  decode(cpu, bytes, 0, bytes.length, SCRATCH_SLOT, 0, cpu.mode);
  cpu.i32[CURRENT_SLOT] = SCRATCH_SLOT;
  return describeInstruction(cpu);
}

/** The decode assist of an exit for an instruction that ring -1 executes: the instruction, and for MOV to CR3 under PAE the entries that it loads. */
export function assistInstruction(cpu: Cpu, instruction: InstructionAssist): void {
  cpu.exit.instruction = instruction;
  if (instruction.name === 'MOV Cd,Rd' && instruction.a === 3 && cpu.controls.guestPaging?.pae === true) cpu.exit.walk = walkPointers(cpu, cpu.i32[instruction.b]!);
}

/** The instruction that just faulted, as decoded: nothing of it has happened, so its operands are still what they were. */
export function describeInstruction(cpu: Cpu): InstructionAssist {
  const slot = cpu.i32[CURRENT_SLOT]!;
  const { slots } = cpu.code;
  const meta = slots[slot + SLOT_META]!;
  let name = OPERATION_NAMES[slots[slot + SLOT_OP]!] ?? '';
  if (name.endsWith(NARROW)) name = name.slice(0, -NARROW.length);
  if (name.startsWith(REPEATED)) name = name.slice(REPEATED.length);
  const memory = slots[slot + SLOT_B]! < 0 && slots[slot + SLOT_BASE]! >= 0 && slots[slot + SLOT_BASE]! <= ZERO;
  return {
    name, length: (meta >>> 8) & 15, operandSize: (meta & META_OPERAND16) === 0 ? 4 : 2, repeated: (meta & (META_REP | META_REPNE)) !== 0,
    address16: (slots[slot + SLOT_INDEX]! & INDEX_ADDRESS16) !== 0, a: slots[slot + SLOT_A]!, b: slots[slot + SLOT_B]!, immediate: slots[slot + SLOT_IMMEDIATE]!,
    segment: segmentOf(cpu, slot), linear: memory ? operandLinearUnchecked(cpu, slot) >>> 0 : null,
  };
}
