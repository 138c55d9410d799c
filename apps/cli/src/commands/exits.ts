import { Command } from 'commander';
import type { Context } from '../context.js';
import { renderExits } from '../render/exits.js';
import { connectRunning } from '../session/connect.js';

export function exitsCommand(context: Context): Command {
  const { terminal } = context;
  return new Command('exits')
    .description('what a VM left for, how often and how long: the columns of perf kvm stat (native: its bus cycles)')
    .argument('<vm>', 'its name')
    .option('--json', 'print counts, times (ns) and histograms as JSON')
    .action(async (vmId: string, options: { json?: boolean }) => {
      const { exits, messages, retired, executed, virtualNs, epoch, state } = await (await connectRunning(context)).request('vm.stats', { vmId });
      if (options.json) terminal.json({ vm: vmId, epoch, state, retired, executed, virtualNs, exits, messages });
      else for (const line of renderExits(exits, terminal)) terminal.out(line);
    });
}
