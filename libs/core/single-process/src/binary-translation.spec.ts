import { benchCommand, diskImage, guestImage, RINGLET, RINGLET_OPERATIONS, type RingletOperation } from '@ringside/guests';
import type { OperationRecord, ScriptStep, VmSpec } from '@ringside/machine';
import { SingleProcess, specOf } from './single-process.js';

const TRANSLATED: Partial<VmSpec> = { path: 'binary-translation', mmu: 'shadow', guestKernelRing: 1 };

const script = (lines: readonly string[]): ScriptStep[] => [...lines, RINGLET.haltCommand].map((line) => ({ expect: RINGLET.prompt, send: `${line}\n` }));
const benches = (repetitions: number, operations: readonly RingletOperation[] = RINGLET_OPERATIONS): string[] => operations.map((operation) => benchCommand(operation, repetitions));

interface Run { whole: SingleProcess; records: OperationRecord[] }

async function run(lines: readonly string[]): Promise<Run> {
  const whole = await SingleProcess.create({ spec: specOf({ ...TRANSLATED, script: script(lines) }), image: await guestImage('ringlet'), disk: await diskImage(RINGLET.disk) });
  await whole.machine.run();
  expect([whole.machine.state, whole.machine.why, whole.console.slice(-400)]).toEqual(['shutdown', expect.any(String), expect.any(String)]);
  return { whole, records: whole.machine.recorder.records };
}

/** What binary translation costs. That it passes through native's states is judged in ringlet-states.spec.ts and seeded-guests.spec.ts. */
describe('ringlet, unmodified, under binary translation', () => {
  it('boots within 6,000 exits and misses', async () => {
    const { records, whole } = await run([]);
    const boot = records.find(({ operation }) => operation === 'boot')!;
    expect(boot.complete).toBe(true);
    const exits = Object.values(boot.exits).reduce((sum, count) => sum + count, 0);
    expect(exits + (boot.messages['translate'] ?? 0)).toBeLessThan(6_000);
    expect(whole.machine.translations!.counts.misses).toBeGreaterThan(100);
  });

  it('sends no message for a call and return, nor for a system call, but to translate the code once', async () => {
    const few = await run(benches(4, ['empty', 'call-ret', 'syscall']));
    const many = await run(benches(8, ['empty', 'call-ret', 'syscall']));
    for (const operation of ['call-ret', 'syscall'] as const) {
      const [once, twice] = [few, many].map(({ records }) => records.find((record) => record.operation === operation)!);
      expect([operation, once!.exits, twice!.exits]).toEqual([operation, {}, {}]);
      expect(Object.keys(once!.messages).filter((subject) => subject !== 'translate')).toEqual([]);
      expect(twice!.messages).toEqual(once!.messages);
    }
    const { counts } = many.whole.machine.translations!;
    expect(counts.gates).toBeGreaterThan(9);
  });

  it('is told of a store to a page table by a callout once it has trapped often', async () => {
    const translated = await run(benches(20, ['pte-modify', 'pte-modify-batch']));
    const { exits } = translated.records.find(({ operation }) => operation === 'pte-modify')!;
    expect((exits['callout'] ?? 0) + (exits['write-trace'] ?? 0)).toBe(20);
    expect(exits['callout']).toBeGreaterThan(10);
    expect(translated.records.find(({ operation }) => operation === 'pte-modify-batch')!.exits['write-trace'] ?? 0).toBe(0);
  });
});
