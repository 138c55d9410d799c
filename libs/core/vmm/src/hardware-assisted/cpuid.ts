import { StateGroup } from '@ringside/machine';
import { cpuidLeaf, ExitReason, I686_FEATURES } from '@ringside/x86';
import { RETIRE } from '../dispositions.js';
import type { ExitHandlerEntry } from '../exit-registry.js';
import type { HardwareAssistedMachine } from './hardware-assisted-machine.js';

/** The virtual processor's leaves, which are the processor's own: no personality is shown, so that the guest finds what it finds on native. */
export const cpuid: ExitHandlerEntry<HardwareAssistedMachine> = {
  reason: ExitReason.Cpuid,
  groups: StateGroup.Registers,
  summary: 'CPUID always exits; ring -1 answers with the virtual processor\'s leaves, here the same as the processor\'s own.',
  handle(_machine, transaction) {
    const leaf = cpuidLeaf(I686_FEATURES, transaction.exit.registers!.general[0]!);
    transaction.add({ kind: 'register', register: 'eax', value: leaf.eax >>> 0 });
    transaction.add({ kind: 'register', register: 'ebx', value: leaf.ebx >>> 0 });
    transaction.add({ kind: 'register', register: 'ecx', value: leaf.ecx >>> 0 });
    transaction.add({ kind: 'register', register: 'edx', value: leaf.edx >>> 0 });
    return RETIRE;
  },
};
