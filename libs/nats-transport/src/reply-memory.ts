import type { FrameHeader } from '@ringside/protocol';

/**
 * What to do with a request frame: `run` it; `wait` (it is being run, or an older one is: nothing to answer yet); `repeat` the
 * remembered reply; `ignore` it (older than what its sender has already had answered); refuse it as of a `stale` epoch.
 */
export type Verdict = 'run' | 'wait' | 'repeat' | 'ignore' | 'stale';

/**
 * Exactly once, the receiver's half. Of one VM and one sender at most one request is outstanding, so one remembered reply
 * is enough, whatever the network does: a sender that goes on to the next request has had its answer.
 */
export class ReplyMemory {
  private seq = 0;
  private ordinal = -1;
  private inFlight = false;
  private reply: Uint8Array | null = null;
  /** What was remembered before the request that runs. */
  private before: { seq: number; ordinal: number; reply: Uint8Array | null } = { seq: 0, ordinal: -1, reply: null };
  readonly counts = { run: 0, wait: 0, repeat: 0, ignore: 0, stale: 0 };

  /** @param epoch of the machine as claimed; frames of earlier ones are refused */
  constructor(private epoch: number) {}

  admit(header: Pick<FrameHeader, 'epoch' | 'seq' | 'ordinal'>): Verdict {
    const verdict = this.judge(header);
    this.counts[verdict]++;
    return verdict;
  }

  /** The handler is done. A reply that belongs to an epoch that has passed meanwhile is forgotten. */
  settle(header: Pick<FrameHeader, 'epoch' | 'seq' | 'ordinal'>, reply: Uint8Array): void {
    if (header.epoch !== this.epoch || header.seq !== this.seq || header.ordinal !== this.ordinal) return;
    this.inFlight = false;
    // A copy: the frame is a view on a slab of other frames, which would live as long.
    this.reply = reply.slice();
  }

  /** The frame turned out not to be a request at all: as if it had never come. */
  withdraw(header: Pick<FrameHeader, 'epoch' | 'seq' | 'ordinal'>): void {
    if (header.epoch !== this.epoch || header.seq !== this.seq || header.ordinal !== this.ordinal) return;
    ({ seq: this.seq, ordinal: this.ordinal, reply: this.reply } = this.before);
    this.inFlight = false;
  }

  get remembered(): Uint8Array | null {
    return this.reply;
  }

  private judge({ epoch, seq, ordinal }: Pick<FrameHeader, 'epoch' | 'seq' | 'ordinal'>): Verdict {
    if (epoch < this.epoch) return 'stale';
    if (epoch === this.epoch) {
      if (seq === this.seq && ordinal === this.ordinal) return this.inFlight ? 'wait' : 'repeat';
      if (seq < this.seq || (seq === this.seq && ordinal < this.ordinal)) return 'ignore';
      // The sender keeps one request outstanding, so a newer one while one is being run comes from a sender that gave up: it
      // will be resent, and admitted once the VM's state is no longer being changed.
      if (this.inFlight) return 'wait';
    }
    const { seq: lastSeq, ordinal: lastOrdinal, reply } = this;
    this.before = epoch === this.epoch ? { seq: lastSeq, ordinal: lastOrdinal, reply } : { seq: 0, ordinal: -1, reply: null };
    this.epoch = epoch;
    this.seq = seq;
    this.ordinal = ordinal;
    this.inFlight = true;
    this.reply = null;
    return 'run';
  }
}
