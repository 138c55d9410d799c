import { Command } from 'commander';
import type { Context } from '../context.js';
import { stopProcess } from '../session/child.js';
import { SERVICES } from '../session/service.js';
import { readState, removeState, stillRunning } from '../session/state-file.js';

const order: readonly string[] = [...SERVICES].reverse();

export function downCommand(context: Context): Command {
  const { terminal, stateDirectory } = context;
  return new Command('down')
    .description('stop what `up` started')
    .action(async () => {
      const state = await readState(stateDirectory);
      const running = state === null ? [] : stillRunning(state);
      // Guests first, then who serves them; NATS, which is in no list, last.
      const rank = (name: string): number => order.includes(name) ? order.indexOf(name) : order.length;
      for (const { name, pid } of running.sort((a, b) => rank(a.name) - rank(b.name))) {
        terminal.progress(`stopping ${name} (process ${pid})`);
        await stopProcess(pid);
      }
      await removeState(stateDirectory);
      terminal.out(running.length === 0 ? 'nothing was running' : `stopped ${running.map(({ name }) => name).join(', ')}`);
    });
}
