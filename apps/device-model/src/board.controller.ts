import { Controller } from '@nestjs/common';
import { MessagePattern } from '@nestjs/microservices';
import { Frames, type FrameContext } from '@ringside/nats-transport';
import type { VmReference } from '@ringside/protocol';
import type { VmSpec } from '@ringside/machine';
import { BoardHost } from './board-host.js';

/** Bus cycles, and the life of boards. */
@Controller()
export class BoardController {
  constructor(private readonly boards: BoardHost) {}

  @Frames('ringside.vm.{id}.io.*')
  cycle(frame: Uint8Array, context: FrameContext): Uint8Array {
    return this.boards.board(context.vmId).cycle(frame, context);
  }

  @MessagePattern('ringside.ctl.board.create')
  async create({ spec, epoch }: { spec: VmSpec; epoch: number }): Promise<Record<string, never>> {
    await this.boards.create(spec, epoch);
    return {};
  }

  @MessagePattern('ringside.ctl.board.finish')
  finish({ vmId }: VmReference): Record<string, never> {
    this.boards.board(vmId).finish();
    return {};
  }

  @MessagePattern('ringside.ctl.board.digest', { idempotent: true })
  digest({ vmId }: VmReference): { disk: string | null } {
    return { disk: this.boards.board(vmId).diskDigest };
  }

  @MessagePattern('ringside.ctl.board.release')
  release({ vmId }: VmReference): Record<string, never> {
    this.boards.release(vmId);
    return {};
  }
}
