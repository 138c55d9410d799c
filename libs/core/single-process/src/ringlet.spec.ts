import { benchCommand, diskImage, guestImage, RINGLET, RINGLET_OPERATIONS, type RingletOperation } from '@ringside/guests';
import type { OperationRecord, ScriptStep, VmSpec } from '@ringside/machine';
import { SingleProcess, specOf } from './single-process.js';

const PATHS = {
  native: { path: 'native', mmu: 'none', guestKernelRing: 0 },
  'hardware-assisted': { path: 'hardware-assisted', mmu: 'nested', guestKernelRing: 0 },
  paravirt: { path: 'paravirt', mmu: 'direct', guestKernelRing: 1, grantedPorts: [...RINGLET.grantedPorts] },
  'paravirt, kernel in ring 3': { path: 'paravirt', mmu: 'direct', guestKernelRing: 3, grantedPorts: [...RINGLET.grantedPorts] },
} satisfies Record<string, Partial<VmSpec>>;
type TestedPath = keyof typeof PATHS;

/** Wait for the prompt before each line, and power off after the last. */
const script = (lines: readonly string[]): ScriptStep[] => [...lines, RINGLET.haltCommand].map((line) => ({ expect: RINGLET.prompt, send: `${line}\n` }));

interface Run { whole: SingleProcess; records: OperationRecord[] }

async function run(path: TestedPath, lines: readonly string[]): Promise<Run> {
  const image = await guestImage(PATHS[path].path === 'paravirt' ? 'ringlet-pv' : 'ringlet');
  const whole = await SingleProcess.create({ spec: specOf({ ...PATHS[path], commandLine: '', script: script(lines) }), image, disk: await diskImage(RINGLET.disk) });
  await whole.machine.run();
  expect([whole.machine.state, whole.machine.why, whole.console.slice(-400)]).toEqual(['shutdown', expect.any(String), expect.any(String)]);
  return { whole, records: whole.machine.recorder.records };
}

/** Boot and twice every operation: once for each path, for all that look at it. */
const twice = new Map<TestedPath, Promise<Run>>();
function everyOperationTwice(path: TestedPath): Promise<Run> {
  const known = twice.get(path) ?? run(path, benches(2));
  twice.set(path, known);
  return known;
}

const benches = (repetitions: number, operations: readonly RingletOperation[] = RINGLET_OPERATIONS): string[] =>
  operations.map((operation) => benchCommand(operation, repetitions));

describe('ringlet', () => {
  it.each(Object.keys(PATHS) as TestedPath[])('boots to its shell within its budget: %s', async (path) => {
    const { whole, records } = await everyOperationTwice(path);
    expect(whole.console).toContain(RINGLET.prompt);
    const boot = records.find((record) => record.operation === 'boot')!;
    expect(boot.complete).toBe(true);
    expect(boot.retired).toBeLessThan(20_000_000);
    const exits = Object.values(boot.exits).reduce((sum, count) => sum + count, 0);
    const busCycles = Object.entries(boot.messages).filter(([subject]) => subject.startsWith('io.')).reduce((sum, [, count]) => sum + count, 0);
    expect(path === 'native' ? busCycles : exits).toBeLessThan(3_000);
  });

  it.each(Object.keys(PATHS) as TestedPath[])('runs every operation: %s', async (path) => {
    const { records, whole } = await everyOperationTwice(path);
    expect(records.map((record) => [record.operation, record.complete, record.repetitions])).toEqual([
      ['boot', true, 1], ...RINGLET_OPERATIONS.map((operation) => [operation, true, 2]),
    ]);
    expect(whole.documents.length).toBeGreaterThan(0);
  });

  it.each(Object.keys(PATHS) as TestedPath[])('costs exactly twice as much for twice as many repetitions: %s', async (path) => {
    const few = await everyOperationTwice(path);
    const many = await run(path, benches(4));
    const net = ({ records }: Run, operation: RingletOperation): Record<string, number> => {
      const of = (name: string): OperationRecord => records.find((record) => record.operation === name)!;
      return difference({ ...of(operation).exits, ...of(operation).messages }, { ...of('empty').exits, ...of('empty').messages });
    };
    for (const operation of RINGLET_OPERATIONS) {
      if (operation === 'empty') continue;
      const once = net(few, operation);
      expect([operation, net(many, operation)]).toEqual([operation, Object.fromEntries(Object.entries(once).map(([key, count]) => [key, count * 2]))]);
    }
  });

  it('asks ring -1 for no system call with its kernel in ring 1, and twice for each in ring 3', async () => {
    const exitsOf = async (path: TestedPath): Promise<Record<string, number>> =>
      (await everyOperationTwice(path)).records.find(({ operation }) => operation === 'syscall')!.exits;
    expect(await exitsOf('paravirt')).toEqual({});
    expect(await exitsOf('paravirt, kernel in ring 3')).toEqual({ 'deprivileged-exception': 2, hypercall: 2 });
  });

  it('is made of what each path adds: VM exits with hardware assistance alone, gates where the kernel is deprivileged', async () => {
    const primitivesOf = async (path: TestedPath, operation: RingletOperation): Promise<Record<string, number>> =>
      ({ ...(await everyOperationTwice(path)).records.find((record) => record.operation === operation)!.primitives });
    expect(await primitivesOf('native', 'in')).toEqual({ instruction: expect.any(Number), 'port-cycle': 2 });
    expect(await primitivesOf('hardware-assisted', 'in')).toMatchObject({ 'vm-exit': 2, 'vm-entry': 2 });
    const deprivileged = await primitivesOf('paravirt', 'in');
    expect(deprivileged).toMatchObject({ 'gate-entry': 2, iret: 2 });
    expect(deprivileged).not.toHaveProperty('vm-exit');
    // One gate and one IRET of the guest's own; with the kernel in ring 3 two of ring -1's.
    expect(await primitivesOf('native', 'syscall')).toMatchObject({ 'gate-entry': 2, iret: 2 });
    expect(await primitivesOf('paravirt, kernel in ring 3', 'syscall')).toMatchObject({ 'gate-entry': 4, iret: 4 });
  });

  it('costs the same on every run', async () => {
    const first = await everyOperationTwice('paravirt');
    const second = await run('paravirt', benches(2));
    expect(second.records).toEqual(first.records);
    expect(second.whole.console).toBe(first.whole.console);
  });
});

function difference(counts: Record<string, number>, base: Record<string, number>): Record<string, number> {
  const result: Record<string, number> = {};
  for (const key of new Set([...Object.keys(counts), ...Object.keys(base)])) {
    const left = (counts[key] ?? 0) - (base[key] ?? 0);
    if (left !== 0) result[key] = left;
  }
  return result;
}
