import { Command } from 'commander';
import { join } from 'node:path';
import type { Context } from '../context.js';
import { Failure } from '../failure.js';
import { stopProcess } from '../session/child.js';
import { SERVICES } from '../session/service.js';
import { Session } from '../session/session.js';
import { readState, removeState, stillRunning, writeState } from '../session/state-file.js';
import { portNumber } from './options.js';
import { renderProcesses } from './status.js';

export function upCommand(context: Context): Command {
  const { terminal, stateDirectory } = context;
  return new Command('up')
    .description('start a NATS server and the services in the background, or those of them that have ended')
    .option('--port <port>', 'port of the NATS server (default: a free one)', portNumber)
    .option('--json', 'print what runs as JSON')
    .action(async (options: { port?: number; json?: boolean }) => {
      const before = await readState(stateDirectory);
      const running = before === null ? [] : stillRunning(before);
      const ended = SERVICES.filter((name) => !running.some((process) => process.name === name));
      if (before !== null && ended.length === 0) throw new Failure(`Ringside is already up at ${before.natsUrl}: ./ringside status shows it, ./ringside down stops it.`);
      // Services that ended are started again beside those that run, unless the bus itself is gone.
      const busRuns = before !== null && (running.some(({ name }) => name === 'nats-server') || before.natsUrl === context.environment['NATS_URL']);
      if (!busRuns) {
        for (const { pid } of running) await stopProcess(pid);
        await removeState(stateDirectory);
      }
      terminal.progress(busRuns ? `starting ${ended.join(', ')}` : 'starting NATS and the services');
      const session = await Session.start(context, {
        detached: true, logDirectory: join(stateDirectory, 'log'),
        ...(options.port === undefined ? {} : { natsPort: options.port }), ...(busRuns ? { natsUrl: before.natsUrl, services: ended } : {}),
      });
      const state = { natsUrl: session.natsUrl, startedAt: new Date().toISOString(), processes: [...(busRuns ? running : []), ...session.processes] };
      await writeState(stateDirectory, state);
      if (options.json) terminal.json(state);
      else {
        for (const line of renderProcesses(state.processes.map((process) => ({ ...process, state: 'ready' })), terminal)) terminal.out(line);
        terminal.out(`\nup at ${state.natsUrl}. Next: ./ringside vm create --name first --start; ./ringside down stops everything.`);
      }
    });
}
