import { ExitReason } from '@ringside/x86';
import { RESUME } from '../dispositions.js';
import type { ExitHandlerEntry } from '../exit-registry.js';
import type { HardwareAssistedMachine } from './hardware-assisted-machine.js';

export const tripleFault: ExitHandlerEntry<HardwareAssistedMachine> = {
  reason: ExitReason.TripleFault,
  groups: 0,
  summary: 'A triple fault exits; ring -1 stops the machine.',
  handle(_machine, transaction) {
    transaction.add({ kind: 'activity', activity: 'stopped', state: 'triple-fault', why: 'the guest raised an exception while delivering a double fault (SDM Vol. 3A 6.15)' });
    return RESUME;
  },
};
