import { Server, type CustomTransportStrategy, type MessageHandler } from '@nestjs/microservices';
import { UnreachableError } from '@ringside/machine';
import { ProtocolError, encodeRefusal, groupSubjects, readAskingVm, readHeader, type ControlError, type ControlRequest, type FrameHeader, type RefusalCode, type SubjectGroup } from '@ringside/protocol';
import { isObservable, lastValueFrom } from 'rxjs';
import { ControlMemory } from './control-memory.js';
import { ControlContext, FrameContext, type DispatchHook } from './frame-context.js';
import { ReplyMemory } from './reply-memory.js';
import type { Wire, WireMessage, WireSubscription } from './wire.js';

/** Handlers on a VM's subjects are written with this in place of the id: `ringside.vm.{id}.exit.*`. */
const VM_TEMPLATE = /^ringside\.vm\.\{id\}\.(exit|io|cpu|console)\.([a-z*-]+)$/;

/**
 * Second argument of `@MessagePattern`: every instance answers, or the request only reads and need not be remembered. `frames`: binary frames
 * on a subject that all VMs share, answered by any member of this queue group; a repeated one is answered again, so the answer must
 * depend on the frame alone.
 */
export interface PatternExtras { broadcast?: boolean; idempotent?: boolean; frames?: string }

interface Claim {
  vmId: string;
  epoch: number;
  subscriptions: WireSubscription[];
  /** By group and hop. */
  memories: Map<string, ReplyMemory>;
}

export interface NatsServerOptions {
  wire: Wire;
  /** Queue group of this service's control subjects: any one instance answers. */
  queue: string;
  dispatchHook?: DispatchHook;
}

/**
 * Ringside's Nest transport, the receiving half. Control subjects are subscribed when the app listens; a VM's subjects
 * when the app claims the VM, so that only the instance that holds it hears of it. A frame goes to the handler of its
 * subject's last token. Interceptors do not belong here: they would cost a third of an exit.
 */
export class NatsServer extends Server implements CustomTransportStrategy {
  override readonly transportId = Symbol('ringside');
  private readonly wire: Wire;
  private readonly groups = new Map<SubjectGroup, Map<string, MessageHandler>>();
  private readonly claims = new Map<string, Claim>();
  private readonly subscriptions: WireSubscription[] = [];
  private readonly controlMemory = new ControlMemory();
  private running = 0;
  private idle: (() => void) | null = null;
  private closing = false;
  /** Frames that could not be decoded, and what ReplyMemory kept from running twice. */
  readonly counts = { badFrames: 0, repeated: 0, ignored: 0, stale: 0 };

  constructor(private readonly options: NatsServerOptions) {
    super();
    this.wire = options.wire;
  }

  listen(ready: (error?: unknown) => void): void {
    for (const [pattern, handler] of this.messageHandlers) {
      const match = VM_TEMPLATE.exec(pattern);
      if (match === null) this.listenControl(pattern, handler);
      else this.groupHandlers(match[1] as SubjectGroup).set(match[2] as string, handler);
    }
    ready();
  }

  /** Take a VM's subjects. Claiming it again with a later epoch refuses whatever is still under way for the earlier one. */
  claim(vmId: string, epoch: number): void {
    this.release(vmId);
    const claim: Claim = { vmId, epoch, subscriptions: [], memories: new Map() };
    for (const [group, handlers] of this.groups) {
      const prefix = groupSubjects(vmId, group).length - 1;
      claim.subscriptions.push(this.wire.subscribe(groupSubjects(vmId, group), (message) => this.vmMessage(claim, group, handlers, prefix, message)));
    }
    this.claims.set(vmId, claim);
  }

  release(vmId: string): void {
    for (const subscription of this.claims.get(vmId)?.subscriptions ?? []) subscription.unsubscribe();
    this.claims.delete(vmId);
  }

  get claimed(): string[] {
    return [...this.claims.keys()];
  }

