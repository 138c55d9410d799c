import { StateGroup, type RegisterState } from '@ringside/machine';
import { ExitReason } from '@ringside/x86';
import { GENERAL_PROTECTION, RESUME, RETIRE } from '../dispositions.js';
import type { ExitHandlerEntry } from '../exit-registry.js';
import type { Transaction } from '../transaction.js';
import { CR0_CD, CR0_ET, CR0_NW, CR0_OWNED, CR0_PE, CR0_PG, CR4_PAE } from './controls.js';
import type { HardwareAssistedMachine } from './hardware-assisted-machine.js';

/** The bits that CR0 has (SDM Vol. 3A 2.5); the others are written as nothing. */
const CR0_DEFINED = 0xe005_003f;
/** Reserved bits of a present PDPTE on a processor with 36 physical bits (SDM Vol. 3A Table 4-8): 2:1, 8:5, and 63:36. */
const PDPTE_RESERVED_LOW = 0x1e6, PDPTE_RESERVED_HIGH = 0xffff_fff0;

/**
 * MOV to CR0 or CR4 that changes a bit ring -1 owns. The exit comes before the processor has looked at the value, so its
 * checks are made here (SDM Vol. 2B, MOV — Move to/from Control Registers).
 *
 * Qualification: 3:0 register, 5:4 access type (0 MOV to CR), 11:8 general register (SDM Vol. 3C Table 27-3).
 */
export const crAccess: ExitHandlerEntry<HardwareAssistedMachine> = {
  reason: ExitReason.CrAccess,
  groups: StateGroup.Registers,
  summary: 'CR0.CD and NW and CR4.VMXE and SMXE belong to ring -1, and only a write that changes one of them exits; TS, PG, WP and CR3 are the guest\'s own.',
  async handle(machine, transaction) {
    const { qualification } = transaction.exit;
    const registers = transaction.exit.registers!;
    const register = qualification & 0xf;
    // CR4: the owned bits stand for features that CPUID does not show. CLTS, LMSW and reads never touch an owned bit.
    if (register !== 0 || (qualification & 0x30) !== 0) return GENERAL_PROTECTION;
    const value = ((registers.general[(qualification >> 8) & 7]! & CR0_DEFINED) | CR0_ET) >>> 0;
    if ((value & CR0_NW) !== 0 && (value & CR0_CD) === 0) return GENERAL_PROTECTION;
    if ((value & CR0_PG) !== 0 && (value & CR0_PE) === 0) return GENERAL_PROTECTION;
    if ((value & CR0_PE) === 0) {
      transaction.add({ kind: 'activity', activity: 'stopped', state: 'unsupported-mode', why: 'the guest cleared CR0.PE: real mode is not built' });
      return RESUME;
    }
    if ((value & CR0_PG) !== 0 && (registers.cr4 & CR4_PAE) !== 0 && !(await pdptesValid(transaction, registers))) return GENERAL_PROTECTION;
    machine.setControls(transaction, { cr0ReadShadow: value & CR0_OWNED });
    transaction.add({ kind: 'register', register: 'cr0', value });
    transaction.add({ kind: 'flush', scope: 'all' });
    return RETIRE;
  },
};

/** A write that changes CD, NW or PG loads the four PDPTEs anew, and #GP when one has a reserved bit set (SDM Vol. 3A 4.4.1). */
async function pdptesValid(transaction: Transaction, registers: RegisterState): Promise<boolean> {
  const bytes = await transaction.read('guest', (registers.cr3 & ~0x1f) >>> 0, 32);
  const view = new DataView(bytes.buffer);
  for (let index = 0; index < 4; index++) {
    const low = view.getUint32(index * 8, true);
    if ((low & 1) !== 0 && ((low & PDPTE_RESERVED_LOW) !== 0 || (view.getUint32(index * 8 + 4, true) & PDPTE_RESERVED_HIGH) !== 0)) return false;
  }
  return true;
}
