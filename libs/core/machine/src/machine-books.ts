import { whenSettled, type ExitCost, type MaybePromise } from './exit.js';
import { OperationRecorder, type Moment } from './operation-recorder.js';
import { increment, LatencyTally, summarize, type MachineStatistics } from './statistics.js';

/** What guest-cpu, the one driver, writes down about its machine: every request with its round trip, by reason and by operation. */
export class MachineBooks {
  readonly recorder = new OperationRecorder();
  /** Requests answered so far. */
  answered = 0;
  private readonly tallies = new Map<string, LatencyTally>();
  private readonly messages: Record<string, number> = {};

  constructor(private readonly wallClock: () => number, private readonly answeredHook: ((reason: string, wallNs: number) => void) | undefined) {}

  /** Execute guest instructions on the guest's account. */
  guest<T>(work: () => T): T {
    const began = this.wallClock();
    const result = work();
    this.recorder.addWall(this.wallClock() - began, 0, 0);
    return result;
  }

  /** Send a request and book its answer: a plain call stays a plain call. */
  request<T extends { cost?: ExitCost }>(reason: string, subject: string, send: () => MaybePromise<T>): MaybePromise<T> {
    const sent = this.wallClock();
    this.countMessages(subject, 1);
    const book = (reply: T): T => {
      const took = this.wallClock() - sent;
      let tally = this.tallies.get(reason);
      if (tally === undefined) this.tallies.set(reason, tally = new LatencyTally());
      tally.record(took);
      this.answered++;
      this.answeredHook?.(reason, took);
      for (const nested of reply.cost?.nested ?? []) this.countMessages(nested.bus, nested.count);
      const handlers = Math.min(reply.cost?.handlerNs ?? 0, took);
      this.recorder.addWall(0, took - handlers, handlers);
      return reply;
    };
    return whenSettled(send(), book);
  }

  statistics(now: Moment): MachineStatistics {
    this.recorder.refresh(now);
    const exits: MachineStatistics['exits'] = {};
    for (const [reason, tally] of this.tallies) exits[reason] = summarize(tally);
    return {
      retired: now.retired, executed: now.executed, virtualNs: now.virtualNs,
      exits, messages: { ...this.messages }, operations: this.recorder.records, operationsDropped: this.recorder.dropped,
    };
  }

  private countMessages(subject: string, count: number): void {
    increment(this.messages, subject, count);
    this.recorder.countMessages(subject, count);
  }
}
