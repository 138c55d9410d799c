import { ExitReason, PF } from '@ringside/x86';
import type { ExitHandlerEntry } from '../exit-registry.js';
import type { HardwareAssistedMachine } from './hardware-assisted-machine.js';

/** An exception that the bitmap asked for goes back to the guest as it came; for #PF the qualification is the faulting address. */
export const exception: ExitHandlerEntry<HardwareAssistedMachine> = {
  reason: ExitReason.ExceptionOrNmi,
  groups: 0,
  summary: 'Exceptions do not exit (the exception bitmap is empty); one that did would be injected back unchanged.',
  handle(_machine, { exit }) {
    const event = exit.event!;
    return { kind: 'inject', event, cr2: event.vector === PF ? exit.qualification : null };
  },
};
