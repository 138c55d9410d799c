import { Argument, Command } from 'commander';
import type { Context } from '../../context.js';
import { usageFailure } from '../../failure.js';
import { grouped } from '../../render/units.js';
import { connectRunning } from '../../session/connect.js';
import { positiveInteger } from '../options.js';
import { showNext } from './registers.js';

export function vmStepCommand(context: Context): Command {
  return new Command('step')
    .description('let a paused VM execute N instructions, or go on to its next exit')
    .argument('<vm>', 'its name')
    .addArgument(new Argument('[n]', 'instructions (default: 1)').argParser(positiveInteger))
    .option('--to-exit', 'until the next exit has been answered (native: bus cycle)')
    .option('--json', 'print the registers afterwards as JSON')
    .action(async (vmId: string, count: number | undefined, options: { toExit?: boolean; json?: boolean }) => {
      if (options.toExit && count !== undefined) throw usageFailure('Say either a number of instructions or --to-exit, not both.');
      const client = await connectRunning(context);
      const before = await client.request('vm.registers', { vmId });
      const view = await client.request('vm.step', { vmId, ...(options.toExit ? { exits: 1 } : { instructions: count ?? 1 }) }, 120_000);
      if (options.json) return context.terminal.json(view);
      context.terminal.out(`${grouped(view.retired - before.retired)} instructions retired, ${view.state}`);
      await showNext(client, vmId, view, context);
    });
}
