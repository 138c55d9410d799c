import { consoleOf } from './create-board.js';
import { Outlets, request, testBoard } from './testing/board-bench.js';
import { Random } from './testing/random.js';

const DISK = new Uint8Array(128 * 512).fill(0x5a);
const PORTS = [0x20, 0x21, 0xa0, 0xa1, 0x40, 0x41, 0x42, 0x43, 0x4d0, 0x61, 0x70, 0x71, 0x80, 0xe9, 0x1f0, 0x1f1, 0x1f2, 0x1f6, 0x1f7, 0x3f6, 0x378, 0x379, 0x37a, 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x604, 0xffff];

describe('a storm of accesses', () => {
  // It can only lie if a device throws nothing because it is never reached: PORTS names every device.
  it('never throws, keeps its state bounded and its deadlines ahead, and survives restore', () => {
    for (let seed = 1; seed <= 6; seed++) {
      const random = new Random(seed);
      const options = { composition: seed % 2 === 0 ? 'virtualized' : 'native', disk: DISK, script: [{ expect: 'Z', send: 'zzz' }] } as const;
      const outlets = new Outlets();
      const board = testBoard(outlets, options);
      let now = 0;
      let deadline = Infinity;
      for (let round = 0; round < 6000; round++) {
        now = random.below(3) === 0 && deadline !== Infinity ? deadline : now + 1 + random.below(3000);
        const size = random.pick([1, 1, 1, 2, 4] as const);
        const write = random.below(5) < 3;
        const count = random.below(20) === 0 ? 256 : 1;
        const bus = random.pick(['port', 'port', 'port', 'port', 'port', 'mmio', 'time', 'inta', 'input'] as const);
        const address = bus === 'mmio' ? random.below(2 ** 31) * 2 : random.below(10) === 0 ? random.below(65_536) : random.pick(PORTS);
        const data = Uint8Array.from({ length: write ? size * count : 0 }, () => random.pick([random.below(256), 0x20, 0x30, 0xec, 0xff, 0]));
        if (bus === 'input') consoleOf(board).queueInput(Uint8Array.of(random.below(256)));
        const sent = request(now, { bus, address, size, write, count: bus === 'port' || bus === 'mmio' ? count : 0, data, interruptible: random.below(2) === 0 });
        let twin: ReturnType<typeof board.cycle> | null = null;
        if (round % 100 === 0 && bus !== 'input') {
          const copy = testBoard(new Outlets(), { ...options, console: { write: () => undefined } });
          copy.restore(board.snapshot());
          twin = copy.cycle(sent);
        }
        const reply = board.cycle(sent);
        if (twin !== null) expect(twin).toEqual(reply);
        if (!(reply.deadline > now)) throw new Error(`seed ${seed} round ${round}: deadline ${reply.deadline} at ${now}`);
        if (reply.data.length !== ((bus === 'port' || bus === 'mmio') && !write ? size * count : 0)) throw new Error('wrong length');
        deadline = reply.deadline;
      }
      expect(JSON.stringify(board.snapshot()).length).toBeLessThan(1_500_000);
    }
  });

  it('starts again after reset as if new', () => {
    const random = new Random(11);
    const fresh = testBoard(new Outlets(), { disk: DISK });
    const used = testBoard(new Outlets(), { disk: DISK, console: { write: () => undefined } });
    for (let round = 0; round < 3000; round++) used.cycle(request(round * 1000, { address: random.pick(PORTS), write: true, data: Uint8Array.of(random.below(256)) }));
    used.reset();
    expect(used.snapshot()).toEqual(fresh.snapshot());
  });
});
