import type { Context } from '../context.js';
import { Failure } from '../failure.js';
import { ControlClient } from './control-client.js';
import { SERVICES } from './service.js';
import { Session, type SessionOptions } from './session.js';
import { readState, stillRunning } from './state-file.js';

/** Connects to what is up: NATS_URL, else what `up` started. Closed when the command ends. */
export async function connectRunning(context: Context): Promise<ControlClient> {
  const named = context.environment['NATS_URL'];
  const state = named ? null : await readState(context.stateDirectory);
  if (!named && (state === null || stillRunning(state).length === 0)) throw new Failure('Nothing is up: ./ringside up starts the services.');
  const client = await ControlClient.connect(named ?? state!.natsUrl);
  context.cleanups.push(() => client.close());
  return client;
}

export interface OpenOptions extends SessionOptions {
  /** Never start services: wait up to a minute for those at NATS_URL. */
  attach?: boolean;
}

/**
 * For a command that wants a machine room of its own: the services at NATS_URL when there are some, else ones started here and
 * stopped when the command ends.
 */
export async function openSession(context: Context, options: OpenOptions = {}): Promise<{ client: ControlClient; session: Session | null }> {
  const named = context.environment['NATS_URL'];
  if (options.attach && !named) throw new Failure('--attach needs NATS_URL: the server at which the services are.', 2);
  if (named) {
    const client = options.attach ? await waitForServices(named, context) : await connectRunning(context);
    const missing = await missingServices(client);
    if (missing.length === 0) return { client, session: null };
    if (missing.length < SERVICES.length) throw new Failure(`At ${named} there is no ${missing.join(' and no ')}: start what is missing, or use another NATS server.`);
  }
  context.terminal.progress(named ? `starting the services at ${named}` : 'starting NATS and the services');
  const session = await Session.start(context, options);
  context.cleanups.push(() => session.stop());
  const client = await ControlClient.connect(session.natsUrl);
  context.cleanups.push(() => client.close());
  return { client, session };
}

async function missingServices(client: ControlClient): Promise<string[]> {
  const present = new Set<string>((await client.services()).map(({ service }) => service));
  return SERVICES.filter((name) => !present.has(name));
}

/** A server and services that may be starting at this moment, as they do side by side in a cluster. */
async function waitForServices(url: string, context: Context): Promise<ControlClient> {
  const deadline = Date.now() + 60_000;
  const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 700));
  let client: ControlClient | null = null;
  for (; client === null; await pause()) {
    try {
      client = await ControlClient.connect(url);
    } catch (error) {
      if (Date.now() > deadline) throw error;
      context.terminal.progress(`waiting for a NATS server at ${url}`);
    }
  }
  const connected = client;
  context.cleanups.push(() => connected.close());
  for (;; await pause()) {
    const missing = await missingServices(connected);
    if (missing.length === 0) return connected;
    if (Date.now() > deadline) throw new Failure(`At ${url}, ${missing.join(' and ')} did not appear within a minute.`);
    context.terminal.progress(`waiting for ${missing.join(', ')} at ${url}`);
  }
}
