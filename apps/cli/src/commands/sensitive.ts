import { Command } from 'commander';
import { probeGuest, probes } from '@ringside/guests';
import { writeFile } from 'node:fs/promises';
import type { Context } from '../context.js';
import { renderSensitive, sensitiveSentences } from '../render/sensitive.js';
import { probeMachines } from '../sensitive/run.js';
import { openSession } from '../session/connect.js';
import { BUILT_PATHS, parsePath } from '../session/vm-spec.js';
import { commaList, positiveInteger } from './options.js';

export function sensitiveCommand(context: Context): Command {
  const { terminal } = context;
  return new Command('sensitive')
    .description('run each sensitive instruction that does not trap on each path: what the guest sees, right or misled')
    .option('--paths <list>', `comma-separated, native always among them: ${BUILT_PATHS.join(', ')}`, commaList, [...BUILT_PATHS])
    .option('--timeout <seconds>', 'give up on a machine after this', positiveInteger, 60)
    .option('--attach', 'use the services at NATS_URL, waiting up to a minute for them; start none')
    .option('--wide', 'what each machine saw, in the table (by itself where the terminal has room)')
    .option('--write-guest <file>', 'run nothing: write the guest, a Multiboot ELF file, so that another machine can run it')
    .option('--json', 'print JSON (docs/schemas/sensitive-1.json)')
    .action(async (options: { paths: string[]; timeout: number; attach?: boolean; wide?: boolean; writeGuest?: string; json?: boolean }) => {
      const paths = options.paths.map(parsePath);
      if (options.writeGuest !== undefined) {
        await writeFile(options.writeGuest, probeGuest(probes, 'multiboot').image);
        return terminal.out(`It writes a line a probe to COM1: qemu-system-i386 -kernel ${options.writeGuest} -display none -serial stdio -no-reboot`);
      }
      const { client } = await openSession(context, options.attach ? { attach: true } : {});
      const report = await probeMachines(client, { paths, timeoutMs: options.timeout * 1_000, progress: (text) => terminal.progress(text) });
      if (options.json) return terminal.json(report);
      for (const line of renderSensitive(report, terminal, options.wide)) terminal.out(line);
      terminal.out();
      for (const line of sensitiveSentences(report)) terminal.out(line);
    });
}
