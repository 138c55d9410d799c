import { setFlagsFromString } from 'node:v8';
import type { VmSpec } from '@ringside/machine';
import { SingleProcess, specOf } from './single-process.js';
import { memoryDigest } from './testing/memory-digest.js';
import { nativeUntilStale } from './testing/native-until-stale.js';
import { pageTableGuest } from './testing/page-table-guest.js';
import { selfModifyingGuest } from './testing/self-modifying-guest.js';

// A fault that unwinds through the run loop while V8 has it in baseline code costs 50 µs: its offset table is walked from the start.
setFlagsFromString('--no-sparkplug');

/**
 * Guests that change the code they run and the tables it is mapped by, up to the first use of a stale TLB entry: every state on the way, and
 * memory at the end with its accessed and dirty bits, are native's on every path.
 */
const LONG = process.env.RINGSIDE_LONG === '1';
const SEEDS = LONG ? 3_000 : 10;
const INSTRUCTIONS = LONG ? 8_000 : 4_000;
const TRANSLATED: Partial<VmSpec> = { path: 'binary-translation', mmu: 'shadow', guestKernelRing: 1 };
const SHADOW: Partial<VmSpec> = { path: 'hardware-assisted', mmu: 'shadow' };
const NESTED: Partial<VmSpec> = { path: 'hardware-assisted', mmu: 'nested' };

function outcome({ machine }: SingleProcess): object {
  const { processor, state, why, stateHash } = machine;
  return {
    state, why, retired: processor.retired, now: machine.now, hash: stateHash!.value, cr2: processor.getRegister('cr2'),
    ram: memoryDigest(processor),
  };
}

interface Guest { image: Uint8Array; memoryMiB: number }

/** How far natively, and whether a stale entry ended it. */
async function compare(seed: number, { image, memoryMiB }: Guest, instructions: number, paths: readonly Partial<VmSpec>[]): Promise<{ retired: number; stale: boolean; translated: SingleProcess | null }> {
  const run = await nativeUntilStale(image, { memoryMiB, hashStates: true }, instructions);
  const expected = outcome(run.native);
  let translated: SingleProcess | null = null;
  for (const path of paths) {
    const other = await SingleProcess.create({ spec: specOf({ ...path, memoryMiB, hashStates: true }), image });
    await other.machine.step({ instructions: run.instructions });
    expect({ seed, path, ...outcome(other) }).toEqual({ seed, path, ...expected });
    if (path === TRANSLATED) translated = other;
  }
  return { retired: run.native.machine.processor.retired, stale: run.stale, translated };
}

const median = (numbers: readonly number[]): number => [...numbers].sort((a, b) => a - b)[numbers.length >> 1]!;

test(`${SEEDS} guests that modify the code they run`, async () => {
  const retired: number[] = [];
  const counts = { invalidated: 0, chained: 0, lookups: 0 };
  for (let seed = 0; seed < SEEDS; seed++) {
    // All of them run translated; the hardware's own ways take turns.
    const { retired: count, translated } = await compare(seed, selfModifyingGuest(seed), INSTRUCTIONS, LONG ? [TRANSLATED, SHADOW, NESTED] : [TRANSLATED, seed % 4 < 2 ? SHADOW : NESTED]);
    retired.push(count);
    const { invalidated, chained, lookups } = translated!.machine.translations!.counts;
    counts.invalidated += invalidated;
    counts.chained += chained;
    counts.lookups += lookups;
  }
  expect(median(retired)).toBeGreaterThanOrEqual(1_000);
  expect(counts.invalidated).toBeGreaterThan(5 * SEEDS);
  expect(Math.min(counts.chained, counts.lookups)).toBeGreaterThan(SEEDS);
}, 36_000_000);

test(`${SEEDS} guests that edit the page tables they run on, and now and then forget to flush`, async () => {
  let stale = 0;
  for (let seed = 0; seed < SEEDS; seed++) {
    const run = await compare(seed, pageTableGuest(seed, 'now and then'), 20_000, LONG ? [TRANSLATED, SHADOW, NESTED] : [TRANSLATED, seed % 4 < 2 ? SHADOW : NESTED]);
    if (run.stale) stale++;
  }
  expect(stale).toBeGreaterThan(SEEDS / 4);
  expect(stale).toBeLessThan(SEEDS);
}, 36_000_000);
