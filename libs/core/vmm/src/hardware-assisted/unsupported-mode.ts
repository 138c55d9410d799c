import { ExitReason, exitReasonName } from '@ringside/x86';
import { RESUME } from '../dispositions.js';
import type { ExitHandlerEntry } from '../exit-registry.js';
import type { HardwareAssistedMachine } from './hardware-assisted-machine.js';

/** The same sentence as on native, where the processor itself stops. */
export const unsupportedMode: ExitHandlerEntry<HardwareAssistedMachine> = {
  reason: ExitReason.UnsupportedMode,
  groups: 0,
  summary: 'Real mode, virtual-8086 mode and task gates are not built; ring -1 stops the machine by name.',
  handle(_machine, transaction) {
    const { reason, qualification } = transaction.exit;
    transaction.add({
      kind: 'activity', activity: 'stopped', state: 'unsupported-mode',
      why: `the guest entered a mode that is not built (${exitReasonName(reason)}, qualification ${qualification})`,
    });
    return RESUME;
  },
};
