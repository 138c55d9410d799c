import { StateGroup, type ExitReply } from '@ringside/machine';
import { exitReasonName } from '@ringside/x86';
import { RESUME } from '../../dispositions.js';
import type { ParavirtExit } from '../paravirt-exit.js';
import { input, interruptWindow, preemptionTimer, tripleFault, unsupportedMode } from './boundary.js';
import { deprivilegedException } from './deprivileged-exception.js';
import { hypercall } from './hypercall.js';
import type { ParavirtExitEntry } from './paravirt-registry.js';

const ENTRIES: readonly ParavirtExitEntry[] = [hypercall, deprivilegedException, preemptionTimer, input, interruptWindow, tripleFault, unsupportedMode];
export const paravirtExits: ReadonlyMap<number, ParavirtExitEntry> = new Map(ENTRIES.map((entry) => [entry.reason, entry]));

/** State groups that an exit must carry: nearly every one may end with a frame on the guest's stack. */
export const PARAVIRT_GROUPS = StateGroup.Registers | StateGroup.Segments;

export function handleParavirtExit(exit: ParavirtExit): Promise<ExitReply> {
  const entry = paravirtExits.get(exit.transaction.exit.reason);
  if (entry !== undefined) return entry.handle(exit);
  // The controls ask for no other exit, so none comes from a processor that does as it is told.
  exit.domain.crash(exit.transaction, `an exit that no control asks for: ${exitReasonName(exit.transaction.exit.reason)}`);
  return exit.finish(RESUME, false);
}
