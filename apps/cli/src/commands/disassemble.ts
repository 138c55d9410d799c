import { Argument, Command } from 'commander';
import type { Context } from '../context.js';
import { renderDisassembly } from '../render/machine.js';
import { renderTranslated } from '../render/translated.js';
import { connectRunning } from '../session/connect.js';
import { address32, positiveInteger } from './options.js';

export function disassembleCommand(context: Context): Command {
  return new Command('disassemble')
    .alias('disas')
    .description('guest code at a linear address, through the guest\'s page tables; under binary translation also beside its translation')
    .argument('<vm>', 'its name')
    .addArgument(new Argument('<address>', 'linear address, such as 0x100000').argParser(address32))
    .option('--count <n>', 'instructions', positiveInteger, 16)
    .option('--translated', 'beside what became of it: unit by unit, how the units are chained, and why what is no copy became what it did')
    .option('--json', 'print them as JSON')
    .action(async (vmId: string, address: number, options: { count: number; translated?: boolean; json?: boolean }) => {
      if (options.translated) {
        const view = await (await connectRunning(context)).request('vm.translated', { vmId, address, count: options.count });
        if (options.json) context.terminal.json(view);
        else for (const line of renderTranslated(view, context.terminal)) context.terminal.out(line);
        return;
      }
      const lines = await (await connectRunning(context)).request('vm.disassemble', { vmId, address, count: options.count });
      if (options.json) context.terminal.json(lines);
      else for (const line of renderDisassembly(lines, context.terminal)) context.terminal.out(line);
    });
}
