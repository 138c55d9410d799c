import { ExitReason } from '@ringside/x86';
import { StateGroup } from '@ringside/machine';
import { GENERAL_PROTECTION, INVALID_OPCODE } from '../dispositions.js';
import type { ExitHandlerEntry } from '../exit-registry.js';
import type { HardwareAssistedMachine } from './hardware-assisted-machine.js';

/** These exist only with a feature that the guest's CPUID does not show: hardware without it raises #UD. */
const ABSENT_FEATURES: ReadonlySet<number> = new Set([ExitReason.Mwait, ExitReason.Monitor]);

/** An exit that no control of ours asks for: what the instruction would do on a processor without the feature; counted. */
export const unexpected: Omit<ExitHandlerEntry<HardwareAssistedMachine>, 'reason'> = {
  groups: StateGroup.Registers,
  summary: 'No control asks for this exit; the guest gets the fault that a processor without the feature raises.',
  handle(machine, { exit }) {
    machine.countUnexpected(exit.reason);
    return ABSENT_FEATURES.has(exit.reason) ? INVALID_OPCODE : GENERAL_PROTECTION;
  },
};
