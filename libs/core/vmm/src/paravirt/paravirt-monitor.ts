import type { Effect } from '@ringside/machine';
import { ExitReason } from '@ringside/x86';
import type { PathMonitor } from '../virtual-machine-monitor.js';
import { domainMonitorBytes } from './build-domain.js';
import type { Domain } from './domain.js';
import { handleParavirtExit, PARAVIRT_GROUPS } from './exits/index.js';
import { ParavirtExit } from './paravirt-exit.js';

/** Ring -1 of a paravirtualized guest, for `VirtualMachineMonitor`. */
export function paravirtMonitor({ domain, effects }: { domain: Domain; effects: Effect[] }): PathMonitor {
  return {
    monitorBytes: domainMonitorBytes(domain.spec),
    initialEffects: () => effects,
    answer: (transaction) => handleParavirtExit(new ParavirtExit(domain, transaction)),
    stateGroups: () => new Map(Object.values(ExitReason).map((reason) => [reason, PARAVIRT_GROUPS])),
  };
}
