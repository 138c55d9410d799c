import { StateGroup, type ExitReply } from '@ringside/machine';
import { ExitReason } from '@ringside/x86';
import { RESUME } from '../../dispositions.js';
import type { ParavirtExit } from '../paravirt-exit.js';
import type { ParavirtExitEntry } from './paravirt-registry.js';

/*
 * Exits between two instructions: something outside the guest wants to be seen. All of them end in `finish`, which turns
 * timers and interrupt lines into events.
 */

const groups = StateGroup.Registers | StateGroup.Segments;
const resume = (exit: ParavirtExit): Promise<ExitReply> => exit.finish(RESUME, exit.transaction.exit.interruptible);

/** A deadline is due. Qualification bit 0: one that only guest-cpu knew (a granted port's). */
export const preemptionTimer: ParavirtExitEntry = {
  reason: ExitReason.PreemptionTimer,
  groups,
  summary: 'The guest\'s timer or a device\'s deadline is due; ring -1 raises the event.',
  async handle(exit) {
    const { domain, transaction } = exit;
    const { now, qualification } = transaction.exit;
    if ((qualification & 1) !== 0 || domain.boardDeadline <= now) domain.noteBoard(transaction, await transaction.cycle('time', null));
    return resume(exit);
  },
};

/** The interrupt shadow that held an upcall back is over. */
export const interruptWindow: ParavirtExitEntry = {
  reason: ExitReason.InterruptWindow,
  groups,
  summary: 'An instruction that holds interrupts back has ended; ring -1 delivers the event that waited.',
  handle: (exit) => exit.finish(RESUME, true),
};

/** Outside input waits at the device model; or (qualification rose << 16 | lines) a granted port raised interrupt lines past ring -1. */
export const input: ParavirtExitEntry = {
  reason: ExitReason.Input,
  groups,
  summary: 'Outside input or a device\'s interrupt arrived; ring -1 raises the event of its line.',
  async handle(exit) {
    const { domain, transaction } = exit;
    const { qualification } = transaction.exit;
    if (qualification !== 0) {
      domain.lines = qualification & 0xffff;
      domain.rose |= qualification >>> 16;
    } else {
      await domain.console.prepare(domain, transaction);
      domain.noteBoard(transaction, await transaction.cycle('input', null));
    }
    return resume(exit);
  },
};

export const tripleFault: ParavirtExitEntry = {
  reason: ExitReason.TripleFault,
  groups,
  summary: 'A triple fault ends the domain.',
  handle(exit) {
    exit.domain.stop(exit.transaction, 'triple-fault', 'the guest raised an exception while delivering a double fault (SDM Vol. 3A 6.15)');
    return resume(exit);
  },
};

export const unsupportedMode: ParavirtExitEntry = {
  reason: ExitReason.UnsupportedMode,
  groups,
  summary: 'Virtual-8086 mode and task gates are not built; ring -1 stops the machine by name.',
  handle(exit) {
    exit.domain.stop(exit.transaction, 'unsupported-mode', `the guest entered a mode that is not built (unsupported-mode, qualification ${exit.transaction.exit.qualification})`);
    return resume(exit);
  },
};
