import { Server, type CustomTransportStrategy, type MessageHandler } from '@nestjs/microservices';
import { UnreachableError, type MaybePromise } from '@ringside/machine';
import { ProtocolError, encodeRefusal, groupSubjects, readAskingVm, readHeader, type ControlError, type ControlRequest, type FrameHeader, type RefusalCode, type SubjectGroup } from '@ringside/protocol';
import { isObservable, lastValueFrom } from 'rxjs';
import { ControlMemory } from './control-memory.js';
import { ControlContext, FrameContext, type DispatchHook, type FrameHandler, type FrameOptions } from './frame-context.js';
import { ReplyMemory } from './reply-memory.js';
import type { Wire, WireMessage, WireSubscription } from './wire.js';

/** Handlers on a VM's subjects are written with this in place of the id: `ringside.vm.{id}.exit.*`. */
const VM_TEMPLATE = /^ringside\.vm\.\{id\}\.(exit|io|cpu|console)\.([a-z*-]+)$/;

/** Second argument of `@MessagePattern`: every instance answers, or the request only reads and need not be remembered. */
export interface PatternExtras { broadcast?: boolean; idempotent?: boolean }

/** Who answers on a VM's subjects of one group, by the subject's last token: binary frames, and JSON. */
interface GroupHandlers {
  readonly frames: Map<string, FrameTaker>;
  /** Takes the frames of every subject of the group (`exit.*`): nothing is looked up then. */
  anyFrame: FrameTaker | null;
  readonly messages: Map<string, MessageHandler>;
}
interface FrameTaker { readonly handler: FrameHandler; readonly idempotent: boolean }

interface Claim {
  vmId: string;
  epoch: number;
  subscriptions: WireSubscription[];
  /** By group, then by hop. */
  memories: Map<SubjectGroup, ReplyMemory[]>;
}

export interface NatsServerOptions {
  wire: Wire;
  /** Queue group of this service's control subjects: any one instance answers. */
  queue: string;
  dispatchHook?: DispatchHook;
}

/**
 * Ringside's Nest transport, the receiving half. Control subjects are subscribed when the app listens; a VM's subjects
 * when the app claims the VM, so that only the instance that holds it hears of it. Binary frames go to the methods that
 * `@Frames` marks, JSON to those of `@MessagePattern`.
 */
export class NatsServer extends Server implements CustomTransportStrategy {
  override readonly transportId = Symbol('ringside');
  private readonly wire: Wire;
  private readonly groups = new Map<SubjectGroup, GroupHandlers>();
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
      else this.groupHandlers(match[1] as SubjectGroup).messages.set(match[2] as string, handler);
    }
    ready();
  }

  /** Take frames on a VM's subjects from its next claim on, or at once on a subject that all VMs share. */
  frames(subject: string, handler: FrameHandler, { idempotent = false, queue }: FrameOptions = {}): void {
    const match = VM_TEMPLATE.exec(subject);
    if (match === null) {
      const prefix = subject.lastIndexOf('.') + 1;
      this.subscriptions.push(this.wire.subscribe(subject, (message) => this.sharedFrame(handler, prefix, message), queue));
      return;
    }
    const group = this.groupHandlers(match[1] as SubjectGroup);
    const taker = { handler, idempotent };
    if (match[2] === '*') group.anyFrame = taker;
    else group.frames.set(match[2] as string, taker);
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

  private groupHandlers(group: SubjectGroup): GroupHandlers {
    let handlers = this.groups.get(group);
    if (handlers === undefined) this.groups.set(group, handlers = { frames: new Map(), anyFrame: null, messages: new Map() });
    return handlers;
  }

  private listenControl(subject: string, handler: MessageHandler): void {
    const { broadcast } = extrasOf(handler);
    this.subscriptions.push(this.wire.subscribe(subject, (message) => this.controlMessage(handler, new ControlContext(message.subject, ''), message), broadcast === true ? undefined : this.options.queue));
  }

  private sharedFrame(handler: FrameHandler, prefix: number, message: WireMessage): void {
    const header = this.header(message);
    if (header === null) return;
    let vmId: string;
    try {
      vmId = readAskingVm(message.data);
    } catch (error) {
      this.respond(message, this.failed(error, header));
      return;
    }
    this.run(handler, new FrameContext(vmId, null, message, prefix, header), message, null);
  }

  private vmMessage(claim: Claim, group: SubjectGroup, { frames, anyFrame, messages }: GroupHandlers, prefix: number, message: WireMessage): void {
    if (message.data[0] === OPENING_BRACE) {
      const handler = messages.get(message.subject.slice(prefix));
      if (handler === undefined) this.refuseMessage(message);
      else this.controlMessage(handler, new ControlContext(message.subject, claim.vmId), message);
      return;
    }
    const header = this.header(message);
    if (header === null) return;
    const taker = anyFrame ?? frames.get(message.subject.slice(prefix));
    if (taker === undefined) {
      this.respond(message, this.failed(new ProtocolError('kind', `${message.subject} takes no frames`), header));
      return;
    }
    if (header.epoch !== claim.epoch) {
      this.refuseEpoch(message, claim, header);
      return;
    }
    const context = new FrameContext(claim.vmId, group, message, prefix, header);
    if (taker.idempotent) {
      this.run(taker.handler, context, message, null);
      return;
    }
    const memory = this.memory(claim, group, header);
    switch (memory.admit(header)) {
      case 'run':
        this.run(taker.handler, context, message, memory);
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
    let byHop = claim.memories.get(group);
    if (byHop === undefined) claim.memories.set(group, byHop = []);
    return byHop[header.hop] ??= new ReplyMemory(claim.epoch);
  }

  private run(handler: FrameHandler, context: FrameContext, message: WireMessage, memory: ReplyMemory | null): void {
    const hook = context.header.trace === null ? undefined : this.options.dispatchHook;
    const begun = hook?.begin(context);
    const answered = (reply: Uint8Array, failure: unknown): void => {
      if (failure instanceof ProtocolError) memory?.withdraw(context.header);
      else memory?.settle(context.header, reply);
      this.respond(message, reply);
      hook?.end(begun, failure);
      this.finished();
    };
    const failed = (error: unknown): void => answered(this.failed(error, context.header), error);
    this.running++;
    let reply: MaybePromise<Uint8Array>;
    try {
      reply = handler(message.data, context);
    } catch (error) {
      failed(error);
      return;
    }
    if (reply instanceof Promise) reply.then((settled) => answered(settled, null), failed);
    else answered(reply, null);
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

  /** JSON where only frames are taken. */
  private refuseMessage(message: WireMessage): void {
    this.counts.badFrames++;
    this.respond(message, controlReply('', { error: { code: 'invalid', message: `${message.subject} takes no JSON` } }));
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

