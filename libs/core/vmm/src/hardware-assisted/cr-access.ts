import { StateGroup, type RegisterName, type RegisterState } from '@ringside/machine';
import { ExitReason } from '@ringside/x86';
import { GENERAL_PROTECTION, RESUME, RETIRE } from '../dispositions.js';
import type { ExitHandlerEntry } from '../exit-registry.js';
import type { Transaction } from '../transaction.js';
import { CR0_CD, CR0_ET, CR0_NW, CR0_PE, CR0_PG, CR4_DEFINED, CR4_PAE, CR4_PGE, CR4_PSE } from './controls.js';
import type { HardwareAssistedMachine } from './hardware-assisted-machine.js';
import { paePaging, readPointers, reloadShadow, type PagingRegisters } from './shadow-paging.js';

/** The bits that CR0 has (SDM Vol. 3A 2.5); the others are written as nothing. */
const CR0_DEFINED = 0xe005_003f;
const MOV_FROM_CR = 1;
const GENERAL: readonly RegisterName[] = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi'];

/**
 * MOV to CR0 or CR4 that changes a bit ring -1 owns, and under shadow paging every MOV to and from CR3. The exit comes before the
 * processor has looked at the value, so its checks are made here (SDM Vol. 2B, MOV — Move to/from Control Registers).
 *
 * Qualification: 3:0 register, 5:4 access type (0 MOV to CR, 1 MOV from CR), 11:8 general register (SDM Vol. 3C Table 27-3).
 */
export const crAccess: ExitHandlerEntry<HardwareAssistedMachine> = {
  reason: ExitReason.CrAccess,
  groups: StateGroup.Registers,
  summary: 'A write that changes CR0.CD or NW or CR4.VMXE or SMXE exits; TS is the guest\'s own. PG, WP and CR3 are too with nested paging; with shadow paging ring -1 emulates them.',
  handle(machine, transaction) {
    const { qualification } = transaction.exit;
    const registers = transaction.exit.registers!;
    const general = (qualification >> 8) & 7;
    const value = registers.general[general]!;
    const type = (qualification >> 4) & 3;
    const register = qualification & 0xf;
    if (register === 3 && type === MOV_FROM_CR) {
      transaction.add({ kind: 'register', register: GENERAL[general]!, value: registers.cr3 });
      return RETIRE;
    }
    // CLTS, LMSW and reads never touch an owned bit.
    if (type !== 0) return GENERAL_PROTECTION;
    if (register === 0) return writeCr0(machine, transaction, registers, value);
    if (register === 3) return writeCr3(machine, transaction, registers, value);
    return writeCr4(machine, transaction, registers, value);
  },
};

type Outcome = Promise<typeof RETIRE>;

async function writeCr0(machine: HardwareAssistedMachine, transaction: Transaction, registers: RegisterState, operand: number): Outcome {
  const value = ((operand & CR0_DEFINED) | CR0_ET) >>> 0;
  if ((value & CR0_NW) !== 0 && (value & CR0_CD) === 0) return GENERAL_PROTECTION;
  if ((value & CR0_PG) !== 0 && (value & CR0_PE) === 0) return GENERAL_PROTECTION;
  if ((value & CR0_PE) === 0) {
    transaction.add({ kind: 'activity', activity: 'stopped', state: 'unsupported-mode', why: 'the guest cleared CR0.PE: real mode is not built' });
    return RESUME;
  }
  // A write that changes CD, NW or PG loads the four PDPTEs anew.
  const loads = ((value ^ registers.cr0) & (CR0_CD | CR0_NW | CR0_PG)) !== 0;
  return finish(machine, transaction, { ...registers, cr0: value }, loads, 'cr0', value);
}

async function writeCr3(machine: HardwareAssistedMachine, transaction: Transaction, registers: RegisterState, value: number): Outcome {
  return finish(machine, transaction, { ...registers, cr3: value }, true, 'cr3', value);
}

/** The owned bits but for those of shadow paging stand for features that CPUID does not show. */
async function writeCr4(machine: HardwareAssistedMachine, transaction: Transaction, registers: RegisterState, value: number): Outcome {
  if ((value & ~CR4_DEFINED) !== 0) return GENERAL_PROTECTION;
  const loads = ((value ^ registers.cr4) & (CR4_PAE | CR4_PGE | CR4_PSE)) !== 0;
  return finish(machine, transaction, { ...registers, cr4: value }, loads, 'cr4', value);
}

async function finish(machine: HardwareAssistedMachine, transaction: Transaction, next: PagingRegisters, loads: boolean, register: 'cr0' | 'cr3' | 'cr4', value: number): Outcome {
  const pointers = loads && paePaging(next) ? await readPointers(transaction, next.cr3) : undefined;
  if (pointers === null) return GENERAL_PROTECTION;
  const { cr0Mask, cr4Mask } = machine.controls;
  transaction.add({ kind: 'register', register, value });
  const shadow = reloadShadow(machine, transaction, next, pointers);
  machine.setControls(transaction, { cr0ReadShadow: (next.cr0 & cr0Mask) >>> 0, cr4ReadShadow: (next.cr4 & cr4Mask) >>> 0, ...shadow });
  transaction.add({ kind: 'flush', scope: 'all' });
  return RETIRE;
}
