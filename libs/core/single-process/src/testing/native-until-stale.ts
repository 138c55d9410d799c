import type { VmSpec } from '@ringside/machine';
import { SingleProcess, specOf } from '../single-process.js';

export interface NativeRun {
  /** A native machine that stands behind `instructions` retired instructions, or where it stopped before. */
  native: SingleProcess;
  /** How far another path can be compared with it. */
  instructions: number;
  /** Whether that is where the guest first used a stale TLB entry. */
  stale: boolean;
}

/**
 * Run a guest natively, at most `instructions`, to the first use of a stale TLB entry (x86's stale-translation.ts), behind which a path with other
 * TLB contents may rightly differ. Then step the other path by `instructions` of the answer and compare.
 */
export async function nativeUntilStale(image: Uint8Array, spec: Partial<VmSpec>, instructions: number): Promise<NativeRun> {
  const native = await SingleProcess.create({ spec: specOf({ ...spec, path: 'native', mmu: 'none' }), image });
  native.machine.processor.watchStaleTranslations();
  await native.machine.step({ instructions });
  const stale = native.machine.processor.staleTranslation;
  if (stale === null) return { native, instructions, stale: false };
  // It has gone on: memory and registers of that moment are had by running it again.
  const again = await SingleProcess.create({ spec: specOf({ ...spec, path: 'native', mmu: 'none' }), image });
  await again.machine.step({ instructions: stale.retired });
  return { native: again, instructions: stale.retired, stale: true };
}
