import { seededGuest, seededPvGuest } from '@ringside/guests';
import type { VmSpec } from '@ringside/machine';
import { SingleProcess, specOf } from './single-process.js';

const SEEDS = Array.from({ length: 20 }, (_, index) => index * 7919 + 1);

const exitCounts = (whole: SingleProcess): Record<string, number> =>
  Object.fromEntries(Object.entries(whole.machine.statistics().exits).map(([reason, { count }]) => [reason, count]));

describe('guests made from a seed cost exactly what the oracle says', () => {
  it.each(SEEDS)('native, seed %i: one bus message for each port cycle', async (seed) => {
    const guest = seededGuest(seed);
    const whole = await SingleProcess.create({ spec: specOf(), image: guest.image });
    await whole.machine.run();
    expect([whole.machine.state, whole.machine.why]).toEqual(['shutdown', expect.any(String)]);
    expect(exitCounts(whole)).toEqual({ 'io.port': guest.portCycles });
    expect(whole.busRequests).toBe(guest.portCycles);
  });

  it.each(SEEDS)('hardware-assisted, seed %i', async (seed) => {
    const guest = seededGuest(seed);
    const whole = await SingleProcess.create({ spec: specOf({ path: 'hardware-assisted', mmu: 'nested' }), image: guest.image });
    const { controls } = whole.machine.processor.cpu;
    const expected = guest.hardwareAssisted(controls);
    await whole.machine.run();
    expect([whole.machine.state, whole.machine.why]).toEqual(['shutdown', expect.any(String)]);
    expect(exitCounts(whole)).toEqual({ ...expected, 'ept-violation': guest.regions });
  });

  it.each(SEEDS)('paravirt, seed %i', async (seed) => {
    const guest = seededPvGuest(seed);
    const whole = await SingleProcess.create({ spec: specOf({ path: 'paravirt', mmu: 'direct', guestKernelRing: 1 }), image: guest.image });
    await whole.machine.run();
    expect([whole.machine.state, whole.machine.why]).toEqual(['shutdown', expect.any(String)]);
    expect(exitCounts(whole)).toEqual(guest.exits);
  });

  it('passes through native\'s states on every path that runs an unmodified kernel', async () => {
    const paths: Partial<VmSpec>[] = [
      { path: 'hardware-assisted', mmu: 'nested' }, { path: 'hardware-assisted', mmu: 'shadow' }, { path: 'binary-translation', mmu: 'shadow', guestKernelRing: 1 },
    ];
    const run = async (image: Uint8Array, path: Partial<VmSpec>): Promise<unknown> => {
      const { machine } = await SingleProcess.create({ spec: specOf({ ...path, hashStates: true }), image });
      await machine.run();
      return [machine.state, machine.stateHash!.samples, machine.stateHash!.value];
    };
    for (const seed of SEEDS) {
      const { image } = seededGuest(seed);
      const native = await run(image, {});
      for (const path of paths) expect([seed, path, await run(image, path)]).toEqual([seed, path, native]);
    }
  });
});
