import type { BusEndpoint, BusReply, BusRequest, MaybePromise } from '@ringside/machine';
import { SplitBoard, type Board } from '@ringside/platform';
import { consoleOf, diskOf } from './create-board.js';
import { Outlets, request, testBoard } from './testing/board-bench.js';
import { Random } from './testing/random.js';

/*
 * One board, three ways to drive it, each with the same random guest:
 *  - native: controllers and timer on the board, one cycle per request, deadlines obeyed;
 *  - split: controllers and timer at ring -1, the other devices at the far end of copied messages;
 *  - eager: the native board, asked at every deadline and at many needless times as well.
 * Data, vectors, INTR, console and disk must agree; this can only lie if the guest never meets an interrupt, so that is counted.
 */
const SCRIPT = [{ expect: 'A', send: 'hello, keyboard\r' }, { expect: 'B', send: 'x'.repeat(40) }];
const DISK = Uint8Array.from({ length: 64 * 512 }, (_, index) => index * 7 + (index >> 9));

/** A remote board: what crosses is copied, and arrives late if `late`. */
class Remote implements BusEndpoint {
  messages = 0;
  constructor(private readonly board: Board, private readonly late: boolean) {}
  cycle(sent: BusRequest): MaybePromise<BusReply> {
    this.messages++;
    const reply = (): BusReply => structuredClone(this.board.cycle(structuredClone(sent)));
    return this.late ? Promise.resolve().then(reply) : reply();
  }
}

type Step = Omit<BusRequest, 'now' | 'vmId' | 'epoch' | 'seq' | 'ordinal' | 'interruptible'> & { wait: number; enabled: boolean; typed: string };

function randomSteps(random: Random, count: number): Step[] {
  const steps: Step[] = [];
  const out = (address: number, value: number, size: 1 | 2 = 1): Partial<Step> => ({ address, size, write: true, data: Uint8Array.of(value & 0xff, value >> 8).slice(0, size) });
  const push = (part: Partial<Step>, wait = random.pick([1, 3, 20, 400, 8000, 60_000])): void => {
    steps.push({ bus: 'port', address: 0, size: 1, write: false, count: part.bus === undefined ? 1 : 0, data: new Uint8Array(0), wait, enabled: random.below(4) !== 0, typed: '', ...part });
  };
  for (const [port, value] of [[0x20, 0x11], [0xa0, 0x11], [0x21, 0x20], [0xa1, 0x28], [0x21, 4], [0xa1, 2], [0x21, 1], [0xa1, 1], [0x21, 0], [0xa1, 0], [0x3fc, 0x0b], [0x3f9, 3], [0x3fa, 0x41]] as const) push(out(port, value), 5);
  while (steps.length < count) {
    switch (random.below(15)) {
      case 0: push(out(0x43, random.pick([0x34, 0x36, 0x30, 0x38, 0xc2, 0x00]))); push(out(0x40, random.below(256)), 2); push(out(0x40, random.below(3)), 2); break;
      case 1: push({ address: random.pick([0x40, 0x41, 0x42, 0x61]) }); break;
      case 2: push(out(random.pick([0x21, 0xa1]), random.pick([0, 0, 0, 1, 0x10, 0x40, 0xff]))); break;
      case 3: push(out(random.pick([0x20, 0xa0]), random.pick([0x20, 0x20, 0x0a, 0x0b, 0x60, 0x64]))); break;
      case 4: push({ address: random.pick([0x20, 0x21, 0xa0, 0xa1]) }); break;
      case 5: case 6: push(out(0x20, 0x20), 5); push(out(0xa0, 0x20), 5); break;
      case 7: push(out(0x3f8, random.pick([65, 66, 67]))); break;
      case 8: push({ address: 0x3f8 + random.below(8) }); break;
      case 9: push(out(random.pick([0x3f9, 0x3fa]), random.pick([1, 2, 3, 0x81, 0xc1]))); break;
      case 10:
        push(out(0x1f6, 0xe0), 2); push(out(0x1f2, 1 + random.below(2)), 2); push(out(0x1f3, random.below(62)), 2); push(out(0x1f4, 0), 2); push(out(0x1f5, 0), 2);
        push(out(0x1f7, random.pick([0x20, 0x20, 0x30, 0xec, 0xe7])));
        break;
      case 11: push({ address: 0x1f0, size: 2, count: 256 }); break;
      case 12: push({ address: 0x1f0, size: 2, count: 256, write: true, data: Uint8Array.from({ length: 512 }, () => random.below(256)) }); break;
      case 13: push({ address: random.pick([0x1f7, 0x3f6]) }); break;
      default: push({ bus: 'input', typed: 'key' }); push(out(0x37a, 0x1d), 2); push(out(0x37a, 0x1c), 2); push({ address: 0x379 }); break;
    }
  }
  return steps;
}

interface Outcome { log: unknown[]; vectors: number; output: string; disk: string }

