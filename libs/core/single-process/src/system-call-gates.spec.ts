import type { VmSpec } from '@ringside/machine';
import { SingleProcess, specOf } from './single-process.js';
import { nativeUntilStale } from './testing/native-until-stale.js';
import { systemCallGuest } from './testing/system-call-guest.js';

const TRANSLATED: Partial<VmSpec> = { path: 'binary-translation', mmu: 'shadow', guestKernelRing: 1 };
const INSTRUCTIONS = 6_000;
const long = process.env['RINGSIDE_LONG'] === '1';
const SEEDS = long ? 2_000 : 6;

const stateOf = ({ machine }: SingleProcess): unknown => ({
  hash: machine.stateHash!.value, retired: machine.processor.retired, state: machine.state, memory: Buffer.from(machine.processor.readPhysical('guest', 0, machine.processor.cpu.ramBytes)).toString('base64'),
});

describe('system calls of every kind under binary translation', () => {
  let gates = 0, callouts = 0;
  it('pass through the states of native', async () => {
    for (let seed = 0; seed < SEEDS; seed++) {
      const { image, memoryMiB } = systemCallGuest(seed);
      const { native, instructions } = await nativeUntilStale(image, { memoryMiB, hashStates: true }, INSTRUCTIONS);
      const translated = await SingleProcess.create({ spec: specOf({ ...TRANSLATED, memoryMiB, hashStates: true }), image });
      await translated.machine.step({ instructions });
      expect({ seed, ...stateOf(translated) as object }).toEqual({ seed, ...stateOf(native) as object });
      gates += translated.machine.translations!.counts.gates;
      callouts += translated.machine.translations!.counts.callouts;
    }
  });

  it('went through gates of the cache, and through ring -1', () => {
    expect(gates).toBeGreaterThan(30 * SEEDS);
    expect(callouts).toBeGreaterThan(30 * SEEDS);
  });
});
