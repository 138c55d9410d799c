import { ExitReason } from '@ringside/x86';
import { RETIRE } from '../dispositions.js';
import type { ExitHandlerEntry } from '../exit-registry.js';
import type { HardwareAssistedMachine } from './hardware-assisted-machine.js';

/** The guest writes to one of its page tables: what the shadow has made of those entries goes, and the store is let through. */
export const writeTrace: ExitHandlerEntry<HardwareAssistedMachine> = {
  reason: ExitReason.WriteTrace,
  groups: 0,
  summary: 'With shadow paging, a write to a page table of the guest exits, and ring -1 drops the shadow entries that were made of it.',
  handle(machine, transaction) {
    const { address, size, count } = transaction.exit.access!;
    if (machine.paging.kind === 'shadow') machine.paging.shadow.letThrough(transaction, address, size * count);
    return RETIRE;
  },
};
