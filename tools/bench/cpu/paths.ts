import type { VmSpec } from '@ringside/machine';
import { LOOPS } from './bench-cpu.js';
import { runGuest, type GuestRun, type ProgramRing } from './guest.js';

/** What is compared with native code of the same ring. A paravirtualized guest has no page tables of its own to bring such a program along. */
const SETTINGS: readonly { readonly column: string; readonly ring: ProgramRing; readonly spec: Partial<VmSpec> }[] = [
  { column: 'hardware-assisted, nested', ring: 3, spec: { path: 'hardware-assisted', mmu: 'nested' } },
  { column: 'hardware-assisted, shadow', ring: 3, spec: { path: 'hardware-assisted', mmu: 'shadow' } },
  { column: 'trap-and-emulate', ring: 3, spec: { path: 'trap-and-emulate', mmu: 'shadow', guestKernelRing: 1 } },
  { column: 'binary-translation', ring: 3, spec: { path: 'binary-translation', mmu: 'shadow', guestKernelRing: 1 } },
  { column: 'binary-translation, kernel code', ring: 0, spec: { path: 'binary-translation', mmu: 'shadow', guestKernelRing: 1 } },
];

/** One column: speed of the same loop over native's, 1 for as fast. */
export interface PathColumn {
  readonly column: string;
  /** Ring of the guest that the loop runs in. */
  readonly ring: ProgramRing;
  readonly ratios: readonly { readonly loop: string; readonly ratio: number }[];
  readonly geometricMean: number;
}

/**
 * The loops on each path against native, paired: in one round all settings run the same loop behind each other, and a ratio is the median of its rounds. All run on the same
 * engine, so what shows is what a path adds to code that does nothing privileged.
 */
export async function benchPaths(elf: Uint8Array, rounds: number, now: () => number): Promise<PathColumn[]> {
  const ratios = SETTINGS.map((): { loop: string; ratio: number }[] => []);
  for (const { loop, selector, count } of LOOPS) {
    const timed = (spec: Partial<VmSpec>, ring: ProgramRing): Promise<GuestRun> => timeLoop(spec, ring, elf, selector, Math.ceil(count / 2), now);
    const pairs = SETTINGS.map((): number[] => []);
    for (let round = -1; round < rounds; round++) {
      const native = new Map<ProgramRing, GuestRun>();
      for (const ring of [3, 0] as const) native.set(ring, await timed({}, ring));
      for (const [index, { column, ring, spec }] of SETTINGS.entries()) {
        const run = await timed(spec, ring);
        const beside = native.get(ring)!;
        if (run.status !== beside.status || run.instructions !== beside.instructions) throw new Error(`${loop} on ${column}: another result than natively`);
        // The first round warms the engine up.
        if (round >= 0) pairs[index]!.push(beside.seconds / run.seconds);
      }
    }
    for (const [index, list] of pairs.entries()) ratios[index]!.push({ loop, ratio: median(list) });
  }
  return SETTINGS.map(({ column, ring }, index) => ({ column, ring, ratios: ratios[index]!, geometricMean: Math.exp(ratios[index]!.reduce((sum, { ratio }) => sum + Math.log(ratio), 0) / LOOPS.length) }));
}

/** What all but the first repetition take: booting, first touches of pages and translating are not in it. */
async function timeLoop(spec: Partial<VmSpec>, ring: ProgramRing, elf: Uint8Array, selector: string, count: number, now: () => number): Promise<GuestRun> {
  const once = await runGuest(spec, ring, elf, ['loops', selector, '1'], now);
  const all = await runGuest(spec, ring, elf, ['loops', selector, String(count)], now);
  return { ...all, seconds: Math.max(1e-9, all.seconds - once.seconds) };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[sorted.length >> 1]!;
}
