import { kernelProbes, probes, runProbes, type ProbeForm, type ProbeReport } from '@ringside/guests';
import type { OperationRecord, VmSpec } from '@ringside/machine';
import { SingleProcess, specOf } from './single-process.js';

/**
 * Each sensitive instruction, executed by a guest's kernel or application on each path. Natively it shows what the SDM says (`expected`, which no run
 * made); under hardware assistance and binary translation the same; deprivileged, what really is.
 */
const PATHS = {
  native: { path: 'native', mmu: 'none' },
  'trap-and-emulate': { path: 'trap-and-emulate', mmu: 'shadow', guestKernelRing: 1 },
  paravirt: { path: 'paravirt', mmu: 'direct', guestKernelRing: 1 },
  'paravirt, ring 3': { path: 'paravirt', mmu: 'direct', guestKernelRing: 3 },
  'binary-translation': { path: 'binary-translation', mmu: 'shadow', guestKernelRing: 1 },
  'binary-translation without UMIP': { path: 'binary-translation', mmu: 'shadow', guestKernelRing: 1, clock: 'modelled:pentium4' },
  'hardware-assisted': { path: 'hardware-assisted', mmu: 'nested' },
  'hardware-assisted, shadow': { path: 'hardware-assisted', mmu: 'shadow' },
} satisfies Record<string, Partial<VmSpec>>;

/** Once for all tests. */
const runs = new Map<string, Promise<ProbeReport<OperationRecord>[]>>();
function probing(name: keyof typeof PATHS): Promise<ProbeReport<OperationRecord>[]> {
  const ran = runs.get(name) ?? run(name);
  runs.set(name, ran);
  return ran;
}

function run(name: keyof typeof PATHS): Promise<ProbeReport<OperationRecord>[]> {
  const form: ProbeForm = name === 'paravirt' ? 'paravirt-ring-1' : name === 'paravirt, ring 3' ? 'paravirt-ring-3' : 'multiboot';
  return runProbes(name === 'paravirt, ring 3' ? kernelProbes : probes, form, async ({ image }) => {
    const whole = await SingleProcess.create({ spec: specOf(PATHS[name]), image });
    await whole.machine.step({ instructions: 2_000_000 });
    return { console: whole.console, why: whole.machine.why, counts: whole.machine.recorder.records.filter(({ operation }) => operation === 'probe') };
  });
}
const saw = (reports: readonly ProbeReport<unknown>[]): string[] => reports.map(({ probe, seen, stopped }) => `${probe.id}: ${seen?.key ?? stopped}`);
const expected = probes.map(({ id, expected: key }) => `${id}: ${key}`);
/** Ids of what differs from the SDM. */
const differs = (reports: readonly ProbeReport<unknown>[]): string[] => reports.filter(({ probe, seen }) => seen?.key !== probe.expected).map(({ probe }) => probe.id);

const LEAVES_RING_3_UNDER_UMIP = ['sgdt-3', 'sidt-3', 'sldt-3', 'str-3', 'smsw-3'];

describe('sensitive instructions', () => {
  it('show on native what the SDM says', async () => {
    expect(saw(await probing('native'))).toEqual(expected);
  });

  it.each(['hardware-assisted', 'hardware-assisted, shadow', 'binary-translation'] as const)('show the same on %s', async (name) => {
    expect(saw(await probing(name))).toEqual(expected);
  });

  it('mislead a kernel in ring 1 that traps and is emulated, and show its applications the monitor\'s tables', async () => {
    const reports = await probing('trap-and-emulate');
    expect(differs(reports)).toEqual([
      'sgdt-0', 'sidt-0', 'sldt-0', 'str-0', 'smsw-0', 'pushf-0', 'popf-sets-0', 'popf-clears-0', 'lar-0', 'lsl-rpl-0', 'verr-rpl-0', 'verw-rpl-0', 'push-cs-0', 'mov-ss-0', 'pop-es-0', 'mov-es-0',
      'call-far-0', 'jmp-far-0', 'retf-0', 'iret-0', 'iret-3', ...LEAVES_RING_3_UNDER_UMIP,
    ]);
    // What misleads does not trap, or ring -1 would have put it right.
    for (const { probe, counts } of reports) if (differs(reports).includes(probe.id)) expect([probe.id, counts!.exits]).toEqual([probe.id, {}]);
    expect(reports.find(({ probe }) => probe.id === 'int-0')!.counts!.exits).toEqual({ 'deprivileged-exception': 1 });
  });

  it('show a paravirtualized kernel where it really runs', async () => {
    const byRing = { 1: await probing('paravirt'), 3: await probing('paravirt, ring 3') };
    for (const [ring, reports] of Object.entries(byRing)) {
      expect(reports.find(({ probe }) => probe.id === 'push-cs-0')!.seen!.key).toBe(`RPL ${ring}`);
      expect(differs(reports)).toEqual(expect.arrayContaining(['sgdt-0', 'pushf-0', 'popf-sets-0', 'popf-clears-0', 'lar-0', 'iret-0']));
    }
  });

  it('leave ring 3 under binary translation because of UMIP; on a generation without it they show the monitor\'s', async () => {
    const reports = await probing('binary-translation without UMIP');
    expect(differs(reports)).toEqual(LEAVES_RING_3_UNDER_UMIP);
    const withUmip = await probing('binary-translation');
    for (const id of LEAVES_RING_3_UNDER_UMIP) expect(withUmip.find(({ probe }) => probe.id === id)!.counts!.exits).toEqual({ 'deprivileged-exception': 1 });
  });
});
