import { SingleProcess, specOf } from './single-process.js';
import { nativeUntilStale } from './testing/native-until-stale.js';
import { storeGuest } from './testing/store-guest.js';

const SEEDS = process.env['RINGSIDE_LONG'] === '1' ? 1_000 : 6;
const INSTRUCTIONS = 12_000;

const stateOf = ({ machine }: SingleProcess): unknown => ({
  hash: machine.stateHash!.value, retired: machine.processor.retired, state: machine.state, memory: Buffer.from(machine.processor.readPhysical('guest', 0, machine.processor.cpu.ramBytes)).toString('base64'),
});

describe('stores that meet traces often, and then do not', () => {
  const counts = { storesAsked: 0, storesReverted: 0 };
  it('pass through the states of native', async () => {
    for (let seed = 0; seed < SEEDS; seed++) {
      const { image, memoryMiB } = storeGuest(seed);
      const { native, instructions } = await nativeUntilStale(image, { memoryMiB, hashStates: true }, INSTRUCTIONS);
      const translated = await SingleProcess.create({ spec: specOf({ path: 'binary-translation', mmu: 'shadow', guestKernelRing: 1, memoryMiB, hashStates: true }), image });
      await translated.machine.step({ instructions });
      expect({ seed, ...stateOf(translated) as object }).toEqual({ seed, ...stateOf(native) as object });
      counts.storesAsked += translated.machine.translations!.counts.storesAsked;
      counts.storesReverted += translated.machine.translations!.counts.storesReverted;
    }
  });

  it('became callouts, and stores again', () => {
    expect(counts.storesAsked).toBeGreaterThan(2 * SEEDS);
    expect(counts.storesReverted).toBeGreaterThan(SEEDS / 2);
  });
});
