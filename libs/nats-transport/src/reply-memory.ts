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
  /** The last reply's bytes, in a buffer of its own: the frame itself is a view on a slab of other frames. NONE without one. */
  private buffer = new Uint8Array(FIRST_BUFFER_BYTES);
  private length = NONE;
  /** What `withdraw` goes back to; its reply stays in the buffer until the request that runs has been answered. */
  private lastSeq = 0;
  private lastOrdinal = -1;
  private lastLength = NONE;
  readonly counts = { run: 0, wait: 0, repeat: 0, ignore: 0, stale: 0 };

  /** @param epoch of the machine as claimed; frames of earlier ones are refused */
  constructor(private epoch: number) {}

  admit(header: RequestId): Verdict {
    const verdict = this.judge(header);
    this.counts[verdict]++;
    return verdict;
  }

  /** The handler is done. A reply that belongs to an epoch that has passed meanwhile is forgotten. */
  settle(header: RequestId, reply: Uint8Array): void {
    if (!this.runs(header)) return;
    this.inFlight = false;
    if (this.buffer.length < reply.length || this.buffer.length > Math.max(16 * reply.length, LARGE_BUFFER_BYTES)) this.buffer = new Uint8Array(Math.max(reply.length, FIRST_BUFFER_BYTES));
    this.buffer.set(reply);
    this.length = reply.length;
  }

  /** The frame turned out not to be a request at all: as if it had never come. */
  withdraw(header: RequestId): void {
    if (!this.runs(header)) return;
    this.inFlight = false;
    this.seq = this.lastSeq;
    this.ordinal = this.lastOrdinal;
    this.length = this.lastLength;
  }

  /** A copy of the reply to the last request, once it has one. */
  get remembered(): Uint8Array | null {
    return this.inFlight || this.length === NONE ? null : this.buffer.slice(0, this.length);
  }

  private runs({ epoch, seq, ordinal }: RequestId): boolean {
    return this.inFlight && epoch === this.epoch && seq === this.seq && ordinal === this.ordinal;
  }

  private judge({ epoch, seq, ordinal }: RequestId): Verdict {
    if (epoch < this.epoch) return 'stale';
    if (epoch === this.epoch) {
      if (seq === this.seq && ordinal === this.ordinal) return this.inFlight ? 'wait' : 'repeat';
      if (seq < this.seq || (seq === this.seq && ordinal < this.ordinal)) return 'ignore';
      // The sender keeps one request outstanding, so a newer one while one is being run comes from a sender that gave up: it
      // will be resent, and admitted once the VM's state is no longer being changed.
      if (this.inFlight) return 'wait';
      this.lastSeq = this.seq;
      this.lastOrdinal = this.ordinal;
      this.lastLength = this.length;
    } else {
      this.lastSeq = 0;
      this.lastOrdinal = -1;
      this.lastLength = NONE;
    }
    this.epoch = epoch;
    this.seq = seq;
    this.ordinal = ordinal;
    this.inFlight = true;
    return 'run';
  }
}

type RequestId = Pick<FrameHeader, 'epoch' | 'seq' | 'ordinal'>;
const NONE = -1;
const FIRST_BUFFER_BYTES = 256;
/** A buffer grown beyond this for one long reply is given back after a short one. */
const LARGE_BUFFER_BYTES = 65_536;
