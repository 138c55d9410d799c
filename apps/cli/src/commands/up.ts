import { Command } from 'commander';
import { join } from 'node:path';
import type { Context } from '../context.js';
import { Failure } from '../failure.js';
import { Session } from '../session/session.js';
import { readState, removeState, stillRunning, writeState } from '../session/state-file.js';
import { portNumber } from './options.js';
import { renderProcesses } from './status.js';

export function upCommand(context: Context): Command {
  const { terminal, stateDirectory } = context;
  return new Command('up')
    .description('start a NATS server and the services in the background')
    .option('--port <port>', 'port of the NATS server (default: a free one)', portNumber)
    .option('--json', 'print what runs as JSON')
    .action(async (options: { port?: number; json?: boolean }) => {
      const before = await readState(stateDirectory);
      if (before !== null && stillRunning(before).length > 0) {
        throw new Failure(`Ringside is already up at ${before.natsUrl}: ./ringside status shows it, ./ringside down stops it.`);
      }
      await removeState(stateDirectory);
      terminal.progress('starting NATS and the services');
      const session = await Session.start(context, {
        detached: true, logDirectory: join(stateDirectory, 'log'), environment: { RINGSIDE_STATE: stateDirectory },
        ...(options.port === undefined ? {} : { natsPort: options.port }),
      });
      const state = { natsUrl: session.natsUrl, startedAt: new Date().toISOString(), processes: session.processes };
      await writeState(stateDirectory, state);
      if (options.json) terminal.json(state);
      else {
        for (const line of renderProcesses(state.processes.map((process) => ({ ...process, state: 'ready' })), terminal)) terminal.out(line);
        terminal.out(`\nup at ${state.natsUrl}. Next: ./ringside vm create --name first --start; ./ringside down stops everything.`);
      }
    });
}
