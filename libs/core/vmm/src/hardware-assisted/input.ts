import { ExitReason } from '@ringside/x86';
import { RESUME } from '../dispositions.js';
import type { ExitHandlerEntry } from '../exit-registry.js';
import type { HardwareAssistedMachine } from './hardware-assisted-machine.js';

/** Outside input waits at the device model; or (qualification rose << 16 | lines) a granted port raised interrupt lines past ring -1. */
export const input: ExitHandlerEntry<HardwareAssistedMachine> = {
  reason: ExitReason.Input,
  groups: 0,
  summary: 'Outside input arrived; ring -1 has the device model take it in and routes the interrupt.',
  async handle(machine, transaction) {
    const { exit } = transaction;
    if (exit.qualification !== 0) {
      machine.board.noteLines(exit.qualification & 0xffff, exit.qualification >>> 16);
      machine.settleStanding(transaction);
    } else {
      await machine.cycle(transaction, 'input', null, exit.interruptible);
    }
    return RESUME;
  },
};
