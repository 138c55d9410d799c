import { ExitReason } from '@ringside/x86';
import { RESUME } from '../dispositions.js';
import type { ExitHandlerEntry } from '../exit-registry.js';
import type { HardwareAssistedMachine } from './hardware-assisted-machine.js';

/** INTR has been up and the guest can now accept it: acknowledge and inject. */
export const interruptWindow: ExitHandlerEntry<HardwareAssistedMachine> = {
  reason: ExitReason.InterruptWindow,
  groups: 0,
  summary: 'The guest can accept the interrupt that was waiting; ring -1 acknowledges it at its interrupt controller and injects the vector.',
  async handle(machine, transaction) {
    await machine.cycle(transaction, 'inta', null, true);
    return RESUME;
  },
};
