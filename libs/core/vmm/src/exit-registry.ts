import type { Disposition, MaybePromise } from '@ringside/machine';
import { exitReasonName, type ExitReason } from '@ringside/x86';
import type { Transaction } from './transaction.js';

/** How ring -1 answers one exit reason on one path: one file, one entry. */
export interface ExitHandlerEntry<Machine> {
  readonly reason: ExitReason;
  /** State groups (StateGroup) that the exit must carry for it; 0 for none. */
  readonly groups: number;
  /** What happens, in one sentence: shown by `compare --list`. */
  readonly summary: string;
  handle(machine: Machine, transaction: Transaction): MaybePromise<Disposition>;
}

/** The exit handlers of one path. Two entries for one reason are a mistake of whoever registered them. */
export class ExitRegistry<Machine> {
  private readonly entries = new Map<number, ExitHandlerEntry<Machine>>();

  constructor(entries: readonly ExitHandlerEntry<Machine>[], private readonly otherwise: Omit<ExitHandlerEntry<Machine>, 'reason'>) {
    for (const entry of entries) {
      if (this.entries.has(entry.reason)) throw new Error(`two handlers for exit ${exitReasonName(entry.reason)}`);
      this.entries.set(entry.reason, entry);
    }
  }

  handle(machine: Machine, transaction: Transaction): MaybePromise<Disposition> {
    return (this.entries.get(transaction.exit.reason) ?? this.otherwise).handle(machine, transaction);
  }

  /** For guest-cpu: which state groups to send with which reason. */
  stateGroups(reasons: Iterable<number>): Map<number, number> {
    const groups = new Map<number, number>();
    for (const reason of reasons) groups.set(reason, (this.entries.get(reason) ?? this.otherwise).groups);
    return groups;
  }

  summaries(): Map<number, string> {
    return new Map([...this.entries].map(([reason, entry]) => [reason, entry.summary]));
  }
}
