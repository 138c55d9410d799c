import { Controller } from '@nestjs/common';
import { Ctx, MessagePattern, Payload } from '@nestjs/microservices';
import { ControlContext, ControlFailure } from '@ringside/nats-transport';
import type { ConsoleChunk } from '@ringside/protocol';
import { BoardHost } from './board-host.js';

/** One reply's worth: base64 of it stays below NATS' 1 MiB. */
const FETCH_BYTES = 262_144;

@Controller()
export class ConsoleController {
  constructor(private readonly boards: BoardHost) {}

  @MessagePattern('ringside.vm.{id}.console.in')
  async input(@Payload() { data }: { data: string }, @Ctx() { vmId }: ControlContext): Promise<{ acceptedBytes: number }> {
    if (typeof data !== 'string') throw new ControlFailure('invalid', 'console input is { "data": base64 }');
    const bytes = Buffer.from(data, 'base64');
    await this.boards.type(vmId, bytes);
    return { acceptedBytes: bytes.length };
  }

  @MessagePattern('ringside.vm.{id}.console.fetch', { idempotent: true })
  fetch(@Payload() { offset, maxBytes }: { offset?: number; maxBytes?: number }, @Ctx() { vmId }: ControlContext): ConsoleChunk {
    const { console, epoch } = this.boards.board(vmId);
    const most = Math.min(maxBytes ?? FETCH_BYTES, FETCH_BYTES);
    const read = console.read(offset ?? Math.max(0, console.end - most), most);
    return { epoch, offset: read.offset, data: Buffer.from(read.bytes).toString('base64'), end: console.end };
  }
}
