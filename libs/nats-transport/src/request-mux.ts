import { UnreachableError } from '@ringside/machine';
import type { Wire, WireMessage, WireSubscription } from './wire.js';

export interface ResendPolicy {
  /** First resend after this many ms; each further wait is twice the last, up to `maxWaitMs`. */
  firstWaitMs: number;
  maxWaitMs: number;
  /** Give up after this many ms, but never before `minResends` resends. */
  timeoutMs: number;
  minResends: number;
}
export const EXIT_POLICY: ResendPolicy = { firstWaitMs: 4, maxWaitMs: 500, timeoutMs: 5_000, minResends: 8 };
/** A control request may take as long as booting a machine takes; there is no hurry to repeat it. */
export const CONTROL_POLICY: ResendPolicy = { firstWaitMs: 50, maxWaitMs: 1_000, timeoutMs: 30_000, minResends: 8 };

interface Pending {
  subject: string;
  frame: Uint8Array;
  reply: string;
  policy: ResendPolicy;
  sentAt: number;
  resendAt: number;
  waitMs: number;
  resends: number;
  noResponders: boolean;
  resolve: (data: Uint8Array) => void;
  reject: (error: Error) => void;
}

/**
 * Request and reply over one wildcard inbox. A request is sent again, byte for byte and with the same inbox token, until its
 * reply comes; so the first reply counts and later copies find no token. One timer, armed only while something is pending,
 * serves all requests: a timer and an error object per request is what makes the client library's own `request` slow.
 */
export class RequestMux {
  private readonly pending = new Map<string, Pending>();
  private readonly inbox: string;
  private readonly subscription: WireSubscription;
  private token = 0;
  private timer: NodeJS.Timeout | null = null;
  private closed = false;
  /** Requests sent, resends among them not counted; and resends. */
  readonly counts = { requests: 0, resends: 0, unreachable: 0 };

  /** @param refusalOf the error that a reply stands for; null for an answer */
  constructor(private readonly wire: Wire, inbox: string, private readonly policy: ResendPolicy = EXIT_POLICY, private readonly refusalOf: (reply: Uint8Array, subject: string) => Error | null = () => null) {
    this.inbox = `${inbox}.`;
    this.subscription = wire.subscribe(`${inbox}.*`, (message) => this.replied(message));
  }

  /**
   * @param withdrawn when it fires, nothing is sent again and the call rejects with its reason
   * @returns the reply's bytes
   * @throws UnreachableError when nobody has answered within the policy's timeout and resends
   */
  call(subject: string, frame: Uint8Array, policy: ResendPolicy = this.policy, withdrawn?: AbortSignal): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.closed) {
        reject(new UnreachableError(`the connection is closed; ${subject} was not sent`));
        return;
      }
      const token = (++this.token).toString(36);
      const now = performance.now();
      const reply = this.inbox + token;
      this.pending.set(token, { subject, frame, reply, policy, sentAt: now, resendAt: now + policy.firstWaitMs, waitMs: policy.firstWaitMs, resends: 0, noResponders: false, resolve, reject });
      withdrawn?.addEventListener('abort', () => { if (this.pending.delete(token)) reject(withdrawn.reason as Error); }, { once: true });
      this.counts.requests++;
      this.wire.publish(subject, frame, reply);
      this.arm(policy.firstWaitMs);
    });
  }

  get inFlight(): number {
    return this.pending.size;
  }

  /** Whoever still waits is told. */
  close(): void {
    this.closed = true;
    this.subscription.unsubscribe();
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    for (const request of this.pending.values()) request.reject(new UnreachableError(`the connection was closed before ${request.subject} was answered`));
    this.pending.clear();
  }

  private replied(message: WireMessage): void {
    const token = message.subject.slice(this.inbox.length);
    const request = this.pending.get(token);
    if (request === undefined) return;
    // The server's own answer when a subject has no subscriber: one may come (a restart), so the resends go on.
    if (message.data.length === 0 && message.headers?.code === 503) {
      request.noResponders = true;
      return;
    }
    this.pending.delete(token);
    const { data } = message;
    const refusal = this.refusalOf(data, request.subject);
    if (refusal === null) request.resolve(data);
    else request.reject(refusal);
  }

  private arm(waitMs: number): void {
    if (this.timer !== null || this.closed) return;
    // Timers run before sockets are read: by the time of the immediate, replies that have already arrived are in.
    this.timer = setTimeout(() => setImmediate(() => this.sweep()), waitMs);
  }

  private sweep(): void {
    this.timer = null;
    if (this.closed || this.pending.size === 0) return;
    const now = performance.now();
    let next = Infinity;
    for (const [token, request] of this.pending) {
      if (now >= request.resendAt) this.resendOrGiveUp(token, request, now);
      if (request.resendAt < next) next = request.resendAt;
    }
    if (this.pending.size > 0) this.arm(Math.max(1, next - now));
  }

  private resendOrGiveUp(token: string, request: Pending, now: number): void {
    const { policy } = request;
    if (now - request.sentAt >= policy.timeoutMs && request.resends >= policy.minResends) {
      this.pending.delete(token);
      this.counts.unreachable++;
      const seconds = ((now - request.sentAt) / 1_000).toFixed(1);
      const cause = request.noResponders ? 'nobody listens there' : 'no answer';
      request.reject(new UnreachableError(`${request.subject}: ${cause} for ${seconds} s (sent ${request.resends + 1} times)`));
      return;
    }
    request.resends++;
    this.counts.resends++;
    request.noResponders = false;
    request.waitMs = Math.min(2 * request.waitMs, policy.maxWaitMs);
    request.resendAt = now + request.waitMs;
    this.wire.publish(request.subject, request.frame, request.reply);
  }
}
