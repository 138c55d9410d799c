import { ExitReason } from '@ringside/x86';
import { RETIRE } from '../dispositions.js';
import type { ExitHandlerEntry } from '../exit-registry.js';
import type { HardwareAssistedMachine } from './hardware-assisted-machine.js';

/** The guest waits. An interrupt that is up already wakes it at the next boundary, through the interrupt window, at the same time as on native. */
export const hlt: ExitHandlerEntry<HardwareAssistedMachine> = {
  reason: ExitReason.Hlt,
  groups: 0,
  summary: 'HLT exits; ring -1 parks the virtual processor until an interrupt or the next deadline.',
  handle(_machine, transaction) {
    transaction.add({ kind: 'activity', activity: 'halted' });
    return RETIRE;
  },
};
