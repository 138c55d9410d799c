import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Injectable } from '@nestjs/common';
import type { PrintedDocument } from '@ringside/devices';
import { DISK_IMAGES, diskImage, type DiskImageName } from '@ringside/guests';
import type { VmSpec } from '@ringside/machine';
import { ControlFailure, type ResendPolicy } from '@ringside/nats-transport';
import { ServiceCounters, ServiceRuntime } from '@ringside/nats-transport/service';
import { consoleSubject, encodeConsoleOutput } from '@ringside/protocol';
import { HostedBoard } from './hosted-board.js';

/** A person waits at the keyboard. */
const KICK_POLICY: ResendPolicy = { firstWaitMs: 10, maxWaitMs: 250, timeoutMs: 3_000, minResends: 8 };

/** All boards of this process. */
@Injectable()
export class BoardHost extends ServiceCounters {
  private readonly boards = new Map<string, HostedBoard>();

  constructor(private readonly runtime: ServiceRuntime) {
    super();
  }

  /** Build a board in its power-on state; one that the VM had before is gone. */
  async create(spec: VmSpec, epoch: number): Promise<void> {
    const disk = spec.disk === null ? null : await this.disk(spec.disk);
    const board = new HostedBoard(spec, epoch, disk, {
      telemetry: this.runtime.telemetry, wallClock: this.runtime.wallClock,
      output: (offset, bytes) => this.runtime.wire.publish(consoleSubject(spec.id, 'out'), encodeConsoleOutput({ epoch, offset, bytes })),
      printed: (document) => { void this.print(spec.id, epoch, document); },
    });
    this.boards.get(spec.id)?.finish();
    this.boards.set(spec.id, board);
    this.runtime.server.claim(spec.id, epoch);
    await this.runtime.connection.flush();
  }

  release(vmId: string): void {
    this.boards.get(vmId)?.finish();
    this.boards.delete(vmId);
    this.runtime.server.release(vmId);
  }

  board(vmId: string): HostedBoard {
    const board = this.boards.get(vmId);
    if (board === undefined) throw new ControlFailure('not-found', `the device model has no board of a VM ${vmId}`);
    return board;
  }

  /** A person typed: the bytes wait at the board, and the processor is told to come for them. */
  async type(vmId: string, bytes: Uint8Array): Promise<void> {
    this.board(vmId).type(bytes);
    await this.runtime.client.cpu(vmId, 'kick', {}, KICK_POLICY);
  }

  vms(): string[] {
    return [...this.boards.keys()];
  }

  counters(): Record<string, number> {
    let unclaimed = 0;
    let documents = 0;
    for (const board of this.boards.values()) {
      unclaimed += board.unclaimed.reads + board.unclaimed.writes;
      documents += board.documents.length;
    }
    return { boards: this.boards.size, unclaimedAccesses: unclaimed, documents };
  }

  stop(): Promise<void> {
    for (const board of this.boards.values()) board.finish();
    return Promise.resolve();
  }

  /** RINGSIDE_DOCUMENTS: a folder where printed documents land as files too. */
  private async print(vmId: string, epoch: number, document: PrintedDocument): Promise<void> {
    const folder = process.env['RINGSIDE_DOCUMENTS'];
    if (folder === undefined || folder === '') return;
    try {
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, `${vmId}-${epoch}-${documentName(document)}`), document.bytes);
    } catch (error) {
      console.error(`device-model: a document of ${vmId} could not be written to ${folder} (${error instanceof Error ? error.message : String(error)}); it can still be fetched`);
    }
  }

  private async disk(name: string): Promise<Uint8Array> {
    if (!name.startsWith('sha256:')) {
      if (!(name in DISK_IMAGES)) throw new ControlFailure('not-found', `there is no disk image "${name}"; built in: ${Object.keys(DISK_IMAGES).join(', ')}`);
      return diskImage(name as DiskImageName);
    }
    const sha256 = name.slice('sha256:'.length);
    const pieces: Uint8Array[] = [];
    let received = 0;
    for (;;) {
      const chunk = await this.runtime.client.control('image.fetch', { sha256, offset: received });
      const bytes = Buffer.from(chunk.data, 'base64');
      pieces.push(bytes);
      received += bytes.length;
      if (received >= chunk.totalBytes || bytes.length === 0) return Buffer.concat(pieces);
    }
  }
}

export function documentName(document: PrintedDocument): string {
  return `document-${document.number + 1}.txt`;
}