  /** No new request is taken; resolves when those under way are answered. */
  async close(): Promise<void> {
    this.closing = true;
    for (const vmId of this.claimed) this.release(vmId);
    for (const subscription of this.subscriptions.splice(0)) subscription.unsubscribe();
    if (this.running > 0) await new Promise<void>((resolve) => { this.idle = resolve; });
  }

  on(): void {
    throw new Error('this transport has no events of its own; ask the connection for its status');
  }

  unwrap<T>(): T {
    return this.wire as T;
  }

  private groupHandlers(group: SubjectGroup): Map<string, MessageHandler> {
    let handlers = this.groups.get(group);
    if (handlers === undefined) this.groups.set(group, handlers = new Map<string, MessageHandler>());
    return handlers;
  }

  private listenControl(subject: string, handler: MessageHandler): void {
    const { broadcast, frames } = extrasOf(handler);
    if (frames !== undefined) {
      const prefix = subject.lastIndexOf('.') + 1;
      this.subscriptions.push(this.wire.subscribe(subject, (message) => this.sharedFrame(handler, prefix, message), frames));
      return;
    }
    const context = (message: WireMessage): ControlContext => new ControlContext(message.subject, '');
    this.subscriptions.push(this.wire.subscribe(subject, (message) => this.controlMessage(handler, context(message), message), broadcast === true ? undefined : this.options.queue));
  }

  private sharedFrame(handler: MessageHandler, prefix: number, message: WireMessage): void {
    const header = this.header(message);
    if (header === null) return;
    let vmId: string;
    try {
      vmId = readAskingVm(message.data);
    } catch (error) {
      this.respond(message, this.failed(error, header));
      return;
    }
    void this.run(handler, new FrameContext(vmId, null, message, prefix, header), message, null);
  }

  private vmMessage(claim: Claim, group: SubjectGroup, handlers: Map<string, MessageHandler>, prefix: number, message: WireMessage): void {
    const any = handlers.get('*');
    const handler = any !== undefined && handlers.size === 1 ? any : handlers.get(message.subject.slice(prefix)) ?? any;
    if (handler === undefined) return;
    if (message.data[0] === OPENING_BRACE) {
      this.controlMessage(handler, new ControlContext(message.subject, claim.vmId), message);
      return;
    }
    const header = this.header(message);
    if (header === null) return;
    if (header.epoch !== claim.epoch) {
      this.refuseEpoch(message, claim, header);
      return;
    }
    const context = new FrameContext(claim.vmId, group, message, prefix, header);
    if (extrasOf(handler).idempotent === true) {
      void this.run(handler, context, message, null);
      return;
    }
    const memory = this.memory(claim, group, header);
    switch (memory.admit(header)) {
      case 'run':
        void this.run(handler, context, message, memory);
        return;
      case 'repeat':
        this.counts.repeated++;
        this.respond(message, memory.remembered as Uint8Array);
        return;
      case 'wait':
      case 'ignore':
      case 'stale':
        this.counts.ignored++;
        return;
    }
  }

  private header(message: WireMessage): FrameHeader | null {
    try {
      return readHeader(message.data);
    } catch (error) {
      this.counts.badFrames++;
      if (error instanceof ProtocolError && message.reply) this.wire.publish(message.reply, encodeRefusal('bad-frame', error.message, { epoch: 0, seq: 0, ordinal: 0 }));
      return null;
    }
  }

  private memory(claim: Claim, group: SubjectGroup, header: FrameHeader): ReplyMemory {
    const key = group + String(header.hop);
    let memory = claim.memories.get(key);
    if (memory === undefined) claim.memories.set(key, memory = new ReplyMemory(claim.epoch));
    return memory;
  }

