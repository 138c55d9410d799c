import { Command } from 'commander';
import { writeFile } from 'node:fs/promises';
import type { Context } from '../context.js';
import { Failure, messageOf, usageFailure } from '../failure.js';
import { renderWaterfall } from '../render/waterfall.js';
import { ControlClient } from '../session/control-client.js';
import { readState, stillRunning } from '../session/state-file.js';
import { fromJaegerTrace, toJaegerFile, type JaegerFile } from '../traces/jaeger-file.js';
import { TraceStore } from '../traces/trace-store.js';
import type { Trace } from '../traces/trace.js';
import { positiveInteger } from './options.js';

interface TraceOptions { jaeger?: string; limit: number; json?: boolean; traceFile?: string }

export function traceCommand(context: Context): Command {
  const { terminal } = context;
  return new Command('trace')
    .description('the waterfall of one trace: from the services that run, from the traces that compare and demo kept, or from Jaeger')
    .argument('<id>', 'trace id, or the beginning of one that was kept')
    .option('--jaeger <url>', 'ask this Jaeger, such as http://127.0.0.1:16686')
    .option('--limit <n>', 'spans to show', positiveInteger, 200)
    .option('--json', 'print it as Jaeger\'s JSON')
    .option('--trace-file <file>', 'write it as a file that Jaeger\'s UI accepts for upload')
    .action(async (id: string, options: TraceOptions) => {
      if (!/^[0-9a-f]{4,32}$/i.test(id)) throw usageFailure(`"${id}" is no trace id: 32 hexadecimal digits, or at least the first four of them.`);
      const trace = await findTrace(context, id.toLowerCase(), options.jaeger);
      if (options.traceFile !== undefined) await writeFile(options.traceFile, JSON.stringify(toJaegerFile([trace])));
      if (options.json) terminal.json(toJaegerFile([trace]));
      else for (const line of renderWaterfall(trace, terminal, options.limit)) terminal.out(line);
    });
}

async function findTrace(context: Context, id: string, jaeger: string | undefined): Promise<Trace> {
  if (jaeger !== undefined) return fromJaeger(jaeger, id);
  const store = new TraceStore(context.stateDirectory);
  const kept = await store.matching(id);
  if (kept.length > 1) throw new Failure(`${id} begins ${kept.length} of the kept traces: give more digits.`);
  const stored = kept.length === 1 ? await store.load(kept[0]!) : null;
  if (stored !== null) return stored;
  const url = context.environment['NATS_URL'] ?? await runningUrl(context);
  if (url !== null && id.length === 32) {
    const client = await ControlClient.connect(url);
    context.cleanups.push(() => client.close());
    const spans = await client.spans(id);
    if (spans.length > 0) return { traceId: id, label: '', spans };
  }
  throw new Failure(`No trace ${id}: compare and demo print the ids of theirs; --jaeger URL asks a Jaeger.`);
}

async function runningUrl({ stateDirectory }: Context): Promise<string | null> {
  const state = await readState(stateDirectory);
  return state !== null && stillRunning(state).length > 0 ? state.natsUrl : null;
}

async function fromJaeger(url: string, id: string): Promise<Trace> {
  try {
    const response = await fetch(new URL(`/api/traces/${id}`, url), { signal: AbortSignal.timeout(10_000) });
    if (response.status === 404) throw new Failure(`Jaeger at ${url} has no trace ${id}.`);
    if (!response.ok) throw new Failure(`Jaeger at ${url} answered ${response.status} ${response.statusText}.`);
    const [trace] = (await response.json() as JaegerFile).data;
    if (trace === undefined) throw new Failure(`Jaeger at ${url} has no trace ${id}.`);
    return fromJaegerTrace(trace);
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure(`No Jaeger answers at ${url}: ${messageOf(error)}.`);
  }
}
