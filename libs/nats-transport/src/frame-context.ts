import { BaseRpcContext } from '@nestjs/microservices';
import type { MaybePromise } from '@ringside/machine';
import type { FrameHeader, SubjectGroup, TraceContext } from '@ringside/protocol';
import type { WireMessage } from './wire.js';

/** What a handler learns about the message besides its payload (`@Ctx()`). */
export class FrameContext extends BaseRpcContext<[]> {
  /** Parent for whatever the handler asks of others: the span of this dispatch once there is one. */
  trace: TraceContext | null;

  /** @param group null: a subject that all VMs share */
  constructor(readonly vmId: string, readonly group: SubjectGroup | null, private readonly message: Pick<WireMessage, 'subject'>, private readonly prefix: number, readonly header: FrameHeader) {
    super([]);
    this.trace = header.trace;
  }

  /** The subject's last token. Decoded when asked for: most frames tell their handler themselves. */
  get last(): string {
    return this.message.subject.slice(this.prefix);
  }
}

/** Answers a frame with a frame. What it throws is named in a refusal. */
export type FrameHandler = (frame: Uint8Array, context: FrameContext) => MaybePromise<Uint8Array>;

export interface FrameOptions {
  /** The request only reads: a repeated one runs again, and its reply need not be remembered. */
  idempotent?: boolean;
  /**
   * For a subject that all VMs share: any member of this queue group answers. A repeated frame is answered again, so the answer must
   * depend on the frame alone.
   */
  queue?: string;
}

/** A JSON request: on a VM's subject, or on the control plane's (`vmId` empty). */
export class ControlContext extends BaseRpcContext<[]> {
  constructor(readonly subject: string, readonly vmId: string) {
    super([]);
  }
}

/** Called around the dispatch of sampled frames: the place for server spans. */
export interface DispatchHook {
  begin(context: FrameContext): unknown;
  end(begun: unknown, error: unknown): void;
}
