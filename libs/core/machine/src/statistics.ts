import type { TranslationCache } from '@ringside/translation';
import type { MisledInstruction } from '@ringside/x86';
import { OPERATIONS, type OperationName } from './mark.js';
import type { PrimitiveCounts } from './modelled/cost-table.js';

/**
 * What guest-cpu, the one driver, counts. Counts are exact and the same on every run under the virtual clock; everything
 * under `wall` is measured on this system and differs from run to run. Times are nanoseconds.
 */

/** Upper bounds of the latency histogram's buckets: powers of two from 1 µs to about 1 s. */
export const LATENCY_BUCKETS_NS: readonly number[] = Array.from({ length: 21 }, (_, index) => 1_000 * 2 ** index);

/** One row of `ringside exits`: all exits (or, on native, bus cycles) of one reason. */
export class LatencyTally {
  count = 0;
  totalNs = 0;
  minNs = Infinity;
  maxNs = 0;
  /** One more bucket than bounds: the last counts what is slower than all of them. */
  readonly buckets = new Uint32Array(LATENCY_BUCKETS_NS.length + 1);

  record(ns: number): void {
    this.count++;
    this.totalNs += ns;
    if (ns < this.minNs) this.minNs = ns;
    if (ns > this.maxNs) this.maxNs = ns;
    let bucket = 0;
    while (bucket < LATENCY_BUCKETS_NS.length && ns > LATENCY_BUCKETS_NS[bucket]!) bucket++;
    this.buckets[bucket]!++;
  }
}

/** Everything that happened between the Begin and End marks of one guest operation. */
export interface OperationRecord {
  operation: OperationName;
  /** False until its End mark has been executed. */
  complete: boolean;
  /** Laps executed so far; `boot` counts 1 when complete. */
  repetitions: number;
  retired: number;
  executed: number;
  /** Virtual nanoseconds. */
  virtualNs: number;
  /** By exit reason name; empty on native. */
  exits: Record<string, number>;
  hypercalls: number;
  /** Distinct requests by subject below `ringside.vm.<id>.`, such as `exit.io-instruction` or `io.port`. */
  messages: Record<string, number>;
  /** What all of it was made of, for the modelled clock: the processor's work, transitions, the monitor's work. */
  primitives?: PrimitiveCounts;
  /** The same of the last repetition alone, less what is done once for all (code translated and chained); absent before the first has ended. */
  lastRepetition?: PrimitiveCounts;
  /** Binary translation: what the translation cache did meanwhile. */
  translation?: TranslationCounts;
  wall: {
    /** Executing guest instructions. */ guestNs: number;
    /** On the wire: round trips less what handlers report. */ busNs: number;
    /** In handlers of other services. */ handlersNs: number;
    totalNs: number;
    /** Requests that this process sent again because no answer came in time: the network's doing, never counted as messages. */ resends: number;
    /** Each repetition, in order (the first 10,000). */ lapsNs: number[];
  };
  traceId: string | null;
  /** Running state hash and machine digest at the End mark, when the VM keeps them. */
  stateHash: string | null;
}

/** What a translation cache has done so far; see its `counts`. */
export type TranslationCounts = Readonly<TranslationCache['counts']>;

export const MAX_LAPS = 10_000;
/** A hostile guest may execute marks in a loop: the records kept are bounded, the rest counted. */
export const MAX_RECORDS = 1_000;

export interface MachineStatistics {
  retired: number;
  executed: number;
  virtualNs: number;
  exits: Record<string, LatencySummary>;
  messages: Record<string, number>;
  operations: OperationRecord[];
  operationsDropped: number;
  /** On trap-and-emulate: the first instruction that misled the guest, and how many did; null if none. */
  misled?: (MisledInstruction & { count: number }) | null;
  /** Binary translation: what its cache has done; null on the other paths. */
  translation?: TranslationCounts | null;
}
export interface LatencySummary { count: number; totalNs: number; minNs: number; maxNs: number; buckets: number[] }

export function summarize(tally: LatencyTally): LatencySummary {
  return { count: tally.count, totalNs: tally.totalNs, minNs: tally.count === 0 ? 0 : tally.minNs, maxNs: tally.maxNs, buckets: [...tally.buckets] };
}

const operationNames = new Map<number, OperationName>(Object.entries(OPERATIONS).map(([name, number]) => [number, name as OperationName]));
export function operationName(number: number): OperationName | undefined {
  return operationNames.get(number);
}

export function increment(counts: Record<string, number>, key: string, by = 1): void {
  counts[key] = (counts[key] ?? 0) + by;
}
