import { diskOf } from '@ringside/devices';
import { benchCommand, diskImage, guestImage, RINGLET, RINGLET_OPERATIONS, seededGuest } from '@ringside/guests';
import { digestWords, type VmSpec } from '@ringside/machine';
import { SingleProcess, specOf } from './single-process.js';

/**
 * Hardware assistance of the first generation, without nested paging: the processor walks shadow tables, and the guest passes through the same
 * states as natively, accessed and dirty bits of its own page tables included.
 */
const NATIVE = { path: 'native', mmu: 'none' } satisfies Partial<VmSpec>;
const SHADOW = { path: 'hardware-assisted', mmu: 'shadow' } satisfies Partial<VmSpec>;
const SEEDS = Array.from({ length: 20 }, (_, index) => index * 7919 + 1);

interface Run { whole: SingleProcess; digests: string[] }

async function ringlet(path: Partial<VmSpec>, lines: readonly string[]): Promise<Run> {
  const digests: string[] = [];
  const script = [...lines, RINGLET.haltCommand].map((line) => ({ expect: RINGLET.prompt, send: `${line}\n` }));
  const whole = await SingleProcess.create({
    spec: specOf({ ...path, script, hashStates: true }), image: await guestImage('ringlet'), disk: await diskImage(RINGLET.disk),
    hooks: {
      mark: (mark, { processor, stateHash }) => {
        const controls = (['cr0', 'cr2', 'cr3', 'cr4'] as const).map((register) => processor.getRegister(register)).join(',');
        digests.push(`${mark.operation}/${mark.kind}: ${digestWords(processor.readPhysical('guest', 0, processor.cpu.ramBytes))} ${controls} ${diskOf(whole.board)!.digest()} ${stateHash!.value}`);
      },
    },
  });
  await whole.machine.run();
  expect([whole.machine.state, whole.machine.why, whole.console.slice(-400)]).toEqual(['shutdown', expect.any(String), expect.any(String)]);
  return { whole, digests };
}

describe('hardware-assisted with shadow paging', () => {
  it('passes through the native states: ringlet, boot and every operation', async () => {
    const lines = RINGLET_OPERATIONS.map((operation) => benchCommand(operation, 2));
    const native = await ringlet(NATIVE, lines);
    const shadow = await ringlet(SHADOW, lines);
    expect(shadow.digests).toEqual(native.digests);
    expect(shadow.whole.machine.stateHash!.samples).toBe(native.whole.machine.stateHash!.samples);
    expect(shadow.whole.console).toBe(native.whole.console);
    const { exits } = shadow.whole.machine.statistics();
    expect(Object.keys(exits)).toEqual(expect.arrayContaining(['exception-or-nmi', 'write-trace', 'cr-access']));
    expect(exits['ept-violation']).toBeUndefined();
  });

  it('answers a shadow fault in one round trip: no request goes out for one', async () => {
    const { whole } = await ringlet(SHADOW, [benchCommand('fork', 2)]);
    const { exits, messages } = whole.machine.statistics();
    expect(exits['exception-or-nmi']!.count).toBeGreaterThan(0);
    expect(messages['cpu.read'] ?? 0).toBeLessThan(10);
  });

  it('passes through the native states: guests made from a seed', async () => {
    for (const seed of SEEDS) {
      const { image } = seededGuest(seed);
      const native = await SingleProcess.create({ spec: specOf({ ...NATIVE, hashStates: true }), image });
      const shadow = await SingleProcess.create({ spec: specOf({ ...SHADOW, hashStates: true }), image });
      await native.machine.run();
      await shadow.machine.run();
      expect([seed, shadow.machine.state, shadow.machine.stateHash!.samples, shadow.machine.stateHash!.value])
        .toEqual([seed, native.machine.state, native.machine.stateHash!.samples, native.machine.stateHash!.value]);
    }
  });
});
