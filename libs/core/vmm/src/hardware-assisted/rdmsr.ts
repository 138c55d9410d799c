import { StateGroup } from '@ringside/machine';
import { ExitReason } from '@ringside/x86';
import { GENERAL_PROTECTION, RETIRE } from '../dispositions.js';
import type { ExitHandlerEntry } from '../exit-registry.js';
import type { HardwareAssistedMachine } from './hardware-assisted-machine.js';

/** ECX names the MSR, EDX:EAX receives it. What the bitmap lets through never comes here; an MSR that does not exist is #GP(0). */
export const rdmsr: ExitHandlerEntry<HardwareAssistedMachine> = {
  reason: ExitReason.Rdmsr,
  groups: StateGroup.Registers,
  summary: 'The TSC and the SYSENTER MSRs are passed through; every other RDMSR exits, and ring -1 answers or injects #GP.',
  handle(machine, transaction) {
    const value = machine.msrs.get(transaction.exit.registers!.general[1]!);
    if (value === undefined) return GENERAL_PROTECTION;
    transaction.add({ kind: 'register', register: 'eax', value: Number(value & 0xffff_ffffn) });
    transaction.add({ kind: 'register', register: 'edx', value: Number(value >> 32n) });
    return RETIRE;
  },
};
