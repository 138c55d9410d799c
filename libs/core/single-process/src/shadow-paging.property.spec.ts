import { hostileGuest } from '@ringside/guests';
import { digestWords, type VmSpec } from '@ringside/machine';
import { SingleProcess, specOf } from './single-process.js';
import { pageTableGuest } from './testing/page-table-guest.js';

const SEEDS = process.env.RINGSIDE_LONG === '1' ? 5_000 : 40;
/** 287: a store over two pages whose second part is the entry of the first. */
const ONCE_WRONG = [287];

async function run(seed: number, path: Partial<VmSpec>): Promise<SingleProcess> {
  const { image, memoryMiB } = pageTableGuest(seed);
  const whole = await SingleProcess.create({ spec: specOf({ ...path, memoryMiB, hashStates: true }), image });
  await whole.machine.step({ instructions: 50_000 });
  return whole;
}

/** Every state on the way, and memory at the end: accessed and dirty bits with it. */
function outcome({ machine }: SingleProcess): unknown {
  const { processor, state, stateHash } = machine;
  return {
    state, retired: processor.retired, now: machine.now, hash: stateHash!.value, cr2: processor.getRegister('cr2'),
    ram: digestWords(processor.readPhysical('guest', 0, processor.cpu.ramBytes)),
  };
}

test(`${SEEDS} guests that edit the tables they run on go the same way natively and on shadow tables`, async () => {
  const exits: Record<string, number> = {};
  let finished = 0;
  for (const seed of [...Array(SEEDS).keys(), ...ONCE_WRONG]) {
    const native = await run(seed, { path: 'native', mmu: 'none' });
    const shadow = await run(seed, { path: 'hardware-assisted', mmu: 'shadow' });
    expect({ seed, ...outcome(shadow) as object }).toEqual({ seed, ...outcome(native) as object });
    if (native.machine.state === 'shutdown') finished++;
    for (const [reason, { count }] of Object.entries(shadow.machine.statistics().exits)) exits[reason] = (exits[reason] ?? 0) + count;
  }
  expect(finished).toBeGreaterThan(SEEDS * 0.8);
  expect(exits['write-trace']).toBeGreaterThan(SEEDS);
  expect(exits['exception-or-nmi']).toBeGreaterThan(SEEDS * 10);
}, 3_600_000);

/** Longer than those of hostile-guests.spec, and past the first use of a stale TLB entry. */
const HOSTILE_SEEDS = process.env.RINGSIDE_LONG === '1' ? 1_000 : 15;

test(`${HOSTILE_SEEDS} hostile guests go the same way natively and on shadow tables`, async () => {
  for (let seed = 0; seed < HOSTILE_SEEDS; seed++) {
    const { image, memoryBytes } = hostileGuest(seed);
    const [native, shadow] = await Promise.all([{ path: 'native', mmu: 'none' } as const, { path: 'hardware-assisted', mmu: 'shadow' } as const].map(async (path) => {
      const whole = await SingleProcess.create({ spec: specOf({ ...path, memoryMiB: memoryBytes >> 20, hashStates: true }), image });
      await whole.machine.step({ instructions: 16_000 });
      return whole;
    }));
    // A machine that halts is observed when it wakes: see the hash of the states before.
    const of = (whole: SingleProcess): object => ({ seed, ...outcome(whole) as object, ...whole.machine.state === 'halted' ? { hash: null } : {} });
    expect(of(shadow!)).toEqual(of(native!));
  }
}, 7_200_000);
