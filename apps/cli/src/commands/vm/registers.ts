import { Command } from 'commander';
import type { Context } from '../../context.js';
import { renderDisassembly, renderRegisters } from '../../render/machine.js';
import { connectRunning } from '../../session/connect.js';

export function vmRegistersCommand(context: Context): Command {
  return new Command('registers')
    .alias('regs')
    .description('general, control and segment registers of a paused VM, and the next instruction')
    .argument('<vm>', 'its name')
    .option('--json', 'print them as JSON')
    .action(async (vmId: string, options: { json?: boolean }) => {
      const client = await connectRunning(context);
      const view = await client.request('vm.registers', { vmId });
      if (options.json) return context.terminal.json(view);
      for (const line of renderRegisters(view, context.terminal)) context.terminal.out(line);
      await showNext(client, vmId, view, context);
    });
}

/** The instruction that the VM stands before, where its page is mapped. */
export async function showNext(client: Awaited<ReturnType<typeof connectRunning>>, vmId: string, view: Parameters<typeof renderRegisters>[0], context: Context): Promise<void> {
  const address = (view.segments.cs.base + view.registers.eip) >>> 0;
  const lines = await client.request('vm.disassemble', { vmId, address, count: 1 }).catch(() => []);
  for (const line of renderDisassembly(lines, context.terminal, address)) context.terminal.out(line);
}
