import { whenSettled, type Effect, type Exit, type ExitHandler, type ExitReply, type MaybePromise, type VmSpec } from '@ringside/machine';
import { ExitReason } from '@ringside/x86';
import type { ExitRegistry } from './exit-registry.js';
import type { MonitorPorts } from './monitor-ports.js';
import { Transaction } from './transaction.js';

/** What one path brings: its state for one guest, and how it answers exits. */
export interface PathMonitor {
  /** Bytes of monitor space that the machine must be created with. */
  readonly monitorBytes: number;
  /** Binary translation: where in monitor space guest-cpu keeps its translations. */
  readonly translationCache?: { readonly offset: number; readonly bytes: number };
  initialEffects(): Effect[];
  answer(transaction: Transaction): MaybePromise<ExitReply>;
  stateGroups(): Map<number, number>;
}

/** A `PathMonitor` from a machine state and its registry. */
export function pathMonitor<Machine extends { initialEffects(): Effect[]; exitBegins(transaction: Transaction): void }>(
  machine: Machine, monitorBytes: number, registry: ExitRegistry<Machine>,
): PathMonitor {
  return {
    monitorBytes,
    initialEffects: () => machine.initialEffects(),
    answer(transaction) {
      machine.exitBegins(transaction);
      return whenSettled(registry.handle(machine, transaction), (disposition) => transaction.reply(disposition));
    },
    stateGroups: () => registry.stateGroups(Object.values(ExitReason)),
  };
}

/**
 * Ring -1 for one virtual machine. A pure function of its state and the exits it is sent: no clock, no randomness, and
 * the guest changes only through the effect lists it returns.
 */
export class VirtualMachineMonitor implements ExitHandler {
  constructor(readonly spec: VmSpec, private readonly path: PathMonitor, private readonly ports: MonitorPorts) {}

  /** Bytes of monitor space that the machine must be created with. */
  get monitorBytes(): number {
    return this.path.monitorBytes;
  }

  get translationCache(): { readonly offset: number; readonly bytes: number } | undefined {
    return this.path.translationCache;
  }

  /** What creates the machine: execution controls, descriptor tables, frame map, the guest's image and entry state. */
  initialEffects(): Effect[] {
    return this.path.initialEffects();
  }

  /** Which state groups an exit must carry, by reason. */
  stateGroups(): ReadonlyMap<number, number> {
    return this.path.stateGroups();
  }

  exit(exit: Exit): MaybePromise<ExitReply> {
    return this.path.answer(new Transaction(exit, this.ports));
  }
}
