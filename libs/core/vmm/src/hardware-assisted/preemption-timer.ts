import { ExitReason } from '@ringside/x86';
import { RESUME } from '../dispositions.js';
import type { ExitHandlerEntry } from '../exit-registry.js';
import type { HardwareAssistedMachine } from './hardware-assisted-machine.js';

/** A deadline is reached: timer and devices catch up with virtual time. Qualification bit 0: one that only guest-cpu knew (a granted port's). */
export const preemptionTimer: ExitHandlerEntry<HardwareAssistedMachine> = {
  reason: ExitReason.PreemptionTimer,
  groups: 0,
  summary: 'A timer or device deadline is due; ring -1 lets them catch up, and injects the interrupt if the guest can take it.',
  async handle(machine, transaction) {
    const { exit } = transaction;
    if ((exit.qualification & 1) !== 0) machine.board.noteRemoteDue();
    await machine.cycle(transaction, 'time', null, exit.interruptible);
    return RESUME;
  },
};
