import { benchCommand, diskImage, guestImage, hostileGuest, RINGLET, RINGLET_OPERATIONS, seededGuest } from '@ringside/guests';
import { digestWords, type VmSpec } from '@ringside/machine';
import { SingleProcess, specOf } from './single-process.js';
import { pageTableGuest } from './testing/page-table-guest.js';

/**
 * The unmodified kernel in ring 1. What traps is emulated, and goes as natively; the sensitive instructions that do not trap mislead it, and
 * the first that did is named.
 */
const NATIVE = { path: 'native', mmu: 'none' } satisfies Partial<VmSpec>;
const TRAPPING = { path: 'trap-and-emulate', mmu: 'shadow', guestKernelRing: 1 } satisfies Partial<VmSpec>;

async function ringlet(lines: readonly string[]): Promise<SingleProcess> {
  const script = [...lines, RINGLET.haltCommand].map((line) => ({ expect: RINGLET.prompt, send: `${line}\n` }));
  const whole = await SingleProcess.create({ spec: specOf({ ...TRAPPING, script }), image: await guestImage('ringlet'), disk: await diskImage(RINGLET.disk) });
  await whole.machine.step({ instructions: 30_000_000 });
  return whole;
}

async function run(image: Uint8Array, change: Partial<VmSpec>, instructions: number): Promise<SingleProcess> {
  const whole = await SingleProcess.create({ spec: specOf({ ...change }), image });
  await whole.machine.step({ instructions });
  return whole;
}

const memory = ({ machine: { processor } }: SingleProcess): string => digestWords(processor.readPhysical('guest', 0, processor.cpu.ramBytes));

describe('trap-and-emulate', () => {
  it('runs ringlet unmodified as far as it goes, here through every operation', async () => {
    const whole = await ringlet(RINGLET_OPERATIONS.map((operation) => benchCommand(operation, 2)));
    expect([whole.machine.state, whole.console.slice(-200)]).toEqual(['shutdown', expect.stringContaining('power off')]);
    expect(whole.machine.recorder.records.map(({ operation, complete, repetitions }) => [operation, complete, repetitions])).toEqual([
      ['boot', true, 1], ...RINGLET_OPERATIONS.map((operation) => [operation, true, 2]),
    ]);
    expect(Object.keys(whole.machine.statistics().exits).sort()).toEqual(expect.arrayContaining(['deprivileged-exception', 'preemption-timer', 'write-trace']));
  });

  it('says which instruction misled the guest first, what it saw and what it should have seen', async () => {
    const whole = await ringlet([]);
    const { misled } = whole.machine.statistics();
    // Interrupts are off when the kernel first saves its flags, and the real IF, which is the monitor's, is on.
    expect(misled).toMatchObject({ mnemonic: 'PUSHF', bytes: '9c', ring: 1 });
    expect([misled!.saw, misled!.shouldHaveSeen].map((text) => (Number(text.split(' ')[1]) >>> 9) & 1)).toEqual([1, 0]);
    expect(misled!.count).toBeGreaterThan(1);
    expect(whole.machine.processor.readLinear(misled!.eip, 1)).toEqual(Uint8Array.of(0x9c));
  });

  it('costs the same on every run', async () => {
    const lines = [benchCommand('syscall', 3), benchCommand('fork', 1)];
    const [first, second] = [await ringlet(lines), await ringlet(lines)];
    expect(second.machine.recorder.records).toEqual(first.machine.recorder.records);
  });

  it('emulates what traps as ring 0 executes it: guests that edit their page tables, which nothing misleads', async () => {
    for (let seed = 0; seed < 40; seed++) {
      const { image, memoryMiB } = pageTableGuest(seed);
      const native = await run(image, { ...NATIVE, memoryMiB }, 50_000);
      const trapping = await run(image, { ...TRAPPING, memoryMiB }, 50_000);
      expect([seed, trapping.machine.state, trapping.machine.processor.retired, trapping.machine.now, memory(trapping), trapping.machine.statistics().misled])
        .toEqual([seed, native.machine.state, native.machine.processor.retired, native.machine.now, memory(native), null]);
    }
  });

  it('emulates what traps as ring 0 executes it: guests made from a seed', async () => {
    for (let seed = 1; seed < 60_000; seed += 7919) {
      const { image } = seededGuest(seed);
      const native = await run(image, NATIVE, 50_000);
      const trapping = await run(image, TRAPPING, 50_000);
      expect([seed, trapping.machine.state, trapping.console, trapping.machine.processor.retired, trapping.machine.now, memory(trapping)])
        .toEqual([seed, native.machine.state, native.console, native.machine.processor.retired, native.machine.now, memory(native)]);
    }
  });

  it('ends by name whatever a guest does', async () => {
    for (let seed = 0; seed < 20; seed++) {
      const { image, memoryBytes } = hostileGuest(seed);
      const { machine } = await run(image, { ...TRAPPING, memoryMiB: memoryBytes >> 20 }, 20_000);
      expect([seed, machine.state, machine.why]).toEqual([seed, expect.stringMatching(/^(paused|halted|shutdown|triple-fault|unsupported-mode)$/), expect.any(String)]);
    }
  });
});
