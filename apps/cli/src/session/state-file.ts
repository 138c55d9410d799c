import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isRunning } from './child.js';
import type { ServiceName } from './service.js';

export interface RunningProcess { name: ServiceName | 'nats-server'; pid: number; port: number | null; logFile: string }

/** What `up` started, as `.ringside/state.json` says it. */
export interface RunningState { natsUrl: string; startedAt: string; processes: RunningProcess[] }

const fileName = 'state.json';

export async function readState(stateDirectory: string): Promise<RunningState | null> {
  try {
    return JSON.parse(await readFile(join(stateDirectory, fileName), 'utf8')) as RunningState;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || error instanceof SyntaxError) return null;
    throw error;
  }
}

/** The pid files beside it are for people and scripts. */
export async function writeState(stateDirectory: string, state: RunningState): Promise<void> {
  await mkdir(join(stateDirectory, 'run'), { recursive: true });
  for (const { name, pid } of state.processes) await writeFile(join(stateDirectory, 'run', `${name}.pid`), `${pid}\n`);
  const path = join(stateDirectory, fileName);
  await writeFile(`${path}.new`, `${JSON.stringify(state, null, 2)}\n`);
  await rename(`${path}.new`, path);
}

export async function removeState(stateDirectory: string): Promise<void> {
  await rm(join(stateDirectory, fileName), { force: true });
  await rm(join(stateDirectory, 'run'), { recursive: true, force: true });
}

export function stillRunning(state: RunningState): RunningProcess[] {
  return state.processes.filter(({ pid }) => isRunning(pid));
}
