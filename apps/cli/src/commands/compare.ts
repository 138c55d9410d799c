import { Command } from 'commander';
import { modelledTable, type ClockKind, type OperationName } from '@ringside/machine';
import { benchCommand, diskImage, guestImage, RINGLET, type RingletOperation } from '@ringside/guests';
import { writeFile } from 'node:fs/promises';
import { compare } from '../compare/compare.js';
import { sensitivityOf } from '../compare/cycles.js';
import { operationBytes } from '../compare/guest-bytes.js';
import { COMPARED, parseOperations } from '../compare/operations.js';
import { readComparison } from '../compare/read-comparison.js';
import type { Comparison } from '../compare/result.js';
import type { Shell } from '../compare/run.js';
import { choicesFor } from '../compare/settings.js';
import { WHAT_PATHS_DO } from '../compare/what-paths-do.js';
import type { Context } from '../context.js';
import { Failure, usageFailure } from '../failure.js';
import { renderCycles } from '../render/cycles.js';
import { renderComparison, renderTraceIds } from '../render/comparison.js';
import { openSession } from '../session/connect.js';
import { imageReference } from '../session/images.js';
import { BUILT_IN_GUESTS, BUILT_PATHS, CLOCK_HELP, parseClock, parsePath, type BuiltPath } from '../session/vm-spec.js';
import { toJaegerFile } from '../traces/jaeger-file.js';
import { TraceStore } from '../traces/trace-store.js';
import { commaList, positiveInteger } from './options.js';

interface CompareOptions {
  guest: string; paths: string[]; mmu: string[]; guestKernelRing: string[]; ops: string[]; repeat: number; clock: string; sensitivity?: boolean; warmUp: boolean; hashStates?: boolean;
  timeout: number; traceFile?: string; attach?: boolean; from?: string; counts?: boolean; list?: boolean; json?: boolean;
}

/** How the teaching kernel's shell is driven. */
export const ringletShell: Shell = {
  prompt: RINGLET.prompt, halt: RINGLET.haltCommand,
  command: (operation, repetitions) => benchCommand(operation as RingletOperation, repetitions),
};

export function compareCommand(context: Context): Command {
  const { terminal } = context;
  return new Command('compare')
    .description('run guest operations on each path and put side by side what each adds: counts, times, traces')
    .option('--guest <guest>', 'ringlet, or a Multiboot ELF file that marks operations by itself', 'ringlet')
    .option('--paths <list>', `comma-separated: ${BUILT_PATHS.join(', ')}`, commaList, [...BUILT_PATHS])
    .option('--mmu <list>', 'for the paths that have it, one run each: nested, shadow (hardware-assisted), direct (paravirt)', commaList, [])
    .option('--guest-kernel-ring <list>', 'for the paths that have it, one run each: 1, 3 (paravirt)', commaList, [])
    .option('--ops <list>', 'comma-separated operations, or all (--list shows them)', commaList, ['all'])
    .option('--repeat <n>', 'repetitions of each operation, after one to warm up', positiveInteger, 5)
    .option('--clock <clock>', `${CLOCK_HELP}, and adds cycles to the results; real`, 'virtual')
    .option('--sensitivity', 'modelled clocks: halve and double each figure of the table, and say which orderings of the paths survive')
    .option('--no-warm-up', 'leave out the run that is thrown away first (counts are the same; the first path is slower)')
    .option('--hash-states', 'keep a running hash over the guest\'s states (slow)')
    .option('--timeout <seconds>', 'give up on a path after this', positiveInteger, 300)
    .option('--trace-file <file>', 'write the traces as a file that Jaeger\'s UI accepts for upload')
    .option('--attach', 'use the services at NATS_URL, waiting up to a minute for them; start none')
    .option('--from <file>', 'run nothing: show what --json printed into a file (with --ops all,empty), of it --paths and --ops')
    .option('--counts', 'leave out times and traces: what is the same on every run')
    .option('--list', 'print the operations, their bytes in the guest, and what each path does with them')
    .option('--json', 'print JSON (docs/schemas/compare-1.json)')
    .action(async (options: CompareOptions) => {
      const operations = parseOperations(options.ops);
      const paths = [...new Set(options.paths.map(parsePath))];
      if (paths.length === 0) throw usageFailure('--paths wants at least one path.');
      const clock = parseClock(options.clock);
      const table = modelledTable(clock);
      if (options.sensitivity && table === null && options.from === undefined) throw usageFailure('--sensitivity wants a modelled clock, such as --clock modelled:pentium4.');
      if (options.list) return list(context, operations, paths, options.json ?? false);
      if (options.from !== undefined) return showFile(context, options.from, operations, paths, options);
      const choices = choicesFor(paths, options.mmu, options.guestKernelRing.map(Number), clock);

      const { client } = await openSession(context, options.attach ? { attach: true } : {});
      const builtIn = BUILT_IN_GUESTS.some((name) => name === options.guest);
      const { comparison, traces } = await compare(client, {
        guestName: options.guest, guest: await imageReference(client, options.guest, BUILT_IN_GUESTS), shell: builtIn ? ringletShell : null,
        choices, operations, repetitions: options.repeat, clock, timeoutMs: options.timeout * 1_000,
        store: new TraceStore(context.stateDirectory), progress: (text) => terminal.progress(text), warmUp: options.warmUp, ...(options.hashStates ? { hashStates: true } : {}), ...(options.sensitivity ? { sensitivity: true } : {}),
      });
      if (options.traceFile !== undefined) await writeFile(options.traceFile, JSON.stringify(toJaegerFile(traces)));
      const asked = { ...comparison, results: comparison.results.filter(({ operation }) => operations.includes(operation)) };
      if (options.json) terminal.json(asked);
      else if (options.counts) showCounts(context, comparison);
      else {
        terminal.out(explanation(options.repeat, clock));
        terminal.out();
        for (const line of renderComparison(comparison, terminal)) terminal.out(line);
        showCycles(context, comparison);
        const ids = renderTraceIds(asked.results, terminal);
        if (ids.length > 1) terminal.out(['', ...ids, '', './ringside trace ID shows one as a waterfall.'].join('\n'));
      }
      const broken = asked.results.filter(({ status }) => status === 'unsupported');
      if (broken.length > 0) throw new Failure(`${broken.length} of ${asked.results.length} did not run; first ${broken[0]!.operation} on ${broken[0]!.path}: ${broken[0]!.reason}.`);
    });
}

