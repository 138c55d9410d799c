import { diskOf } from '@ringside/devices';
import { benchCommand, diskImage, guestImage, RINGLET, RINGLET_OPERATIONS, seededGuest, type RingletOperation } from '@ringside/guests';
import { digestWords, type OperationRecord, type ScriptStep, type VmSpec } from '@ringside/machine';
import { SingleProcess, specOf } from './single-process.js';

const PATHS = {
  native: { path: 'native', mmu: 'none' },
  'binary-translation': { path: 'binary-translation', mmu: 'shadow', guestKernelRing: 1 },
} satisfies Record<string, Partial<VmSpec>>;

const script = (lines: readonly string[]): ScriptStep[] => [...lines, RINGLET.haltCommand].map((line) => ({ expect: RINGLET.prompt, send: `${line}\n` }));
const benches = (repetitions: number, operations: readonly RingletOperation[] = RINGLET_OPERATIONS): string[] => operations.map((operation) => benchCommand(operation, repetitions));

interface Run { whole: SingleProcess; records: OperationRecord[]; digests: string[] }

async function run(path: keyof typeof PATHS, lines: readonly string[], changes: Partial<VmSpec> = {}): Promise<Run> {
  const digests: string[] = [];
  const whole = await SingleProcess.create({
    spec: specOf({ ...PATHS[path], script: script(lines), ...changes }), image: await guestImage('ringlet'), disk: await diskImage(RINGLET.disk),
    hooks: {
      mark: (mark, machine) => {
        const { processor } = machine;
        const memory = digestWords(processor.readPhysical('guest', 0, processor.cpu.ramBytes));
        digests.push(`${mark.operation}/${mark.kind}: ${memory} ${processor.getRegister('cr2')} ${diskOf(whole.board)!.digest()} ${machine.stateHash?.value ?? ''} ${machine.stateHash?.samples ?? ''}`);
      },
    },
  });
  await whole.machine.run();
  expect([whole.machine.state, whole.machine.why, whole.console.slice(-400)]).toEqual(['shutdown', expect.any(String), expect.any(String)]);
  return { whole, records: whole.machine.recorder.records, digests };
}

describe('ringlet, unmodified, under binary translation', () => {
  it('passes through the states of native, boot and every operation, observed or not', async () => {
    const native = await run('native', benches(2), { hashStates: true });
    const translated = await run('binary-translation', benches(2), { hashStates: true });
    expect(translated.digests).toEqual(native.digests);
    expect(translated.whole.console).toBe(native.whole.console);
    expect(translated.whole.documents).toEqual(native.whole.documents);
    const unobserved = await run('binary-translation', benches(2));
    const countsOf = ({ whole: { machine } }: Run): unknown[] => [machine.processor.retired, machine.processor.executed, machine.statistics().messages, machine.translations!.counts];
    expect(countsOf(unobserved)).toEqual(countsOf(translated));
    const withoutHash = (digests: string[]): string[] => digests.map((digest) => digest.split(' ').slice(0, 4).join(' '));
    expect(withoutHash(unobserved.digests)).toEqual(withoutHash(native.digests));
    expect(unobserved.whole.machine.processor.retired).toBe(native.whole.machine.processor.retired);
  });

  it('boots within 6,000 exits and misses', async () => {
    const { records, whole } = await run('binary-translation', []);
    const boot = records.find(({ operation }) => operation === 'boot')!;
    expect(boot.complete).toBe(true);
    const exits = Object.values(boot.exits).reduce((sum, count) => sum + count, 0);
    expect(exits + (boot.messages['translate'] ?? 0)).toBeLessThan(6_000);
    expect(whole.machine.translations!.counts.misses).toBeGreaterThan(100);
  });

  it('sends no message for a call and return, nor for a system call, but to translate the code once', async () => {
    const few = await run('binary-translation', benches(4, ['empty', 'call-ret', 'syscall']));
    const many = await run('binary-translation', benches(8, ['empty', 'call-ret', 'syscall']));
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
    const translated = await run('binary-translation', benches(20, ['pte-modify', 'pte-modify-batch']));
    const { exits } = translated.records.find(({ operation }) => operation === 'pte-modify')!;
    expect((exits['callout'] ?? 0) + (exits['write-trace'] ?? 0)).toBe(20);
    expect(exits['callout']).toBeGreaterThan(10);
    expect(translated.records.find(({ operation }) => operation === 'pte-modify-batch')!.exits['write-trace'] ?? 0).toBe(0);
  });
});

describe('guests made from a seed, under binary translation', () => {
  it('pass through the states of native', async () => {
    for (let n = 0; n < 20; n++) {
      const { image } = seededGuest(n * 7919 + 1);
      const native = await SingleProcess.create({ spec: specOf({ hashStates: true }), image });
      const translated = await SingleProcess.create({ spec: specOf({ ...PATHS['binary-translation'], hashStates: true }), image });
      await native.machine.run();
      await translated.machine.run();
      expect([n, translated.machine.state, translated.machine.stateHash!.value]).toEqual([n, native.machine.state, native.machine.stateHash!.value]);
    }
  });
});
