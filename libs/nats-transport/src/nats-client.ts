import { ClientProxy, type ReadPacket, type WritePacket } from '@nestjs/microservices';
import { UnreachableError } from '@ringside/machine';
import { FrameKind, MAGIC, cpuSubject, consoleSubject, controlSubject, decodeRefusal, type ConsoleMessages, type ControlMessages, type ControlReply, type ControlVerb, type CpuMessages } from '@ringside/protocol';
import { ControlFailure, RefusedError } from './errors.js';
import { CONTROL_POLICY, EXIT_POLICY, RequestMux, type ResendPolicy } from './request-mux.js';
import type { Wire } from './wire.js';

const KIND_AT = 2;

/**
 * Ringside's Nest transport, the sending half. `call` carries frames; `control`, `cpu` and `console` carry typed JSON;
 * Nest's own `send` works for any control subject.
 */
export class NatsClient extends ClientProxy {
  readonly mux: RequestMux;
  private controlId = 0;

  /** @param instance a subject token that no other process uses: names the inbox and makes request ids unique */
  constructor(private readonly wire: Wire, private readonly instance: string, policy: ResendPolicy = EXIT_POLICY, private readonly controlPolicy: ResendPolicy = CONTROL_POLICY) {
    super();
    this.mux = new RequestMux(wire, `_INBOX.${instance}`, policy, refusalOf);
  }

  /**
   * Send a frame until it is answered.
   * @throws UnreachableError, RefusedError
   */
  call(subject: string, frame: Uint8Array, policy?: ResendPolicy, withdrawn?: AbortSignal): Promise<Uint8Array> {
    return this.mux.call(subject, frame, policy, withdrawn);
  }

  /** @throws ControlFailure with the answer's error; UnreachableError */
  control<V extends ControlVerb>(verb: V, data: ControlMessages[V]['request'], policy?: ResendPolicy): Promise<ControlMessages[V]['reply']> {
    return this.json(controlSubject(verb), data, policy) as Promise<ControlMessages[V]['reply']>;
  }

  /** @throws ControlFailure, UnreachableError */
  cpu<V extends keyof CpuMessages & string>(vmId: string, verb: V, data: NonNullable<CpuMessages[V]>['request'], policy?: ResendPolicy): Promise<NonNullable<CpuMessages[V]>['reply']> {
    return this.json(cpuSubject(vmId, verb as Parameters<typeof cpuSubject>[1]), data, policy) as Promise<NonNullable<CpuMessages[V]>['reply']>;
  }

  /** @throws ControlFailure, UnreachableError */
  console<V extends keyof ConsoleMessages & string>(vmId: string, verb: V, data: NonNullable<ConsoleMessages[V]>['request'], policy?: ResendPolicy): Promise<NonNullable<ConsoleMessages[V]>['reply']> {
    return this.json(consoleSubject(vmId, verb as Parameters<typeof consoleSubject>[1]), data, policy) as Promise<NonNullable<ConsoleMessages[V]>['reply']>;
  }

  /** Ask every instance; whatever has been answered after `waitMs` is the result. */
  async broadcast<Reply>(subject: string, data: unknown, waitMs: number): Promise<Reply[]> {
    const inbox = `_INBOX.${this.instance}-all.${(++this.controlId).toString(36)}`;
    const replies = new Map<string, Reply>();
    const subscription = this.wire.subscribe(inbox, ({ data: bytes }) => {
      if (bytes.length === 0) return;
      const reply = JSON.parse(textDecoder.decode(bytes)) as ControlReply<Reply & { instance?: string }>;
      if ('data' in reply) replies.set(reply.data.instance ?? String(replies.size), reply.data);
    });
    const frame = textEncoder.encode(JSON.stringify({ id: this.nextId(), data }));
    this.wire.publish(subject, frame, inbox);
    await new Promise((resolve) => setTimeout(resolve, waitMs / 2));
    this.wire.publish(subject, frame, inbox);
    await new Promise((resolve) => setTimeout(resolve, waitMs / 2));
    subscription.unsubscribe();
    return [...replies.values()];
  }

  async connect(): Promise<void> {
    // The wire is connected before the client exists.
  }

  close(): void {
    this.mux.close();
  }

  unwrap<T>(): T {
    return this.wire as T;
  }

  protected publish(packet: ReadPacket, callback: (packet: WritePacket) => void): () => void {
    this.json(packet.pattern as string, packet.data).then((response) => callback({ response, isDisposed: true }), (err: unknown) => callback({ err }));
    return () => undefined;
  }

  protected async dispatchEvent<T>(packet: ReadPacket): Promise<T> {
    return await this.json(packet.pattern as string, packet.data) as T;
  }

  private async json(subject: string, data: unknown, policy = this.controlPolicy): Promise<unknown> {
    const request = textEncoder.encode(JSON.stringify({ id: this.nextId(), data }));
    const reply = JSON.parse(textDecoder.decode(await this.mux.call(subject, request, policy))) as ControlReply;
    if ('error' in reply) throw new ControlFailure(reply.error.code, reply.error.message);
    return reply.data;
  }

  private nextId(): string {
    return `${this.instance}-${(++this.controlId).toString(36)}`;
  }
}

/** JSON replies begin with a brace, so that a refusal is told by two bytes. */
function refusalOf(reply: Uint8Array, subject: string): Error | null {
  if (reply[KIND_AT] !== FrameKind.Refusal || reply[0] !== MAGIC) return null;
  try {
    const { code, message } = decodeRefusal(reply);
    // Told on, so that the VM ends in the same state whoever of the chain is missing.
    return code === 'unreachable' ? new UnreachableError(message) : new RefusedError(code, `${subject}: ${message}`);
  } catch (error) {
    return error as Error;
  }
}

const textDecoder = new TextDecoder();
const textEncoder = new TextEncoder();
