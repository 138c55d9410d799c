import { consoleOf, createBoard, diskOf, printerOf, type PrintedDocument } from '@ringside/devices';
import type { BusRequest, VmSpec } from '@ringside/machine';
import type { FrameContext } from '@ringside/nats-transport';
import type { Board } from '@ringside/platform';
import { decodeBusRequest, encodeBusReply } from '@ringside/protocol';
import { Attribute, SpanKind, type OpenSpan, type Telemetry } from '@ringside/telemetry';
import { ConsoleStream } from './console-stream.js';

/** A fixed date unless the clock is real, so that two runs read the same: 2026-01-01T00:00:00Z. */
const POWER_ON_SECONDS = 1_767_225_600;
/** Printed paper is kept until the board goes; a guest that prints without end loses its oldest pages. */
const DOCUMENT_BYTES = 16 * 1_048_576;

export interface BoardPorts {
  telemetry: Telemetry;
  wallClock: () => number;
  output(offset: number, bytes: Uint8Array): void;
  printed(document: PrintedDocument): void;
}

/** One VM's board with what people see of it: its console and the documents it printed. */
export class HostedBoard {
  readonly console: ConsoleStream;
  readonly documents: PrintedDocument[] = [];
  private readonly board: Board;
  private documentBytes = 0;

  constructor(readonly spec: VmSpec, readonly epoch: number, disk: Uint8Array | null, private readonly ports: BoardPorts) {
    this.console = new ConsoleStream((offset, bytes) => ports.output(offset, bytes));
    this.board = createBoard({
      composition: spec.path === 'native' ? 'native' : 'virtualized', disk, script: spec.script, memoryBytes: spec.memoryMiB * 1_048_576,
      epochSeconds: spec.clock === 'real' ? Math.floor(Date.now() / 1_000) : POWER_ON_SECONDS,
      console: { write: (_offset, bytes) => this.console.write(bytes) },
      documents: { document: (document) => this.keep(document) },
    });
  }

  cycle(frame: Uint8Array, context: FrameContext): Uint8Array {
    const began = this.ports.wallClock();
    const request = decodeBusRequest(frame, this.spec.id);
    const span = context.trace === null ? null : this.span(request, context);
    const reply = this.board.cycle(request);
    span?.end();
    reply.cost = { handlerNs: this.ports.wallClock() - began, nested: [] };
    return encodeBusReply(reply, context.header);
  }

  type(bytes: Uint8Array): void {
    consoleOf(this.board).queueInput(bytes);
  }

  /** The machine has ended: a document begun is closed, output that waits goes out. */
  finish(): void {
    printerOf(this.board).finish();
    this.console.flush();
  }

  get diskDigest(): string | null {
    return diskOf(this.board)?.digest() ?? null;
  }

  get unclaimed(): { reads: number; writes: number } {
    return this.board.unclaimed;
  }

  private keep(document: PrintedDocument): void {
    this.documents.push(document);
    this.documentBytes += document.bytes.length;
    while (this.documentBytes > DOCUMENT_BYTES && this.documents.length > 1) this.documentBytes -= this.documents.shift()!.bytes.length;
    this.ports.printed(document);
  }

  /** The access itself, named by the device and register that it reaches. */
  private span(request: BusRequest, context: FrameContext): OpenSpan {
    const target = this.board.describe(request);
    const verb = request.write ? 'write' : 'read';
    const name = request.bus !== 'port' && request.bus !== 'mmio' ? `board ${request.bus}` : target === null ? `unclaimed ${request.bus} ${verb}` : `${target.device.id} ${target.register} ${verb}`;
    return this.ports.telemetry.span(name, SpanKind.INTERNAL, context.trace, {
      [Attribute.VmId]: this.spec.id, [Attribute.VcpuId]: 0, [Attribute.Path]: this.spec.path, [Attribute.Now]: request.now,
      [Attribute.Address]: `0x${request.address.toString(16)}`, [Attribute.Size]: request.size, [Attribute.Count]: request.count,
      ...(target === null ? {} : { [Attribute.DeviceId]: target.device.id, [Attribute.DeviceLabel]: target.device.label, [Attribute.DeviceRegister]: target.register }),
    });
  }
}
