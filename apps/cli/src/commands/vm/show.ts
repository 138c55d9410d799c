import type { Path } from '@ringside/machine';
import type { VmStatistics } from '@ringside/protocol';
import { Command } from 'commander';
import type { Context } from '../../context.js';
import { renderVm } from '../../render/machine.js';
import { connectRunning } from '../../session/connect.js';

/** Paths whose statistics say something of the VM itself. */
const TELLING: readonly Path[] = ['trap-and-emulate', 'binary-translation'];

export function vmShowCommand(context: Context): Command {
  return new Command('show')
    .description('one VM: its state and why, its specification, its execution controls')
    .argument('<vm>', 'its name')
    .option('--json', 'print it as JSON')
    .action(async (vmId: string, options: { json?: boolean }) => {
      const client = await connectRunning(context);
      const record = await client.request('vm.show', { vmId });
      // A machine that is not there any more has no statistics.
      const statistics: Partial<VmStatistics> = TELLING.includes(record.spec.path) ? await client.request('vm.stats', { vmId }, 3_000).catch(() => ({})) : {};
      const { misled = null, translation = null } = statistics;
      if (options.json) context.terminal.json({ ...record, ...(misled === null ? {} : { misled }), ...(translation === null ? {} : { translation }) });
      else for (const line of renderVm(record, context.terminal, { misled, translation })) context.terminal.out(line);
    });
}
