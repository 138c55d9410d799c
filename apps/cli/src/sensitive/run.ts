import { kernelProbes, probes, runProbes, type ProbeForm } from '@ringside/guests';
import { modelledTable, type ClockKind, type OperationRecord } from '@ringside/machine';
import { randomBytes } from 'node:crypto';
import { waitForEnd } from '../compare/run.js';
import { settingName } from '../compare/settings.js';
import type { ControlClient } from '../session/control-client.js';
import { sendImage } from '../session/images.js';
import { vmSpec, type BuiltPath } from '../session/vm-spec.js';
import { sensitiveReport, type MachineReports, type SensitiveReport } from './result.js';

interface Choice { path: BuiltPath; form: ProbeForm; guestKernelRing?: number; clock: ClockKind }

/** The machines, in the order of the paths. Under binary translation twice: the default has UMIP, the generation that the modelled clock names has not. */
const CHOICES: readonly Choice[] = [
  { path: 'native', form: 'multiboot', clock: 'virtual' },
  { path: 'trap-and-emulate', form: 'multiboot', clock: 'virtual' },
  { path: 'paravirt', form: 'paravirt-ring-1', guestKernelRing: 1, clock: 'virtual' },
  { path: 'paravirt', form: 'paravirt-ring-3', guestKernelRing: 3, clock: 'virtual' },
  { path: 'binary-translation', form: 'multiboot', clock: 'virtual' },
  { path: 'binary-translation', form: 'multiboot', clock: 'modelled:pentium4' },
  { path: 'hardware-assisted', form: 'multiboot', clock: 'virtual' },
];

export interface SensitiveRequest { paths: readonly BuiltPath[]; timeoutMs: number; progress: (text: string) => void }

/** Runs the probes on native and on each machine of `paths`, one VM each (more where an instruction stops one). The VMs are deleted afterwards. */
export async function probeMachines(client: ControlClient, { paths, timeoutMs, progress }: SensitiveRequest): Promise<SensitiveReport> {
  const choices = CHOICES.filter(({ path }) => path === 'native' || paths.includes(path));
  const specs = choices.map(({ path, guestKernelRing, clock }) => vmSpec({ id: 'probe', path, guestKernelRing, clock, guest: 'probes' }));
  const runs: MachineReports[] = [];
  for (const [index, choice] of choices.entries()) {
    const { path, mmu, guestKernelRing, clock } = specs[index]!;
    const list = choice.form === 'paravirt-ring-3' ? kernelProbes : probes;
    const reports = await runProbes(list, choice.form, async ({ image }) => {
      const spec = vmSpec({ id: `sensitive-${path}-${randomBytes(3).toString('hex')}`, path, mmu, guestKernelRing, clock, guest: await sendImage(client, image) });
      try {
        progress(`${path}: probing`);
        await client.request('vm.create', { spec, start: true }, 60_000);
        const { why } = await waitForEnd(client, spec.id, { choices: { path }, shell: null, timeoutMs, progress: () => undefined });
        const { operations } = await client.request('vm.stats', { vmId: spec.id });
        return { console: await wholeConsole(client, spec.id), why, counts: operations.filter(({ operation }): boolean => operation === 'probe') satisfies OperationRecord[] };
      } finally {
        await client.request('vm.delete', { vmId: spec.id }).catch(() => undefined);
      }
    });
    const umip = path === 'binary-translation' && modelledTable(clock)?.features.umip === false ? ', no UMIP' : '';
    runs.push({ machine: { name: `${settingName(specs[index]!, specs)}${umip}`, path, mmu, guestKernelRing, clock }, reports });
  }
  return sensitiveReport(probes, runs);
}

async function wholeConsole(client: ControlClient, vmId: string): Promise<string> {
  let text = '';
  for (let offset = 0; ;) {
    const { bytes, end } = await client.fetchConsole(vmId, { offset });
    text += Buffer.from(bytes).toString('latin1');
    offset += bytes.length;
    if (offset >= end || bytes.length === 0) return text;
  }
}
