import { Command } from 'commander';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Context } from '../context.js';
import { Failure, usageFailure } from '../failure.js';
import { findNatsServer } from '../session/nats-server.js';

/** Benchmarks run in processes of their own, so that nothing of the command line is measured with them. */
export function benchCommand(context: Context): Command {
  const bench = new Command('bench').description('measure the bus and the processor model on this computer');
  bench.addCommand(new Command('bus')
    .description('an exit\'s round trip, encoding and handler included, over a raw NATS round trip of the same bytes; tracing off, 1 %, 100 %')
    .option('--quick', 'fewer blocks: a first look')
    .option('--json', 'print JSON')
    .action(async (options: { quick?: boolean; json?: boolean }) => {
      const server = findNatsServer(context.environment, context.stateDirectory);
      await runBundle(context, 'bench-bus', [...(options.quick ? ['--quick'] : []), ...(options.json ? ['--json'] : [])], { NATS_SERVER: server });
    }));
  bench.addCommand(new Command('cpu')
    .description('guest instructions per second in ring 3, with paging, limit checks and self-modification checks on: integer, memory, branch, call and string loops; and the same loops on each path, beside native')
    .option('--elf <file>', 'measure this static 32-bit Linux program instead; its first system call ends it')
    .option('--json', 'print JSON')
    .argument('[argument...]', 'what the program of --elf is given')
    .action(async (args: string[], options: { elf?: string; json?: boolean }) => {
      if (options.elf !== undefined && !existsSync(options.elf)) throw new Failure(`${options.elf}: there is no such file.`);
      if (options.elf === undefined && args.length > 0) throw usageFailure('Arguments are for the program that --elf names.');
      await runBundle(context, 'bench-cpu', [...(options.json ? ['--json'] : []), ...(options.elf === undefined ? [] : ['--elf', options.elf, '--', ...args])], {});
    }));
  return bench;
}

async function runBundle(context: Context, name: string, args: string[], environment: Record<string, string>): Promise<void> {
  const bundle = join(context.appsDirectory, `${name}.mjs`);
  if (!existsSync(bundle)) throw new Failure(`${bundle} does not exist: build first (npm run build, or run this through ./ringside).`);
  context.terminal.progress('measuring; an otherwise idle computer gives steadier figures');
  const child = spawn(process.execPath, [bundle, ...args], { env: { ...context.environment, ...environment } as NodeJS.ProcessEnv, stdio: ['ignore', 'pipe', 'inherit'] });
  context.cleanups.push(async () => { child.kill('SIGTERM'); });
  child.stdout.on('data', (chunk: Buffer) => context.terminal.raw(chunk));
  const code = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status, signal) => resolve(status ?? (signal === null ? 1 : 128)));
  });
  // It has said why.
  context.exitCode = code === 0 ? 0 : 1;
}
