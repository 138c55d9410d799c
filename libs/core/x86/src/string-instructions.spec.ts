import { Processor } from './processor.js';
import { DF } from './flags.js';
import { StepResult } from './step.js';
import { Random } from './testing/random.js';

/** REP in bulk against REP one iteration at a time: same registers, memory, flags and counts, whatever overlaps or ends where. */

const CODE = 0x1000, DATA = 0x4000, BYTES = 0x4000, DIRECTORY = 0x8000, TABLE = 0x9000, RAM = 0x1_0000;
const PRESENT = 1, WRITABLE = 2, PE_WP_PG = 0x8001_0001;
const INSTRUCTIONS = [0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf];
const REGISTERS = ['eax', 'ecx', 'esi', 'edi', 'eip', 'eflags', 'cr2'] as const;

function prepare(seed: number): Processor {
  const random = new Random(seed);
  const processor = new Processor({ ramBytes: RAM });
  const repeat = random.oneIn(2) ? 0xf2 : 0xf3;
  const prefixes = [repeat, ...(random.oneIn(4) ? [0x66] : []), ...(random.oneIn(8) ? [0x67] : [])];
  processor.writePhysical('guest', CODE, Uint8Array.from([...prefixes, random.pick(INSTRUCTIONS), 0xf4]));
  // Long stretches of equal bytes, so that comparisons go on for a while.
  const data = new Uint8Array(BYTES);
  for (let at = 0; at < BYTES;) {
    const value = random.below(4);
    for (let left = random.below(random.oneIn(3) ? 600 : 20) + 1; left > 0 && at < BYTES; left--) data[at++] = value;
  }
  processor.writePhysical('guest', DATA, data);
  const source = DATA + random.below(BYTES - 3000);
  const near = source + random.below(40) - 20;
  processor.setRegister('esi', source);
  processor.setRegister('edi', random.oneIn(2) ? near : DATA + random.below(BYTES - 3000));
  processor.setRegister('eax', random.oneIn(2) ? 0x0101_0101 * random.below(4) : random.u32());
  processor.setRegister('ecx', random.below(random.oneIn(3) ? 700 : 12));
  processor.setRegister('eip', CODE);
  processor.setRegister('esp', 0x3000);
  if (random.oneIn(6)) processor.setRegister('eflags', DF);
  if (random.oneIn(2)) {
    // Pages of the data that are absent or read-only. There is no IDT: a page fault ends the run, and leaves CR2.
    const entry = (page: number): number => page * 0x1000 | (page < DATA >> 12 || page >= (DATA + BYTES) >> 12 ? PRESENT | WRITABLE : random.pick([0, PRESENT, PRESENT | WRITABLE, PRESENT | WRITABLE]));
    const words = (...values: number[]): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer);
    processor.writePhysical('guest', DIRECTORY, words(TABLE | PRESENT | WRITABLE));
    processor.writePhysical('guest', TABLE, words(...Array.from({ length: RAM >> 12 }, (_, page) => entry(page))));
    processor.setRegister('cr3', DIRECTORY);
    processor.setRegister('cr0', PE_WP_PG);
  }
  return processor;
}

it('gives the same result in bulk as in single iterations', () => {
  for (let seed = 1; seed <= 400; seed++) {
    const [bulk, single] = [prepare(seed), prepare(seed)];
    const ended = bulk.step(10_000);
    expect([StepResult.Halted, StepResult.Stopped]).toContain(ended);
    let result: StepResult = StepResult.Budget;
    for (let n = 0; n < 2000 && result === StepResult.Budget; n++) result = single.step(1);
    expect(result).toBe(ended);
    const state = (processor: Processor): unknown[] => [seed, ...REGISTERS.map((name) => processor.getRegister(name)), processor.retired];
    expect(state(single)).toEqual(state(bulk));
    expect(Buffer.compare(single.readPhysical('guest', 0, RAM), bulk.readPhysical('guest', 0, RAM))).toBe(0);
  }
});