/** The part of a processor that matters here: time, IF, a standing INTR, deadlines. */
async function drive(endpoint: BusEndpoint, board: Board, outlets: Outlets, steps: Step[], extraTimes: (() => number) | null): Promise<Outcome> {
  const log: unknown[] = [];
  let now = 0;
  let intr = false;
  let deadline = Infinity;
  let vectors = 0;
  const cycle = async (part: Partial<BusRequest>, enabled: boolean, visible: boolean): Promise<void> => {
    const reply = await endpoint.cycle(request(now, { ...part, interruptible: enabled }));
    const interrupt = reply.effects.find((effect) => effect.kind === 'interrupt');
    if (interrupt?.kind !== 'interrupt') throw new Error('no interrupt effect');
    if (!(reply.deadline > now)) throw new Error(`deadline ${reply.deadline} is not after ${now}`);
    intr = interrupt.line;
    deadline = reply.deadline;
    if (visible) log.push([now, part.address, [...reply.data]]);
    if (interrupt.vector !== null) {
      vectors++;
      log.push([now, 'vector', interrupt.vector]);
    }
  };
  for (const step of steps) {
    const until = now + step.wait;
    while (now < until) {
      // IF is that of the step to come; an interrupt waits for it as for STI.
      if (intr && step.enabled) await cycle({ bus: 'inta' }, true, false);
      now = Math.min(until, deadline, extraTimes === null ? Infinity : now + extraTimes());
      if (now >= deadline || extraTimes !== null) await cycle({ bus: 'time' }, step.enabled, false);
    }
    if (step.typed !== '') consoleOf(board).queueInput(new TextEncoder().encode(step.typed));
    await cycle(step, step.enabled, true);
  }
  return { log, vectors, output: outlets.text, disk: diskOf(board)!.digest() };
}

async function outcome(kind: 'native' | 'eager' | 'split' | 'split-late', steps: Step[], seed: number): Promise<Outcome & { messages: number }> {
  const outlets = new Outlets();
  const virtualized = kind === 'split' || kind === 'split-late';
  const board = testBoard(outlets, { composition: virtualized ? 'virtualized' : 'native', script: SCRIPT, disk: DISK });
  const remote = new Remote(board, kind === 'split-late');
  const random = new Random(seed);
  const result = await drive(virtualized ? new SplitBoard(remote) : board, board, outlets, steps, kind === 'eager' ? () => 1 + random.below(2000) : null);
  return { ...result, messages: remote.messages };
}

describe('one board in two compositions', () => {
  it('answers alike, with the same vectors at the same virtual time', async () => {
    let vectors = 0;
    for (let seed = 1; seed <= 12; seed++) {
      const steps = randomSteps(new Random(seed), 500);
      const native = await outcome('native', steps, seed);
      const split = await outcome('split', steps, seed);
      expect(split.log).toEqual(native.log);
      expect([split.output, split.disk]).toEqual([native.output, native.disk]);
      vectors += native.vectors;
    }
    expect(vectors).toBeGreaterThan(300);
  });

  it('answers alike when the far end takes its time', async () => {
    const steps = randomSteps(new Random(99), 500);
    expect((await outcome('split-late', steps, 1)).log).toEqual((await outcome('native', steps, 1)).log);
  });

  it('does not depend on how often it is asked: its deadlines are all that it needs', async () => {
    for (let seed = 30; seed < 34; seed++) {
      const steps = randomSteps(new Random(seed), 300);
      expect((await outcome('eager', steps, seed)).log).toEqual((await outcome('native', steps, seed)).log);
    }
  });

  it('sends no message for a local port while no remote device is due', async () => {
    const outlets = new Outlets();
    const remote = new Remote(testBoard(outlets, { composition: 'virtualized', disk: DISK }), false);
    const split = new SplitBoard(remote);
    for (const [address, value] of [[0x43, 0x34], [0x40, 0], [0x40, 1], [0x21, 0xfe]] as const) await split.cycle(request(10, { address, write: true, data: Uint8Array.of(value) }));
    await split.cycle(request(500_000, { bus: 'time' }));
    expect(remote.messages).toBe(0);
    await split.cycle(request(500_001, { address: 0x1f7, write: true, data: Uint8Array.of(0xec) }));
    expect(remote.messages).toBe(1);
    const read = await split.cycle(request(600_000, { address: 0x20 }));
    expect(remote.messages).toBe(2); // The disk was due: the controllers must see its line first.
    expect(read.deadline).toBeGreaterThan(600_000);
  });

  it('goes on from a snapshot of both halves as if nothing had happened', () => {
    const drive = (split: SplitBoard, steps: Step[], from: number): BusReply[] => steps.map((step, index) => split.cycle(request(from + index * 7000, { ...step, interruptible: step.enabled })) as BusReply);
    const build = (): { board: Board; split: SplitBoard } => {
      const board = testBoard(new Outlets(), { composition: 'virtualized', script: SCRIPT, disk: DISK, console: { write: () => undefined } });
      return { board, split: new SplitBoard(board) };
    };
    const steps = randomSteps(new Random(5), 400);
    const first = build();
    drive(first.split, steps.slice(0, 200), 0);
    const second = build();
    second.board.restore(first.board.snapshot());
    second.split.restore(first.split.snapshot());
    expect(drive(second.split, steps.slice(200), 2_000_000)).toEqual(drive(first.split, steps.slice(200), 2_000_000));
  });

  it('names the device and register behind an address, whoever hosts it', () => {
    const native = testBoard(new Outlets());
    const withDisk = testBoard(new Outlets(), { disk: DISK });
    const name = (board: Board, bus: 'port' | 'mmio' | 'time', address: number): string | null => {
      const found = board.describe({ bus, address });
      return found === null ? null : `${found.device.id} ${found.register}`;
    };
    expect([0x3fd, 0x1f0, 0x40, 0x3f6, 0x123].map((port) => name(native, 'port', port))).toEqual(['uart0 LSR', null, 'pit counter 0', null, null]);
    expect(name(withDisk, 'port', 0x1f7)).toBe('ata0 status/command');
    expect([name(native, 'mmio', 0x3fd), name(native, 'time', 0x3fd), name(testBoard(new Outlets(), { composition: 'virtualized' }), 'port', 0x40)]).toEqual([null, null, null]);
  });
});
