import {
  consoleSubject, controlSubject, decodeConsoleOutput, SERVICES_SUBJECT, SPANS_SUBJECT,
  type ConsoleChunk, type ConsoleOutput, type ControlErrorCode, type ControlMessages, type ControlReply, type ControlVerb, type ServiceStatus, type SpanRecord, type SpansReply,
} from '@ringside/protocol';
import { connect, createInbox, NoRespondersError, RequestError, TimeoutError, type NatsConnection, type Subscription } from '@nats-io/transport-node';
import { randomUUID } from 'node:crypto';
import { Failure, messageOf } from '../failure.js';

/** A service's refusal: its sentence, and the code for callers that can go on. */
export class Refusal extends Failure {
  override name = 'Refusal';
  constructor(readonly code: ControlErrorCode, message: string) {
    super(message);
  }
}

const SPANS_PER_ANSWER = 1_000;

/** The control plane as the command line uses it: JSON requests with an id, so that one sent again takes effect once. */
export class ControlClient {
  private constructor(private readonly connection: NatsConnection, readonly url: string) {}

  static async connect(url: string): Promise<ControlClient> {
    try {
      const connection = await connect({ servers: url, name: 'ringside cli', timeout: 5_000, maxReconnectAttempts: 20, reconnectTimeWait: 250, noAsyncTraces: true });
      return new ControlClient(connection, url);
    } catch (error) {
      throw new Failure(`No NATS server answers at ${url} (${messageOf(error)}): check NATS_URL, or unset it and run ./ringside up.`);
    }
  }

  /** Asks the service that answers `verb`; asks again, with the same id, until `timeoutMs` is over. */
  async request<V extends ControlVerb>(verb: V, data: ControlMessages[V]['request'], timeoutMs = 20_000): Promise<ControlMessages[V]['reply']> {
    return this.ask(controlSubject(verb), data, timeoutMs) as Promise<ControlMessages[V]['reply']>;
  }

  async sendInput(vmId: string, bytes: Uint8Array): Promise<void> {
    await this.ask(consoleSubject(vmId, 'in'), { data: Buffer.from(bytes).toString('base64') }, 10_000);
  }

  /** Console bytes from `offset` on (the last ones without it). */
  async fetchConsole(vmId: string, request: { offset?: number; maxBytes?: number } = {}): Promise<{ epoch: number; offset: number; bytes: Uint8Array; end: number }> {
    const chunk = await this.ask(consoleSubject(vmId, 'fetch'), request, 10_000) as ConsoleChunk;
    return { epoch: chunk.epoch, offset: chunk.offset, bytes: Buffer.from(chunk.data, 'base64'), end: chunk.end };
  }

  /** What the guest prints from now on, until the subscription ends. A frame that cannot be read is left out: its bytes are fetched again as a gap. */
  watchConsole(vmId: string, heard: (output: ConsoleOutput) => void): Subscription {
    return this.connection.subscribe(consoleSubject(vmId, 'out'), {
      callback: (error, message) => {
        if (error !== null) return;
        try {
          heard(decodeConsoleOutput(message.data));
        } catch {
          return;
        }
      },
    });
  }

  /** Everybody who answers within `waitMs`. */
  async services(waitMs = 300): Promise<ServiceStatus[]> {
    const answers = await this.askAll<ServiceStatus>(SERVICES_SUBJECT, {}, waitMs, () => false);
    return answers.sort((a, b) => a.service.localeCompare(b.service) || a.instance.localeCompare(b.instance));
  }

  /** All spans of a trace that the services still hold, in the order of their beginning. */
  async spans(traceId: string): Promise<SpanRecord[]> {
    const spans = new Map<string, SpanRecord>();
    for (let from = 0; ; from += SPANS_PER_ANSWER) {
      const answers = await this.askAll<SpansReply>(SPANS_SUBJECT, { traceId, from }, 500, () => false);
      for (const span of answers.flatMap((answer) => answer.spans)) spans.set(span.spanId, span);
      if (answers.every(({ total }) => total <= from + SPANS_PER_ANSWER)) break;
    }
    return [...spans.values()].sort((a, b) => a.startUs - b.startUs || a.spanId.localeCompare(b.spanId));
  }

  async close(): Promise<void> {
    if (!this.connection.isClosed()) await this.connection.close();
  }

  private async ask(subject: string, data: unknown, timeoutMs: number): Promise<unknown> {
    const id = randomUUID();
    const payload = JSON.stringify({ id, data });
    const deadline = Date.now() + timeoutMs;
    for (let attempt = 1; ; attempt++) {
      try {
        const message = await this.connection.request(subject, payload, { timeout: Math.max(50, Math.min(5_000, deadline - Date.now())) });
        const reply = message.json<ControlReply>();
        if ('error' in reply) throw new Refusal(reply.error.code, reply.error.message);
        return reply.data;
      } catch (error) {
        if (error instanceof Refusal) throw error;
        const silent = error instanceof NoRespondersError || (error instanceof RequestError && error.isNoResponders());
        if (!silent && !(error instanceof TimeoutError)) throw new Failure(`Asking ${subject} at ${this.url} failed: ${messageOf(error)}`);
        // Nobody there: give a service that is just starting or reconnecting a moment.
        if (silent && attempt >= 4) throw new Failure(`Nobody answers ${subject} at ${this.url}: the service is not running. ./ringside status shows what is.`);
        if (Date.now() >= deadline) throw new Failure(`No answer to ${subject} within ${timeoutMs / 1000} s. ./ringside status shows what runs.`);
        if (silent) await new Promise((resolve) => setTimeout(resolve, 250));
      }
    }
  }

  private async askAll<Answer>(subject: string, data: unknown, waitMs: number, enough: (answers: Answer[]) => boolean): Promise<Answer[]> {
    const answers: Answer[] = [];
    const inbox = createInbox();
    const subscription = this.connection.subscribe(inbox);
    this.connection.publish(subject, JSON.stringify({ id: randomUUID(), data }), { reply: inbox });
    const timer = setTimeout(() => subscription.unsubscribe(), waitMs);
    for await (const message of subscription) {
      if (message.headers?.code === 503 || message.data.length === 0) break;
      const reply = message.json<ControlReply<Answer>>();
      if ('data' in reply) answers.push(reply.data);
      if (enough(answers)) break;
    }
    clearTimeout(timer);
    subscription.unsubscribe();
    return answers;
  }
}
