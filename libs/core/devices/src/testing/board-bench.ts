import type { BusReply, BusRequest } from '@ringside/machine';
import type { Board } from '@ringside/platform';
import { createBoard } from '../create-board.js';
import type { BoardSpec, PrintedDocument } from '../device-factory.js';

/** Where a test's board puts what leaves it. */
export class Outlets {
  readonly output: number[] = [];
  readonly documents: PrintedDocument[] = [];
  readonly console = {
    write: (offset: number, bytes: Uint8Array): void => {
      if (offset !== this.output.length) throw new Error(`console offset ${offset} instead of ${this.output.length}`);
      this.output.push(...bytes);
    },
  };
  readonly printer = { document: (document: PrintedDocument): void => { this.documents.push(document); } };

  get text(): string {
    return String.fromCharCode(...this.output);
  }
}

export function testBoard(outlets: Outlets, options: Partial<BoardSpec> = {}): Board {
  return createBoard({
    composition: 'native', disk: null, script: [], memoryBytes: 32 << 20, epochSeconds: 1_700_000_000,
    console: outlets.console, documents: outlets.printer, ...options,
  });
}

/** A request with everything that does not matter filled in. */
export function request(now: number, options: Partial<BusRequest>): BusRequest {
  return {
    vmId: 'test', epoch: 1, seq: 1, ordinal: 0, bus: 'port', now, address: 0, size: 1, write: false,
    count: options.bus === undefined || options.bus === 'port' || options.bus === 'mmio' ? 1 : 0, data: new Uint8Array(0), interruptible: false, ...options,
  };
}

/** Drives a board as a guest does, with a clock that moves only when told. */
export class BoardBench {
  now = 0;
  last: BusReply;

  constructor(readonly board: Board) {
    this.last = board.cycle(request(0, { bus: 'time' }));
  }

  in(port: number, size: 1 | 2 | 4 = 1, count = 1): number {
    this.last = this.board.cycle(request(this.now, { address: port, size, count }));
    return new DataView(this.last.data.buffer, this.last.data.byteOffset)[size === 1 ? 'getUint8' : size === 2 ? 'getUint16' : 'getUint32'](0, true);
  }

  out(port: number, value: number, size: 1 | 2 | 4 = 1): void {
    const data = new Uint8Array(4);
    new DataView(data.buffer).setUint32(0, value >>> 0, true);
    this.last = this.board.cycle(request(this.now, { address: port, size, write: true, data: data.slice(0, size) }));
  }

  /** Let time pass to the board's own next deadline. */
  toDeadline(): void {
    this.now = this.last.deadline;
    this.last = this.board.cycle(request(this.now, { bus: 'time' }));
  }

  irq(line: number): boolean {
    return (this.last.lines & (1 << line)) !== 0;
  }
}
