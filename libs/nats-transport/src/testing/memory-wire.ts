import type { MsgHdrs } from '@nats-io/transport-node';
import type { Wire, WireMessage, WireSubscription } from '../wire.js';

interface Subscriber { subject: string[]; queue: string | undefined; deliver: (message: WireMessage) => void }

/** NATS in one process, as far as Ringside uses it: wildcards, queue groups, the 503 of a subject without subscribers. */
export class MemoryWire implements Wire {
  private readonly subscribers = new Set<Subscriber>();
  private turn = 0;

  publish(subject: string, data: Uint8Array, reply?: string): void {
    setImmediate(() => this.route(subject, data, reply));
  }

  subscribe(subject: string, deliver: (message: WireMessage) => void, queue?: string): WireSubscription {
    const subscriber: Subscriber = { subject: subject.split('.'), queue, deliver };
    this.subscribers.add(subscriber);
    return { unsubscribe: () => { this.subscribers.delete(subscriber); } };
  }

  private route(subject: string, data: Uint8Array, reply: string | undefined): void {
    const tokens = subject.split('.');
    const matching = [...this.subscribers].filter((subscriber) => matches(subscriber.subject, tokens));
    const queues = new Map<string, Subscriber[]>();
    for (const subscriber of matching) {
      if (subscriber.queue === undefined) subscriber.deliver({ subject, data, ...(reply === undefined ? {} : { reply }) });
      else queues.set(subscriber.queue, [...queues.get(subscriber.queue) ?? [], subscriber]);
    }
    for (const members of queues.values()) members[this.turn++ % members.length]!.deliver({ subject, data, ...(reply === undefined ? {} : { reply }) });
    if (matching.length === 0 && reply !== undefined) this.noResponders(reply);
  }

  private noResponders(reply: string): void {
    const tokens = reply.split('.');
    const message: WireMessage = { subject: reply, data: new Uint8Array(0), headers: { code: 503 } as MsgHdrs };
    for (const subscriber of this.subscribers) if (matches(subscriber.subject, tokens)) subscriber.deliver(message);
  }
}

function matches(pattern: string[], subject: string[]): boolean {
  for (const [index, token] of pattern.entries()) {
    if (token === '>') return subject.length > index;
    if (subject[index] === undefined || (token !== '*' && token !== subject[index])) return false;
  }
  return pattern.length === subject.length;
}
