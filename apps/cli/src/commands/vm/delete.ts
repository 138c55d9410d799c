import { Command } from 'commander';
import type { Context } from '../../context.js';
import { connectRunning } from '../../session/connect.js';

export function vmDeleteCommand(context: Context): Command {
  return new Command('delete')
    .alias('rm')
    .description('end VMs and forget them')
    .argument('<vm...>', 'their names')
    .action(async (vmIds: string[]) => {
      const client = await connectRunning(context);
      for (const vmId of vmIds) {
        await client.request('vm.delete', { vmId });
        context.terminal.out(`${vmId}: deleted`);
      }
    });
}
