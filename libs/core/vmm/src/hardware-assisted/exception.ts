import { ExitReason, PF } from '@ringside/x86';
import { RESUME } from '../dispositions.js';
import type { ExitHandlerEntry } from '../exit-registry.js';
import type { HardwareAssistedMachine } from './hardware-assisted-machine.js';

/**
 * The bitmap asks for #PF under shadow paging alone. A hidden fault is filled in, and the guest notices nothing; a true one is injected; an
 * access to what is no RAM (the exit carries it) is a bus cycle of the device model. Any other exception goes back as it came.
 */
export const exception: ExitHandlerEntry<HardwareAssistedMachine> = {
  reason: ExitReason.ExceptionOrNmi,
  groups: 0,
  summary: 'With nested paging no exception exits. With shadow paging every #PF does: ring -1 fills its shadow in from the guest\'s tables, or injects the #PF that they call for.',
  async handle(machine, transaction) {
    const { exit } = transaction;
    const event = exit.event!;
    if (machine.paging.kind === 'nested' || event.vector !== PF) return { kind: 'inject', event, cr2: event.vector === PF ? exit.qualification : null };
    if (exit.access !== null) {
      const reply = await machine.cycle(transaction, 'mmio', exit.access, exit.interruptible);
      return { kind: 'retire', data: exit.access.write ? null : reply.data };
    }
    const outcome = machine.paging.shadow.fault(transaction, exit);
    if (outcome === 'filled') return RESUME;
    if (outcome === 'filled-for-now') {
      machine.leaveAt(transaction, exit.now + 1);
      return RESUME;
    }
    return { kind: 'inject', event: { ...event, errorCode: outcome.errorCode }, cr2: exit.guestLinear };
  },
};
