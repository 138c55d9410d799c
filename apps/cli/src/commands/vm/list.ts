import { Command } from 'commander';
import type { Context } from '../../context.js';
import { renderVmList } from '../../render/machine.js';
import { connectRunning } from '../../session/connect.js';

export function vmListCommand(context: Context): Command {
  return new Command('list')
    .alias('ls')
    .description('all VMs and the state each is in')
    .option('--json', 'print them as JSON')
    .action(async (options: { json?: boolean }) => {
      const records = await (await connectRunning(context)).request('vm.list', {});
      if (options.json) context.terminal.json(records);
      else if (records.length === 0) context.terminal.out('No VMs. ./ringside vm create --start makes one.');
      else for (const line of renderVmList(records, context.terminal)) context.terminal.out(line);
    });
}
