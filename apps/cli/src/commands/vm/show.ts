import { Command } from 'commander';
import type { Context } from '../../context.js';
import { renderVm } from '../../render/machine.js';
import { connectRunning } from '../../session/connect.js';

export function vmShowCommand(context: Context): Command {
  return new Command('show')
    .description('one VM: its state and why, its specification, its execution controls')
    .argument('<vm>', 'its name')
    .option('--json', 'print it as JSON')
    .action(async (vmId: string, options: { json?: boolean }) => {
      const record = await (await connectRunning(context)).request('vm.show', { vmId });
      if (options.json) context.terminal.json(record);
      else for (const line of renderVm(record, context.terminal)) context.terminal.out(line);
    });
}
