import type { Wire, WireMessage, WireSubscription } from './wire.js';

/** What a FaultyWire did to the frames that passed it. */
export interface FaultCounts { passed: number; dropped: number; duplicated: number; delayed: number; reordered: number }

/**
 * A bad network, for tests: of all published frames (requests, replies, console output, control plane) `percent` are
 * dropped, duplicated, delayed or reordered, decided by a seed. Put one on every service and both directions suffer.
 */
export class FaultyWire implements Wire {
  readonly counts: FaultCounts = { passed: 0, dropped: 0, duplicated: 0, delayed: 0, reordered: 0 };
  private state: number;
  /** A frame that waits for a later one to overtake it. */
  private held: (() => void) | null = null;

  constructor(private readonly wire: Wire, private readonly percent: number, seed: number) {
    this.state = seed >>> 0;
  }

  publish(subject: string, data: Uint8Array, reply?: string): void {
    const send = (): void => this.wire.publish(subject, data, reply);
    const overtaken = this.held;
    this.held = null;
    if (this.random() * 100 >= this.percent) {
      this.counts.passed++;
      send();
    } else {
      this.misdeliver(send);
    }
    overtaken?.();
  }

  subscribe(subject: string, deliver: (message: WireMessage) => void, queue?: string): WireSubscription {
    return this.wire.subscribe(subject, deliver, queue);
  }

  private misdeliver(send: () => void): void {
    const kind = Math.floor(this.random() * 4);
    if (kind === 0) {
      this.counts.dropped++;
    } else if (kind === 1) {
      this.counts.duplicated++;
      send();
      setTimeout(send, this.random() * 15).unref();
    } else if (kind === 2) {
      this.counts.delayed++;
      setTimeout(send, 1 + this.random() * 25);
    } else {
      this.counts.reordered++;
      this.held = send;
      // If nothing follows, it goes out after all.
      setTimeout(() => {
        if (this.held !== send) return;
        this.held = null;
        send();
      }, 30);
    }
  }

  /** mulberry32: the same seed gives the same sequence of decisions. */
  private random(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }
}
