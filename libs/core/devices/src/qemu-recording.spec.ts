import { readFileSync } from 'node:fs';
import { BoardBench, Outlets, request, testBoard } from './testing/board-bench.js';

/*
 * The same port accesses on QEMU's devices and on ours: tools/device-oracle/record.mjs made the recording and says what
 * it leaves out. The guest had interrupts off, so the controllers are polled.
 */
const IN = 0, OUT = 1, WAIT_ATA = 2, IN_SECTOR = 3, OUT_SECTOR = 4;
interface Recording { script: number[]; reads: string }
const recording = JSON.parse(readFileSync(new URL('./testing/qemu-recording.json', import.meta.url), 'utf8')) as Record<'uart' | 'pic' | 'ata', Recording>;
const DISK = Uint8Array.from({ length: 128 * 512 }, (_, index) => (index >> 9) * 3 + index);
/** Guest time between two accesses, ns: below every latency. */
const STEP_NS = 1000;

/** What differs, with the accesses before it. */
function differences({ script, reads }: Recording): string[] {
  const expected = Uint8Array.from(atob(reads), (character) => character.charCodeAt(0));
  const bus = new BoardBench(testBoard(new Outlets(), { disk: DISK, console: { write: () => undefined } }));
  const found: string[] = [];
  let at = 0;
  const compare = (index: number, value: number, mask: number): void => {
    const theirs = expected[at++]!;
    if (((value ^ theirs) & mask) === 0) return;
    found.push(`access ${index / 3}, port ${script[index + 1]!.toString(16)}: ours ${value.toString(16)}, QEMU ${theirs.toString(16)}, after ${script.slice(Math.max(0, index - 9), index).map((word) => word.toString(16)).join(' ')}`);
  };
  for (let index = 0; index < script.length; index += 3) {
    const [kind, port, value] = script.slice(index, index + 3) as [number, number, number];
    bus.now += STEP_NS;
    if (kind === IN) compare(index, bus.in(port), value);
    else if (kind === OUT) bus.out(port, value);
    else if (kind === WAIT_ATA) while ((bus.in(0x3f6) & 0x80) !== 0) bus.toDeadline();
    else if (kind === IN_SECTOR) for (const byte of bus.board.cycle(request(bus.now, { address: port, size: 2, count: 256 })).data) compare(index, byte, 0xff);
    else if (kind === OUT_SECTOR) for (let word = 256; word > 0; word--) bus.out(port, value + word, 2);
  }
  expect(at).toBe(expected.length);
  return found;
}

describe('devices answer as QEMU recorded', () => {
  it.each(['uart', 'pic', 'ata'] as const)('%s', (name) => {
    expect(differences(recording[name])).toEqual([]);
  });
});
