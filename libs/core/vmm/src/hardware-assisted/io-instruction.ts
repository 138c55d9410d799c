import { ExitReason } from '@ringside/x86';
import type { ExitHandlerEntry } from '../exit-registry.js';
import type { HardwareAssistedMachine } from './hardware-assisted-machine.js';

/** PIC and PIT answer here; every other port is a bus cycle of the device model. A REP INS or OUTS is one exit and one cycle. */
export const ioInstruction: ExitHandlerEntry<HardwareAssistedMachine> = {
  reason: ExitReason.IoInstruction,
  groups: 0,
  summary: 'IN and OUT exit; ring -1 answers for the interrupt controllers and the timer, and asks the device model for every other port.',
  async handle(machine, transaction) {
    const { exit } = transaction;
    const reply = await machine.cycle(transaction, 'port', exit.access!, exit.interruptible);
    return { kind: 'retire', data: exit.access!.write ? null : reply.data };
  },
};
