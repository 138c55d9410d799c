import { Command } from 'commander';
import type { Context } from '../../context.js';
import { connectRunning } from '../../session/connect.js';
import type { ControlClient } from '../../session/control-client.js';
import { imageReference } from '../../session/images.js';
import { BUILT_IN_DISKS, BUILT_IN_GUESTS, BUILT_PATHS, CLOCK_HELP, parseClock, parsePath, parsePortRange, vmSpec } from '../../session/vm-spec.js';
import { positiveInteger } from '../options.js';

interface CreateOptions {
  name?: string; guest: string; path: string; mmu?: string; guestKernelRing?: number; memory?: number; clock: string;
  commandLine?: string; disk?: string | false; grant?: string[]; hashStates?: boolean; start?: boolean; json?: boolean;
}

export function vmCreateCommand(context: Context): Command {
  return new Command('create')
    .description('make a VM')
    .option('--name <name>', 'its name (default: the guest\'s name and a number)')
    .option('--guest <guest>', `what it boots: ${BUILT_IN_GUESTS.join(', ')}, or a Multiboot ELF file`, 'ringlet')
    .option('--path <path>', `how privileged work is handled: ${BUILT_PATHS.join(', ')}`, 'hardware-assisted')
    .option('--mmu <mmu>', 'how guest memory is mapped: none (native), direct (paravirt), nested or shadow (hardware-assisted)')
    .option('--guest-kernel-ring <ring>', 'ring of the guest\'s kernel: 0; on paravirt 1, or 3 beside its applications', (text) => Number(text))
    .option('--memory <MiB>', 'guest RAM (default: 32)', positiveInteger)
    .option('--clock <clock>', `${CLOCK_HELP}; real: follows the wall clock`, 'real')
    .option('--command-line <text>', 'handed to the guest by the boot loader')
    .option('--disk <image>', `${BUILT_IN_DISKS.join(', ')}, or a file of raw sectors (default: ringlet for ringlet, else none)`)
    .option('--no-disk', 'no disk')
    .option('--grant <ports...>', 'port ranges that go to the device model without an exit, such as 0x378-0x37a')
    .option('--hash-states', 'keep a running hash over the guest\'s states (slow)')
    .option('--start', 'boot it at once')
    .option('--json', 'print the VM as JSON')
    .action(async (options: CreateOptions) => {
      const { terminal } = context;
      const path = parsePath(options.path);
      const clock = parseClock(options.clock);
      const grantedPorts = options.grant?.map(parsePortRange);
      // Refuse what does not go together before anything is sent.
      const choices = { path, mmu: options.mmu, guestKernelRing: options.guestKernelRing, memoryMiB: options.memory, clock, commandLine: options.commandLine, grantedPorts, hashStates: options.hashStates };
      vmSpec({ ...choices, id: options.name ?? 'unnamed', guest: options.guest });

      const client = await connectRunning(context);
      const guest = await imageReference(client, options.guest, BUILT_IN_GUESTS);
      const disk = options.disk === undefined ? undefined : options.disk === false || options.disk === 'none' ? null : await imageReference(client, options.disk, BUILT_IN_DISKS);
      const id = options.name ?? await freeName(client, options.guest);
      const record = await client.request('vm.create', { spec: vmSpec({ ...choices, id, guest, disk }), start: options.start ?? false });
      if (options.json) terminal.json(record);
      else terminal.out(`${id}: ${record.state} (${record.why})${options.start ? '' : `. Next: ./ringside vm start ${id}`}`);
    });
}

/** `ringlet-1`, `first-2`: the guest's name and the first number that is free. */
async function freeName(client: ControlClient, guest: string): Promise<string> {
  const taken = new Set((await client.request('vm.list', {})).map(({ spec }) => spec.id));
  const base = guest.split('/').at(-1)!.replace(/\.[^.]*$/, '').toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-+|-+$/g, '').slice(0, 50) || 'vm';
  for (let number = 1; ; number++) if (!taken.has(`${base}-${number}`)) return `${base}-${number}`;
}
