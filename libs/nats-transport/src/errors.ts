import type { ControlError, ControlErrorCode, RefusalCode } from '@ringside/protocol';
import { RpcException } from '@nestjs/microservices';

/** The receiver of a frame refused it or failed, and said so. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';
  constructor(readonly code: RefusalCode, message: string) {
    super(message);
  }
}

/** A control-plane request that failed: thrown by handlers, and again at the side that asked. */
export class ControlFailure extends RpcException {
  constructor(readonly code: ControlErrorCode, message: string) {
    super({ code, message } satisfies ControlError);
    this.name = 'ControlFailure';
    this.message = message;
  }
}
