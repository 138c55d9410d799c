import type { Msg, NatsConnection } from '@nats-io/transport-node';

/** A message as it arrives. Nothing of it is decoded before it is asked for. */
export type WireMessage = Pick<Msg, 'subject' | 'data' | 'reply' | 'headers'>;
export interface WireSubscription { unsubscribe(): void }

/**
 * The little of NATS that Ringside stands on: publish and subscribe. Replies are publications to an inbox. Everything above
 * it must be right when frames are lost, doubled, late or out of order; `FaultyWire` proves that.
 */
export interface Wire {
  publish(subject: string, data: Uint8Array, reply?: string): void;
  /** @param queue with a queue group, one member gets each message; without, every subscriber does */
  subscribe(subject: string, deliver: (message: WireMessage) => void, queue?: string): WireSubscription;
}

export class NatsWire implements Wire {
  constructor(private readonly connection: NatsConnection) {}

  publish(subject: string, data: Uint8Array, reply?: string): void {
    // After close() there is nobody to tell: a request in flight then ends in its own timeout.
    if (this.connection.isClosed()) return;
    this.connection.publish(subject, data, reply === undefined ? {} : { reply });
  }

  subscribe(subject: string, deliver: (message: WireMessage) => void, queue?: string): WireSubscription {
    const subscription = this.connection.subscribe(subject, {
      ...(queue === undefined ? {} : { queue }),
      // An error here means that the subscription has ended (closed, or not permitted); the connection's status reports it.
      callback: (error, message) => { if (error === null) deliver(message); },
    });
    return { unsubscribe: () => { if (!this.connection.isClosed()) subscription.unsubscribe(); } };
  }
}