/** A comparison that ran before, or a part of it; `empty` stays in it, for it is taken off. */
async function showFile(context: Context, file: string, operations: readonly OperationName[], paths: readonly BuiltPath[], { counts, json, sensitivity }: CompareOptions): Promise<void> {
  const whole = await readComparison(file);
  const results = whole.results.filter(({ operation, path }) => (operation === 'empty' || operations.includes(operation)) && paths.some((name) => name === path));
  if (results.every(({ operation }) => operation === 'empty')) throw new Failure(`${file} has none of these operations on these paths.`);
  const table = modelledTable(whole.clock);
  if (sensitivity && table === null) throw new Failure(`${file} was made under the clock ${whole.clock}: --sensitivity wants a modelled one.`);
  const comparison: Comparison = { ...whole, results, ...(sensitivity && table !== null ? { sensitivity: sensitivityOf(results, table) } : {}) };
  if (json) return context.terminal.json(comparison);
  if (counts) return showCounts(context, comparison);
  for (const line of renderComparison(comparison, context.terminal)) context.terminal.out(line);
  showCycles(context, comparison);
}

function showCounts(context: Context, comparison: Comparison): void {
  for (const line of renderComparison(comparison, context.terminal, 'counts')) context.terminal.out(line);
  showCycles(context, comparison);
}

/** Under a modelled clock. */
function showCycles({ terminal }: Context, comparison: Comparison): void {
  const table = modelledTable(comparison.clock);
  if (table !== null) for (const line of renderCycles(comparison, table, terminal)) terminal.out(line);
}

function explanation(repetitions: number, clock: ClockKind): string {
  return `One repetition of each operation (of ${repetitions}, the measuring loop taken off; boot as a whole), ${clock} clock. Times are this system's: messages dominate them.`;
}

async function list(context: Context, operations: readonly OperationName[], paths: readonly BuiltPath[], json: boolean): Promise<void> {
  const [native, paravirt, disk] = await Promise.all([guestImage('ringlet'), guestImage('ringlet-pv'), diskImage('ringlet')]);
  const rows = COMPARED.filter(({ name }) => operations.includes(name)).map(({ name, exactly }) => ({
    operation: name, exactly,
    bytes: hex(operationBytes(native, name) ?? operationBytes(disk, name)),
    paravirtBytes: hex(operationBytes(paravirt, name) ?? operationBytes(disk, name)),
    paths: Object.fromEntries(paths.map((path) => [path, WHAT_PATHS_DO[name as Exclude<OperationName, 'empty' | 'probe'>][path]])),
  }));
  if (json) return context.terminal.json(rows);
  const { terminal } = context;
  const width = Math.max(...paths.map((path) => path.length), 'guest bytes'.length);
  for (const { operation, exactly, bytes, paravirtBytes, paths: does } of rows) {
    terminal.out(`${terminal.paint(operation, 'bold')}: ${exactly}`);
    if (bytes !== null) terminal.out(`  ${'guest bytes'.padEnd(width)}  ${terminal.paint(bytes, 'cyan')}${paravirtBytes === bytes ? '' : ` (paravirt: ${terminal.paint(paravirtBytes ?? '–', 'cyan')})`}`);
    for (const [path, sentence] of Object.entries(does)) terminal.out(`  ${path.padEnd(width)}  ${sentence}`);
    terminal.out();
  }
}

const hex = (bytes: Uint8Array | null): string | null => bytes === null || bytes.length === 0 ? null : Buffer.from(bytes).toString('hex').toUpperCase().replace(/..(?=.)/g, '$& ');
