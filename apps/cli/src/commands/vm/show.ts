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
      const client = await connectRunning(context);
      const record = await client.request('vm.show', { vmId });
      // A machine that is not there any more has no statistics.
      const statistics = record.spec.path === 'trap-and-emulate' ? await client.request('vm.stats', { vmId }).catch(() => null) : null;
      const misled = statistics?.misled ?? null;
      if (options.json) context.terminal.json(misled === null ? record : { ...record, misled });
      else for (const line of renderVm(record, context.terminal, misled)) context.terminal.out(line);
    });
}
