import { Controller } from '@nestjs/common';
import { MessagePattern } from '@nestjs/microservices';
import { ControlFailure } from '@ringside/nats-transport';
import type { DocumentInfo, VmReference } from '@ringside/protocol';
import { BoardHost, documentName } from './board-host.js';

const FETCH_BYTES = 524_288;

/** What guests printed. */
@Controller()
export class DocumentController {
  constructor(private readonly boards: BoardHost) {}

  @MessagePattern('ringside.ctl.document.list', { idempotent: true })
  list({ vmId }: VmReference): DocumentInfo[] {
    return this.boards.board(vmId).documents.map((document) => ({ name: documentName(document), bytes: document.bytes.length, complete: true }));
  }

  @MessagePattern('ringside.ctl.document.fetch', { idempotent: true })
  fetch({ vmId, name, offset }: VmReference & { name: string; offset: number }): { data: string; totalBytes: number } {
    const document = this.boards.board(vmId).documents.find((each) => documentName(each) === name);
    if (document === undefined) throw new ControlFailure('not-found', `${vmId} has printed no document ${name}`);
    return { data: Buffer.from(document.bytes.subarray(offset, offset + FETCH_BYTES)).toString('base64'), totalBytes: document.bytes.length };
  }
}
