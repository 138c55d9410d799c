import { Command } from 'commander';
import type { Context } from '../context.js';
import { renderTable } from '../render/table.js';
import { isRunning } from '../session/child.js';
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
      if (options.json) terminal.json({ up, natsUrl: state?.natsUrl ?? null, startedAt: state?.startedAt ?? null, processes });
      else if (state === null) terminal.out('Nothing is up. ./ringside up starts the services; ./ringside demo needs nothing running.');
      else {
        for (const line of renderProcesses(processes, terminal)) terminal.out(line);
        terminal.out(`\nNATS at ${state.natsUrl}, up since ${state.startedAt}`);
      }
      context.exitCode = up ? 0 : 1;
    });
}
