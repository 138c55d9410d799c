import { Command } from 'commander';
import type { Context } from '../../context.js';
import { ConsoleReader } from '../../session/console-reader.js';
import { connectRunning } from '../../session/connect.js';

const LEAVE = 0x1d;

export function vmConsoleCommand(context: Context): Command {
  const { terminal } = context;
  return new Command('console')
    .description('the VM\'s serial console; Ctrl-] leaves. Without a terminal: sends standard input and leaves when the guest waits or has ended')
    .argument('<vm>', 'its name')
    .option('--from-start', 'print everything that the guest has printed since it booted, not only the last screen')
    .action(async (vmId: string, options: { fromStart?: boolean }) => {
      const client = await connectRunning(context);
      const record = await client.request('vm.show', { vmId });
      const reader = new ConsoleReader(client, vmId, (bytes) => terminal.raw(bytes));
      context.cleanups.push(() => reader.stop());
      if (process.stdin.isTTY) terminal.note(`connected to ${vmId} (${record.state}); Ctrl-] leaves`);
      await reader.start(options.fromStart ? 0 : null);
      if (process.stdin.isTTY) {
        await interact(context, async (bytes) => client.sendInput(vmId, bytes));
        terminal.note('\r');
        return;
      }
      for await (const chunk of process.stdin) await client.sendInput(vmId, chunk as Buffer);
      // The guest has nothing more to do when it is parked or has ended; a kick takes a moment to arrive.
      for (let quiet = 0; quiet < 3;) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        const { state } = await client.request('vm.show', { vmId });
        quiet = state === 'running' ? 0 : quiet + 1;
      }
      await reader.catchUp();
    });
}

/** Keys go to the guest as they are typed, one message at a time and in order, until Ctrl-]. */
function interact(context: Context, send: (bytes: Uint8Array) => Promise<void>): Promise<void> {
  const { stdin } = process;
  stdin.setRawMode(true);
  const restore = async (): Promise<void> => {
    stdin.setRawMode(false);
    stdin.pause();
  };
  context.cleanups.push(restore);
  return new Promise((resolve, reject) => {
    let sending = Promise.resolve();
    stdin.on('data', (bytes: Buffer) => {
      const leave = bytes.indexOf(LEAVE);
      const keys = leave === -1 ? bytes : bytes.subarray(0, leave);
      if (keys.length > 0) sending = sending.then(() => send(keys));
      sending.catch(reject);
      if (leave !== -1) sending.then(resolve, reject);
    });
    stdin.on('end', resolve);
    stdin.resume();
  });
}
