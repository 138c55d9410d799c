import { Command, Option } from 'commander';
import type { ClockKind } from '@ringside/machine';
import { compare } from '../compare/compare.js';
import { readComparison } from '../compare/read-comparison.js';
import { parseOperations } from '../compare/operations.js';
import type { Comparison } from '../compare/result.js';
import { choicesFor } from '../compare/settings.js';
import type { Context } from '../context.js';
import { usageFailure } from '../failure.js';
import { recap } from '../recap/recap.js';
import { renderRecap } from '../render/recap.js';
import { openSession } from '../session/connect.js';
import { BUILT_PATHS, parseClock } from '../session/vm-spec.js';
import { ringletShell } from './compare.js';
import { positiveInteger } from './options.js';

interface RecapOptions { from?: string[]; only?: string; modelled: string; repeat: number; timeout: number; attach?: boolean; json?: boolean }

export function recapCommand(context: Context): Command {
  const { terminal } = context;
  return new Command('recap')
    .description('the course\'s closing table, pros and cons of each technique: every line computed from a comparison, with the numbers it rests on')
    .option('--from <files...>', 'what compare --json printed (with --ops all,empty), under the virtual clock, a modelled one, or both; without it, both are run')
    .addOption(new Option('--only <basis>', 'these lines alone').choices(['counts', 'wall', 'modelled']))
    .option('--modelled <clock>', 'the hardware of the modelled lines', 'modelled:pentium4')
    .option('--repeat <n>', 'repetitions of each operation', positiveInteger, 10)
    .option('--timeout <seconds>', 'give up on a path after this', positiveInteger, 300)
    .option('--attach', 'use the services at NATS_URL, waiting up to a minute for them; start none')
    .option('--json', 'print JSON (docs/schemas/recap-1.json)')
    .action(async (options: RecapOptions) => {
      const modelled = parseClock(options.modelled);
      if (!modelled.startsWith('modelled:')) throw usageFailure('--modelled wants a modelled clock, such as modelled:pentium4.');
      const comparisons = options.from === undefined ? await run(context, options, modelled) : await Promise.all(options.from.map(readComparison));
      const { schema, lines } = recap(comparisons);
      const result = { schema, lines: lines.filter(({ basis }) => options.only === undefined || basis === options.only) };
      if (options.json) return terminal.json(result);
      for (const line of renderRecap(result, terminal)) terminal.out(line);
    });
}

async function run(context: Context, { only, repeat, timeout, attach }: RecapOptions, modelled: ClockKind): Promise<Comparison[]> {
  const { client } = await openSession(context, attach ? { attach: true } : {});
  const comparisons: Comparison[] = [];
  // Cycles are counted, and those of the last repetition: a run of them needs no warming up and few repetitions.
  for (const clock of only === undefined ? ['virtual', modelled] as const : [only === 'modelled' ? modelled : 'virtual'] as const) {
    const { comparison } = await compare(client, {
      guestName: 'ringlet', guest: 'ringlet', shell: ringletShell, choices: choicesFor(BUILT_PATHS, [], [], clock), operations: parseOperations(['all', 'empty']),
      repetitions: clock === 'virtual' ? repeat : 2, clock, timeoutMs: timeout * 1_000, warmUp: clock === 'virtual', store: null, progress: (text) => context.terminal.progress(`${clock}: ${text}`),
    });
    comparisons.push(comparison);
  }
  return comparisons;
}
