import { StateGroup } from '@ringside/machine';
import { ExitReason } from '@ringside/x86';
import { GENERAL_PROTECTION, RETIRE } from '../dispositions.js';
import type { ExitHandlerEntry } from '../exit-registry.js';
import { MSR_EFER, MSR_RESERVED } from './controls.js';
import type { HardwareAssistedMachine } from './hardware-assisted-machine.js';
import { reloadShadow } from './shadow-paging.js';

export const wrmsr: ExitHandlerEntry<HardwareAssistedMachine> = {
  reason: ExitReason.Wrmsr,
  groups: StateGroup.Registers,
  summary: 'The TSC and the SYSENTER MSRs are passed through; every other WRMSR exits, and ring -1 carries it out or injects #GP.',
  handle(machine, transaction) {
    const { general } = transaction.exit.registers!;
    const msr = general[1]!;
    const value = (BigInt(general[2]!) << 32n) | BigInt(general[0]!);
    const reserved = MSR_RESERVED.get(msr);
    if (reserved === undefined || (value & reserved) !== 0n) return GENERAL_PROTECTION;
    machine.msrs.set(msr, value);
    transaction.add({ kind: 'msr', msr, value });
    if (msr === MSR_EFER && machine.paging.kind === 'shadow') machine.setControls(transaction, reloadShadow(machine, transaction, transaction.exit.registers!));
    return RETIRE;
  },
};