  private async run(handler: MessageHandler, context: FrameContext, message: WireMessage, memory: ReplyMemory | null): Promise<void> {
    const hook = context.header.trace === null ? undefined : this.options.dispatchHook;
    const begun = hook?.begin(context);
    this.running++;
    let reply: Uint8Array;
    let failure: unknown = null;
    try {
      const result: unknown = await handler(message.data, context);
      reply = (isObservable(result) ? await lastValueFrom(result) : result) as Uint8Array;
    } catch (error) {
      failure = error;
      reply = this.failed(error, context.header);
    }
    if (failure instanceof ProtocolError) memory?.withdraw(context.header);
    else memory?.settle(context.header, reply);
    this.respond(message, reply);
    hook?.end(begun, failure);
    this.finished();
  }

  private failed(error: unknown, header: FrameHeader): Uint8Array {
    if (error instanceof ProtocolError) {
      this.counts.badFrames++;
      return encodeRefusal('bad-frame', error.message, header);
    }
    return encodeRefusal(error instanceof UnreachableError ? 'unreachable' : 'failed', messageOf(error), header);
  }

  /** An earlier epoch is over; a later one begins with a claim, before anybody can send in it. */
  private refuseEpoch(message: WireMessage, claim: Claim, header: FrameHeader): void {
    this.counts.stale++;
    const code: RefusalCode = header.epoch < claim.epoch ? 'stale-epoch' : 'unknown-vm';
    this.respond(message, encodeRefusal(code, `epoch ${header.epoch} of ${claim.vmId} is not the one that runs (${claim.epoch})`, header));
  }

  private controlMessage(handler: MessageHandler, context: ControlContext, message: WireMessage): void {
    let request: ControlRequest;
    try {
      request = JSON.parse(textDecoder.decode(message.data)) as ControlRequest;
      if (typeof request?.id !== 'string') throw new TypeError('a control request has an id');
    } catch {
      this.counts.badFrames++;
      this.respond(message, controlReply('', { error: { code: 'invalid', message: 'a control request is JSON: { "id", "data" }' } }));
      return;
    }
    if (extrasOf(handler).idempotent === true) {
      void this.runControl(handler, context, request).then((reply) => this.respond(message, reply));
      return;
    }
    const { reply, repeated } = this.controlMemory.once(request.id, () => this.runControl(handler, context, request));
    if (repeated) this.counts.repeated++;
    void reply.then((bytes) => this.respond(message, bytes));
  }

  private async runControl(handler: MessageHandler, context: ControlContext, request: ControlRequest): Promise<Uint8Array> {
    this.running++;
    try {
      const result: unknown = await handler(request.data, context);
      return controlReply(request.id, { data: isObservable(result) ? await lastValueFrom(result) : result });
    } catch (error) {
      return controlReply(request.id, { error: controlError(error) });
    } finally {
      this.finished();
    }
  }

  private respond(message: WireMessage, reply: Uint8Array): void {
    if (message.reply) this.wire.publish(message.reply, reply);
  }

  private finished(): void {
    if (--this.running === 0 && this.closing) this.idle?.();
  }
}

const OPENING_BRACE = 0x7b;
const textDecoder = new TextDecoder();
const textEncoder = new TextEncoder();

function extrasOf(handler: MessageHandler): PatternExtras {
  return (handler.extras ?? {}) as PatternExtras;
}

function controlReply(id: string, content: { data: unknown } | { error: ControlError }): Uint8Array {
  return textEncoder.encode(JSON.stringify({ id, ...content }));
}

function controlError(error: unknown): ControlError {
  const { code } = error as { code?: ControlError['code'] };
  return { code: code !== undefined && CODES.has(code) ? code : error instanceof UnreachableError ? 'unreachable' : 'failed', message: messageOf(error) };
}

const CODES: ReadonlySet<string> = new Set<ControlError['code']>(['not-found', 'exists', 'wrong-state', 'invalid', 'unreachable', 'failed']);

function messageOf(error: unknown): string {
  const message = (error as { message?: unknown } | null)?.message;
  return typeof message === 'string' ? message : String(error);
}

