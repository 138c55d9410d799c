import type { OpcodeRow } from '@ringside/x86';
import { usesGs, type GuestInstruction } from './guest-instruction.js';
import { MODE_CPL_SHIFT, MODE_IOPL, type TranslationMode } from './unit.js';

/** What the translator does with a guest instruction, and the sentence that `disassemble --translated` shows beside it. */
export type Plan =
  | { readonly kind: 'ident' | 'callout' | 'undefined' | 'jump' | 'conditional' | 'call' | 'call-indirect' | 'jump-indirect' | 'return' | 'cli' | 'sti' | 'pushf' | 'popf' | 'push-selector' | 'read-selector' | 'load-selector' | 'pop-selector' | 'iret' | 'clts' | 'move-to-cr0'; readonly why: string };

const plan = (kind: Plan['kind'], why: string): Plan => ({ kind, why });

/** PUSH and POP of a segment register name it in the operand column. */
const SEGMENT_OPERAND = /^(?:ES|CS|SS|DS|FS|GS)$/;
const CS_NUMBER = 1, SS_NUMBER = 2, LAST_SEGMENT = 5;

/** Of an application, which is translated only while IOPL is not 0 or IF not 1. */
const BY_IOPL = new Set(['CLI', 'STI', 'POPF']);
const UNTRAPPED_TRANSFERS = new Set(['INT3', 'INTO', 'INT1', 'SYSENTER', 'SYSEXIT']);
const STACK = 'the return address pushed is the guest’s, never one in the cache';

/**
 * The rule, over the whole opcode table: what is privileged or sensitive, ends straight-line code, or names memory through GS is never copied.
 * What stands below as `ident` by name is neither.
 */
export function planFor(instruction: GuestInstruction, mode: TranslationMode): Plan {
  const { row } = instruction;
  if (instruction.tooLong) return plan('callout', 'longer than 15 bytes: #GP is the guest’s');
  if (row === null || row.needs !== null) return plan('undefined', 'no such instruction: UD2 raises #UD at the guest’s EIP');
  if (usesGs(instruction)) return plan('callout', 'GS addresses the monitor’s data here');
  const { mnemonic, attributes, operands } = row;
  const application = ((mode >> MODE_CPL_SHIFT) & 3) === 3;
  if (!application && !instruction.lock) {
    if (mnemonic === 'CLTS') return plan('clts', 'clears the virtual CR0.TS; the real one may stay, and trap once for nothing');
    if (isMoveToCr0(instruction)) return plan('move-to-cr0', 'sets or clears the virtual CR0.TS; whatever else it would change is a callout');
  }
  if (attributes.has('cpl0')) return plan('callout', `${mnemonic} is privileged`);
  if (application && BY_IOPL.has(mnemonic)) return plan('callout', `what ${mnemonic} does here depends on IOPL`);
  switch (mnemonic) {
    case 'CLI': return (mode & MODE_IOPL) === 0 ? plan('cli', 'clears the virtual IF; as a byte, for an AND would change the flags') : plan('cli', 'clears the virtual IF');
    case 'STI': return plan('sti', 'sets the virtual IF, and looks whether an interrupt waits');
    case 'PUSHF': return (mode & MODE_IOPL) === 0 && !instruction.operand16 ? plan('pushf', 'pushes the virtual IF in place of the real one') : plan('callout', 'pushes IOPL, or 16 bits');
    case 'POPF': return (mode & MODE_IOPL) === 0 && !instruction.operand16 ? plan('popf', 'in ring 1 POPF leaves IF alone without a word: the virtual IF is set here') : plan('callout', 'IOPL is not 0, or 16 bits');
    default:
  }
  if (attributes.has('iopl')) return plan('callout', `${mnemonic}: the device is behind ring -1`);
  if (mnemonic === 'UD2' || mnemonic === 'UD0' || mnemonic === 'UD1') return plan('ident', '');
  if (attributes.has('sensitive')) return sensitive(instruction, row, mode);
  if (UNTRAPPED_TRANSFERS.has(mnemonic)) return plan('callout', `${mnemonic} goes through the monitor’s tables`);
  if (operands[0]?.startsWith('J') === true) {
    if (instruction.operand16) return plan('callout', 'a 16-bit transfer');
    return mnemonic === 'JMP' ? plan('jump', 'EIP-relative') : mnemonic === 'CALL' ? plan('call', `EIP-relative; ${STACK}`) : plan('conditional', 'EIP-relative: two ways out');
  }
  if (mnemonic === 'RET') return instruction.operand16 ? plan('callout', 'a 16-bit transfer') : plan('return', 'looks up where the guest’s address lies in the cache');
  if (mnemonic === 'CALL') return instruction.operand16 ? plan('callout', 'a 16-bit transfer') : plan('call-indirect', STACK);
  if (mnemonic === 'JMP') return instruction.operand16 ? plan('callout', 'a 16-bit transfer') : plan('jump-indirect', 'looks up where the target lies in the cache');
  if (attributes.has('ends')) return plan('callout', `${mnemonic} depends on control registers that ring -1 holds`);
  return plan('ident', '');
}

/** Of the control registers CR0. */
export function isMoveToCr0({ row, modrm }: GuestInstruction): boolean {
  return row?.code === '0F22' && ((modrm >> 3) & 7) === 0;
}

function sensitive(instruction: GuestInstruction, row: OpcodeRow, mode: TranslationMode): Plan {
  const { mnemonic, operands } = row;
  const named = operands.length === 1 && SEGMENT_OPERAND.test(operands[0]!);
  if (mnemonic === 'PUSH' && named && !instruction.operand16) return plan('push-selector', 'pushes the guest’s selector: the real one may have another RPL');
  if (mnemonic === 'POP' && named && !instruction.operand16 && operands[0] !== 'SS') return plan('pop-selector', 'loads the monitor’s copy of the descriptor; a fault is a callout');
  if (mnemonic === 'IRET' && !instruction.operand16 && (mode & (MODE_IOPL | (3 << MODE_CPL_SHIFT))) === 0) return plan('iret', 'returns to an application by itself; to anywhere else it is a callout');
  const segment = (instruction.modrm >> 3) & 7;
  if (row.code === '8C' && segment <= LAST_SEGMENT) return plan('read-selector', 'reads the guest’s selector: the real one may have another RPL');
  if (row.code === '8E' && segment !== CS_NUMBER && segment !== SS_NUMBER && segment <= LAST_SEGMENT) return plan('load-selector', 'loads the monitor’s copy of the descriptor; a fault is a callout');
  if (row.code === '8C' || (row.code === '8E' && segment !== SS_NUMBER)) return plan('undefined', 'no such segment register');
  return plan('callout', `${mnemonic} is sensitive: in ring 1 it would not trap, and mislead the guest`);
}
