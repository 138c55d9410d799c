import { MarkKind, type Mark } from './mark.js';
import type { PrimitiveCounts } from './modelled/cost-table.js';
import { primitivesBetween } from './modelled/machine-meter.js';
import { increment, MAX_LAPS, MAX_RECORDS, operationName, type OperationRecord, type TranslationCounts } from './statistics.js';

/** The processor's clocks at one moment. */
export interface Moment { retired: number; executed: number; virtualNs: number; wallNs: number; /** Requests sent again so far. */ resends: number; primitives?: PrimitiveCounts; /** Of those, what is not done once for all. */ recurring?: PrimitiveCounts; /** Binary translation. */ translation?: TranslationCounts }

/**
 * Turns marks into operation records. At most one operation is open at a time: a Begin while another is open leaves the other
 * incomplete. `boot` is open from the first instruction.
 */
export class OperationRecorder {
  readonly records: OperationRecord[] = [];
  dropped = 0;
  private open: OperationRecord | null = null;
  private since: Moment | null = null;
  private lastLapNs = 0;
  private lastLapRecurring: PrimitiveCounts = {};

  get current(): OperationRecord | null {
    return this.open;
  }

  begin(operation: number, moment: Moment): OperationRecord | null {
    const name = operationName(operation);
    if (name === undefined) return null;
    this.open = null;
    if (this.records.length >= MAX_RECORDS) {
      this.dropped++;
      return null;
    }
    const record: OperationRecord = {
      operation: name, complete: false, repetitions: 0, retired: 0, executed: 0, virtualNs: 0, exits: {}, hypercalls: 0, messages: {},
      wall: { guestNs: 0, busNs: 0, handlersNs: 0, totalNs: 0, resends: 0, lapsNs: [] }, traceId: null, stateHash: null,
    };
    this.records.push(record);
    this.open = record;
    this.since = moment;
    this.lastLapNs = moment.wallNs;
    this.lastLapRecurring = moment.recurring ?? {};
    return record;
  }

  /** Feed one mark. Returns the record that it closed, if any. */
  mark(mark: Mark, moment: Moment): OperationRecord | null {
    const { open } = this;
    if (mark.kind === MarkKind.Begin) {
      this.begin(mark.operation, moment);
      return null;
    }
    if (open === null || operationName(mark.operation) !== open.operation) return null;
    if (mark.kind === MarkKind.Lap) {
      open.repetitions++;
      if (open.wall.lapsNs.length < MAX_LAPS) open.wall.lapsNs.push(moment.wallNs - this.lastLapNs);
      this.lastLapNs = moment.wallNs;
      if (moment.recurring !== undefined) {
        open.lastRepetition = primitivesBetween(this.lastLapRecurring, moment.recurring);
        this.lastLapRecurring = moment.recurring;
      }
      return null;
    }
    if (mark.kind !== MarkKind.End) return null;
    this.update(open, moment);
    open.complete = true;
    if (open.operation === 'boot') open.repetitions = 1;
    this.open = null;
    return open;
  }

  /** Bring the open record's counters up to `moment` (also for reading statistics of a running machine). */
  refresh(moment: Moment): void {
    if (this.open !== null) this.update(this.open, moment);
  }

  countExit(reason: string, hypercalls: number): void {
    if (this.open === null) return;
    increment(this.open.exits, reason);
    this.open.hypercalls += hypercalls;
  }

  countMessages(subject: string, count: number): void {
    if (this.open !== null) increment(this.open.messages, subject, count);
  }

  addWall(guestNs: number, busNs: number, handlersNs: number): void {
    if (this.open === null) return;
    this.open.wall.guestNs += guestNs;
    this.open.wall.busNs += busNs;
    this.open.wall.handlersNs += handlersNs;
  }

  private update(record: OperationRecord, moment: Moment): void {
    const since = this.since!;
    record.retired = moment.retired - since.retired;
    record.executed = moment.executed - since.executed;
    record.virtualNs = moment.virtualNs - since.virtualNs;
    if (moment.primitives !== undefined) record.primitives = primitivesBetween(since.primitives ?? {}, moment.primitives);
    if (moment.translation !== undefined) record.translation = countsBetween(since.translation ?? moment.translation, moment.translation);
    record.wall.totalNs = moment.wallNs - since.wallNs;
    record.wall.resends = moment.resends - since.resends;
  }
}

function countsBetween(since: TranslationCounts, until: TranslationCounts): TranslationCounts {
  const between = { ...until };
  for (const name of Object.keys(until) as (keyof TranslationCounts)[]) between[name] = until[name] - since[name];
  return between;
}
