import { Command } from 'commander';
import type { Context } from '../../context.js';
import { connectRunning } from '../../session/connect.js';

/** The verbs that move a VM from state to state and answer with its record. */
const verbs = [
  { name: 'start', verb: 'vm.start', description: 'start a created VM, go on with a paused one, or boot an ended one again' },
  { name: 'pause', verb: 'vm.pause', description: 'stop between two instructions, with everything kept' },
  { name: 'stop', verb: 'vm.stop', description: 'end a VM; `start` boots it again' },
] as const;

export const vmLifecycleCommands = verbs.map(({ name, verb, description }) => (context: Context): Command => new Command(name)
  .description(description)
  .argument('<vm>', 'its name')
  .option('--json', 'print the VM as JSON')
  .action(async (vmId: string, options: { json?: boolean }) => {
    const record = await (await connectRunning(context)).request(verb, { vmId });
    if (options.json) context.terminal.json(record);
    else context.terminal.out(`${vmId}: ${record.state} (${record.why})`);
  }));
