import { randomBytes } from 'node:crypto';
import { connect, type NatsConnection } from '@nats-io/transport-node';

export const DEFAULT_NATS_URL = 'nats://127.0.0.1:4222';

/** A name that is one subject token and that no other process has. */
export function instanceName(service: string): string {
  return `${service}-${randomBytes(6).toString('hex')}`;
}

/**
 * Connect, trying for `patienceMs` (services often start before their broker), and reconnect for ever afterwards.
 * @throws Error with one sentence that says what to do
 */
export async function connectNats(url: string, name: string, patienceMs = 10_000): Promise<NatsConnection> {
  const giveUp = performance.now() + patienceMs;
  for (;;) {
    try {
      return await connect({ servers: url, name, maxReconnectAttempts: -1, reconnectTimeWait: 250, noAsyncTraces: true, inboxPrefix: `_INBOX.${name}`, timeout: 2_000 });
    } catch (error) {
      if (performance.now() >= giveUp) throw new Error(`no nats-server at ${url} (${error instanceof Error ? error.message : String(error)}): start one, or set NATS_URL to where it is`, { cause: error });
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}
