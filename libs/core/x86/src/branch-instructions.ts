import type { Cpu } from './cpu.js';
import { GP, raise } from './fault.js';
import { condition, getEflags, ZF } from './flags.js';
import type { InstructionSet } from './instruction.js';
import { immediate, push16, push32, readE16, readE32, release, top16, top32 } from './operands.js';
import { CONDITIONS } from './opcodes.js';
import { CS, ECX, EIP, SEGMENTS, SEGMENT_LIMIT, SEGMENT_WORDS } from './state.js';

/**
 * Near transfers with every check; the forms for flat 32-bit code are in the run loop. When one of these is called, EIP stands behind the instruction.
 */

/** Target of a relative transfer; the slot holds it relative to the page of the instruction. */
function relativeTarget(cpu: Cpu, slot: number): number {
  const meta = cpu.code.slots[slot + 7]!;
  const page = cpu.i32[EIP]! - ((meta >>> 12) & 0xfff) - ((meta >>> 8) & 15);
  return (page + immediate(cpu, slot)) | 0;
}

const OPERAND16 = 1 << 26;
const isNarrow = (cpu: Cpu, slot: number): boolean => (cpu.code.slots[slot + 7]! & OPERAND16) !== 0;

/** #GP(0) when a target lies beyond the limit of CS; a 16-bit operand size cuts it to 16 bits. */
function checkedTarget(cpu: Cpu, slot: number, target: number): number {
  const cut = isNarrow(cpu, slot) ? target & 0xffff : target;
  if (cut >>> 0 > cpu.i32[SEGMENTS + CS * SEGMENT_WORDS + SEGMENT_LIMIT]! >>> 0) raise(cpu, GP, 0);
  return cut;
}

function jump(cpu: Cpu, slot: number): void {
  cpu.i32[EIP] = checkedTarget(cpu, slot, relativeTarget(cpu, slot));
}
function call(cpu: Cpu, slot: number, target: number): void {
  const checked = checkedTarget(cpu, slot, target);
  if (isNarrow(cpu, slot)) push16(cpu, cpu.i32[EIP]!);
  else push32(cpu, cpu.i32[EIP]!);
  cpu.i32[EIP] = checked;
}
function ret(cpu: Cpu, slot: number, bytes: number): void {
  const narrow = isNarrow(cpu, slot);
  const target = checkedTarget(cpu, slot, narrow ? top16(cpu) : top32(cpu));
  release(cpu, (narrow ? 2 : 4) + bytes);
  cpu.i32[EIP] = target;
}
const target = (cpu: Cpu, slot: number): number => (isNarrow(cpu, slot) ? readE16(cpu, slot) : readE32(cpu, slot));

/** LOOP and JECXZ count in CX or ECX by address size. */
function counter(cpu: Cpu, slot: number): number {
  return (cpu.code.slots[slot + 4]! & 0x1000) !== 0 ? cpu.i32[ECX]! & 0xffff : cpu.i32[ECX]!;
}
function loop(cpu: Cpu, slot: number, holds: boolean): void {
  const narrow = (cpu.code.slots[slot + 4]! & 0x1000) !== 0;
  const left = narrow ? (counter(cpu, slot) - 1) & 0xffff : (counter(cpu, slot) - 1) | 0;
  const next = left !== 0 && holds ? checkedTarget(cpu, slot, relativeTarget(cpu, slot)) : cpu.i32[EIP]!;
  if (narrow) cpu.u16[ECX << 1] = left;
  else cpu.i32[ECX] = left;
  cpu.i32[EIP] = next;
}
const isZero = (cpu: Cpu): boolean => (getEflags(cpu) & ZF) !== 0;

function conditional(cc: number): InstructionSet {
  const jcc = (cpu: Cpu, slot: number): void => {
    if (condition(cpu, cc)) jump(cpu, slot);
  };
  return { [`J${CONDITIONS[cc]!} Jb`]: jcc, [`J${CONDITIONS[cc]!} Jz`]: jcc };
}

export const BRANCH_INSTRUCTIONS: InstructionSet = {
  ...Object.assign({}, ...CONDITIONS.map((_, cc) => conditional(cc))) as InstructionSet,
  'JMP Jb': jump, 'JMP Jz': jump,
  'JMP Ev': (cpu, slot) => { cpu.i32[EIP] = checkedTarget(cpu, slot, target(cpu, slot)); },
  'CALL Jz': (cpu, slot) => call(cpu, slot, relativeTarget(cpu, slot)),
  'CALL Ev': (cpu, slot) => call(cpu, slot, target(cpu, slot)),
  'RET v': (cpu, slot) => ret(cpu, slot, 0),
  'RET v,Iw': (cpu, slot) => ret(cpu, slot, immediate(cpu, slot)),
  'LOOP Jb': (cpu, slot) => loop(cpu, slot, true),
  'LOOPE Jb': (cpu, slot) => loop(cpu, slot, isZero(cpu)),
  'LOOPNE Jb': (cpu, slot) => loop(cpu, slot, !isZero(cpu)),
  'JECXZ Jb': (cpu, slot) => {
    if (counter(cpu, slot) === 0) jump(cpu, slot);
  },
};
