import { BaseRpcContext } from '@nestjs/microservices';
import type { FrameHeader, SubjectGroup, TraceContext } from '@ringside/protocol';

/** What a handler learns about the message besides its payload (`@Ctx()`). */
export class FrameContext extends BaseRpcContext<[]> {
  /** Parent for whatever the handler asks of others: the span of this dispatch once there is one. */
  trace: TraceContext | null;

  constructor(readonly vmId: string, readonly group: SubjectGroup, readonly last: string, readonly header: FrameHeader) {
    super([]);
    this.trace = header.trace;
  }
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
