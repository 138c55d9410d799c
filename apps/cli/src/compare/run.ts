import type { ClockKind, MachineState, OperationName, OperationRecord, ScriptStep } from '@ringside/machine';
import type { VmRecord, VmStatistics } from '@ringside/protocol';
import { randomBytes } from 'node:crypto';
import { Failure } from '../failure.js';
import type { ControlClient } from '../session/control-client.js';
import { vmSpec, type SpecChoices } from '../session/vm-spec.js';
import { resultOf, unsupported, type OperationResult, type Setting } from './result.js';

/** What a guest with a shell is told: at each prompt the next line. Null for a guest that marks operations by itself. */
export interface Shell { prompt: string; command: (operation: OperationName, repetitions: number) => string; halt: string }

export interface RunRequest {
  choices: Omit<SpecChoices, 'id' | 'script'> & { clock: ClockKind };
  operations: readonly OperationName[];
  repetitions: number;
  shell: Shell | null;
  timeoutMs: number;
  /** Asked for while the VM still exists, such as its document or its console. */
  before?: (vmId: string) => Promise<void>;
  progress: (text: string) => void;
}

export interface PathRun { setting: Setting; record: VmRecord; statistics: VmStatistics; results: OperationResult[] }

const ENDED: readonly MachineState[] = ['shutdown', 'triple-fault', 'crashed', 'unsupported-mode', 'unreachable', 'translation-refused', 'stopped'];

/** Boots one VM, lets its shell do every operation, halts it, and reads what guest-cpu counted. The VM is deleted afterwards. */
export async function runPath(client: ControlClient, request: RunRequest): Promise<PathRun> {
  const { choices, operations, repetitions, shell } = request;
  const typed = operations.filter((operation) => operation !== 'boot');
  const spec = vmSpec({ ...choices, id: `compare-${choices.path}-${randomBytes(3).toString('hex')}`, script: shell === null ? [] : script(shell, typed, repetitions) });
  try {
    request.progress(`${choices.path}: booting`);
    await client.request('vm.create', { spec, start: true }, 60_000);
    const record = await waitForEnd(client, spec.id, request);
    await request.before?.(spec.id);
    const statistics = await client.request('vm.stats', { vmId: spec.id });
    const results = operations.map((operation) => {
      const found = lastComplete(statistics.operations, operation);
      return found === undefined ? unsupported(spec, operation, missing(record, shell)) : resultOf(spec, found, statistics.misled ?? null);
    });
    return { setting: spec, record, statistics, results };
  } finally {
    await client.request('vm.delete', { vmId: spec.id }).catch(() => undefined);
  }
}

export function script({ prompt, command, halt }: Shell, operations: readonly OperationName[], repetitions: number): ScriptStep[] {
  return [...operations.map((operation) => command(operation, repetitions)), halt].map((line) => ({ expect: prompt, send: `${line}\n` }));
}

const lastComplete = (records: readonly OperationRecord[], operation: OperationName): OperationRecord | undefined =>
  records.filter((record) => record.operation === operation && record.complete).at(-1);

function missing({ state, why }: VmRecord, shell: Shell | null): string {
  if (state !== 'shutdown') return `the guest ended before: ${state}, ${why}`;
  return shell === null ? 'the guest never marked it' : 'the guest\'s shell did not run it';
}

/** @throws Failure when the guest waits for input that will not come, or takes too long */
export async function waitForEnd(client: ControlClient, vmId: string, { timeoutMs, progress, choices, shell }: Pick<RunRequest, 'timeoutMs' | 'progress' | 'shell'> & { choices: { path: string } }): Promise<VmRecord> {
  const deadline = Date.now() + timeoutMs;
  for (let wait = 20; ; wait = Math.min(250, wait * 1.5)) {
    const record = await client.request('vm.show', { vmId });
    if (ENDED.includes(record.state)) return record;
    // A parked guest will do nothing more by itself: its script is used up, or never matched.
    if (record.state === 'halted' && shell === null) return record;
    if (record.state === 'halted' || Date.now() > deadline) {
      const tail = await lastLine(client, vmId);
      const what = record.state === 'halted' ? 'waits for input that its script does not have' : `has not ended after ${timeoutMs / 1000} s`;
      throw new Failure(`On ${choices.path} the guest ${what}. Its console ends with: ${tail}`);
    }
    progress(`${choices.path}: ${await lastLine(client, vmId)}`);
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

async function lastLine(client: ControlClient, vmId: string): Promise<string> {
  const { bytes } = await client.fetchConsole(vmId, { maxBytes: 200 }).catch(() => ({ bytes: new Uint8Array(0) }));
  return Buffer.from(bytes).toString('latin1').split(/[\r\n]+/).filter((line) => line.trim() !== '').at(-1)?.replace(/[^\x20-\x7e]/g, '') ?? '(nothing yet)';
}
