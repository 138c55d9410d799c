import { modelledTable, type ClockKind, type OperationName } from '@ringside/machine';
import type { ControlClient } from '../session/control-client.js';
import { vmSpec, type BuiltPath } from '../session/vm-spec.js';
import type { TraceStore } from '../traces/trace-store.js';
import type { Trace } from '../traces/trace.js';
import { addCycles, sensitivityOf } from './cycles.js';
import { addNative, type Comparison, type OperationResult, type Setting } from './result.js';
import { settingName, type PathChoice } from './settings.js';
import { runPath, type PathRun, type RunRequest, type Shell } from './run.js';

export interface CompareRequest {
  /** As a person named it, for the report. */
  guestName: string;
  /** Built-in name or `sha256:…`. */
  guest: string;
  shell: Shell | null;
  /** The machines, in the order of the table. */
  choices: readonly PathChoice[];
  operations: readonly OperationName[];
  repetitions: number;
  clock: ClockKind;
  timeoutMs: number;
  hashStates?: boolean;
  /** Modelled clocks: ask what the orderings hang on. */
  sensitivity?: boolean;
  /** A run that is thrown away first, so that times are those of compiled code. */
  warmUp: boolean;
  store: TraceStore | null;
  progress: (text: string) => void;
  pathDone?: (name: string, run: PathRun) => Promise<void> | void;
  /** `name`: what the machine is called among those compared. */
  whileVmExists?: (name: string, path: BuiltPath, vmId: string) => Promise<void>;
}

/** Runs every path, one after the other, and puts the results side by side: operation by operation, in the order of the paths. */
export async function compare(client: ControlClient, request: CompareRequest): Promise<{ comparison: Comparison; runs: PathRun[]; traces: Trace[] }> {
  // The measuring loop goes along: per-operation figures take it off.
  const operations: readonly OperationName[] = request.shell === null || request.operations.includes('empty') ? request.operations : [...request.operations, 'empty'];
  const runs: PathRun[] = [];
  const traces: Trace[] = [];
  const choicesOf = (choice: PathChoice): RunRequest['choices'] =>
    ({ ...choice, clock: request.clock, guest: request.guest, hashStates: request.hashStates });
  // Services that have just started are slow until their code is compiled; the first path must not pay for all.
  if (request.warmUp) {
    const once = { operations, repetitions: 1, shell: request.shell, timeoutMs: request.timeoutMs, progress: () => request.progress('warming up') };
    await runPath(client, { ...once, choices: choicesOf(request.choices[0]!) });
  }
  const settings = request.choices.map((choice): Setting => vmSpec({ ...choicesOf(choice), id: 'probe' }));
  for (const [index, choice] of request.choices.entries()) {
    const name = settingName(settings[index]!, settings);
    const run = await runPath(client, {
      choices: choicesOf(choice),
      operations, repetitions: request.repetitions, shell: request.shell, timeoutMs: request.timeoutMs, progress: request.progress,
      before: async (vmId) => request.whileVmExists?.(name, choice.path, vmId),
    });
    runs.push(run);
    // How many services answer for a trace is not known beforehand, so each question waits a while: all at once.
    const found = await Promise.all(run.results.map(async ({ traceId, operation }): Promise<Trace[]> =>
      traceId === null ? [] : [{ traceId, label: `${operation} on ${name}`, spans: await client.spans(traceId) }]));
    for (const trace of found.flat().filter(({ spans }) => spans.length > 0)) {
      traces.push(trace);
      await request.store?.save(trace);
    }
    await request.pathDone?.(name, run);
  }
  await request.store?.prune();
  const results = operations.flatMap((operation) => runs.map((run): OperationResult => run.results.find((result) => result.operation === operation)!));
  const table = modelledTable(request.clock);
  return {
    comparison: {
      schema: 'ringside.compare/1', guest: request.guestName, clock: request.clock, results: addCycles(addNative(results), table),
      ...(request.sensitivity === true && table !== null ? { sensitivity: sensitivityOf(results, table) } : {}),
    }, runs, traces,
  };
}
