import { ExitReason } from '@ringside/x86';
import { RESUME } from '../dispositions.js';
import type { ExitHandlerEntry } from '../exit-registry.js';
import type { HardwareAssistedMachine } from './hardware-assisted-machine.js';

/**
 * First touch of RAM: fill the nested page table and let the instruction run again. The exit is hidden: nothing that the
 * guest can see happens and no interrupt comes with it.
 *
 * Outside RAM there is only the bus. A data access (the exit carries it) stays an exit each time. A page walk or a code
 * fetch that strays there carries none: the address is mapped to itself, where the processor finds the empty bus.
 */
export const eptViolation: ExitHandlerEntry<HardwareAssistedMachine> = {
  reason: ExitReason.EptViolation,
  groups: 0,
  summary: 'The first access to a piece of RAM exits once and ring -1 maps it; a data access where no RAM is becomes a bus cycle of the device model.',
  async handle(machine, transaction) {
    const { exit } = transaction;
    if (exit.access === null || machine.isRam(exit.guestPhysical)) {
      if (machine.paging.kind === 'nested') machine.paging.ept.map(transaction, exit.guestPhysical);
      return RESUME;
    }
    const reply = await machine.cycle(transaction, 'mmio', exit.access, exit.interruptible);
    return { kind: 'retire', data: exit.access.write ? null : reply.data };
  },
};
