import { Command } from 'commander';
import type { ServiceStatus } from '@ringside/protocol';
import type { Context } from '../context.js';
import { renderTable } from '../render/table.js';
import { grouped } from '../render/units.js';
import { isRunning } from '../session/child.js';
import { ControlClient } from '../session/control-client.js';
import { isReady } from '../session/service.js';
import { readState, type RunningProcess } from '../session/state-file.js';
import type { Terminal } from '../terminal.js';

export interface ProcessStatus extends RunningProcess { state: 'ready' | 'not ready' | 'ended' }

export function renderProcesses(rows: readonly (RunningProcess & { state: string })[], terminal: Terminal): string[] {
  return renderTable(
    [{ title: 'PROCESS' }, { title: 'PID', align: 'right' }, { title: 'PORT', align: 'right' }, { title: 'STATE' }, { title: 'LOG' }],
    rows.map((row) => [row.name, String(row.pid), row.port === null ? '' : String(row.port),
      { text: row.state, style: row.state === 'ready' ? 'green' : 'red' }, row.logFile]),
    terminal,
  );
}

/** What every instance on the bus says of its work, those that others started among them. */
export function renderServices(services: readonly ServiceStatus[], terminal: Terminal): string[] {
  const work = ({ service, vms, counters }: ServiceStatus): string => {
    const count = (name: string): string => grouped(counters[name] ?? 0);
    switch (service) {
      case 'guest-cpu': return `${count('machines')} machines, ${count('running')} running, ${count('exits')} exits`;
      case 'hypervisor': return `${count('vms')} VMs`;
      case 'device-model': return `${count('boards')} boards, ${count('documents')} documents`;
      case 'translator': return `${count('translations')} translations, ${count('fromCache')} of them from memory`;
      default: { const unknown: never = service; return `${vms.length} VMs of ${String(unknown)}`; }
    }
  };
  return renderTable(
    [{ title: 'SERVICE' }, { title: 'PID', align: 'right' }, { title: 'REQUESTS', align: 'right' }, { title: 'RESENDS', align: 'right' }, { title: 'MEMORY', align: 'right' }, { title: 'WORK' }],
    services.map((one) => [one.service, String(one.pid), grouped(one.counters['requests'] ?? 0), grouped(one.counters['resends'] ?? 0), `${one.counters['residentMiB'] ?? 0} MiB`, work(one)]),
    terminal,
  );
}

/** Without a bus, asking would wait for its timeout. A bus that others run has no process here. */
const isServed = (processes: readonly ProcessStatus[]): boolean => processes.every(({ name, state }) => name !== 'nats-server' || state === 'ready');

/** Empty when nobody can be asked. */
async function servicesAt(natsUrl: string): Promise<ServiceStatus[]> {
  try {
    const client = await ControlClient.connect(natsUrl);
    const services = await client.services();
    await client.close();
    return services;
  } catch {
    return [];
  }
}

export function statusCommand(context: Context): Command {
  const { terminal, stateDirectory } = context;
  return new Command('status')
    .description('show what runs; exit code 1 unless everything is ready')
    .option('--json', 'print it as JSON')
    .action(async (options: { json?: boolean }) => {
      const state = await readState(stateDirectory);
      const processes: ProcessStatus[] = [];
      for (const process of state?.processes ?? []) {
        const ready = isRunning(process.pid) && (process.name === 'nats-server' || process.port === null || await isReady(process.port));
        processes.push({ ...process, state: ready ? 'ready' : isRunning(process.pid) ? 'not ready' : 'ended' });
      }
      const up = processes.length > 0 && processes.every((process) => process.state === 'ready');
      const services = state !== null && isServed(processes) ? await servicesAt(state.natsUrl) : [];
      if (options.json) terminal.json({ up, natsUrl: state?.natsUrl ?? null, startedAt: state?.startedAt ?? null, processes, services });
      else if (state === null) terminal.out('Nothing is up. ./ringside up starts the services; ./ringside demo needs nothing running.');
      else {
        for (const line of renderProcesses(processes, terminal)) terminal.out(line);
        if (services.length > 0) for (const line of ['', ...renderServices(services, terminal)]) terminal.out(line);
        terminal.out(`\nNATS at ${state.natsUrl}, up since ${state.startedAt}`);
      }
      context.exitCode = up ? 0 : 1;
    });
}
