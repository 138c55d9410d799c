import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { repositoryRoot } from '../src/context.js';

export const cliBundle = join(repositoryRoot(), 'dist/apps/cli.mjs');

export interface Finished { code: number; out: string; err: string }

/** One user with a state directory of their own; what they start is theirs to stop. */
export class User {
  private constructor(readonly stateDirectory: string, private readonly environment: Record<string, string>) {}

  static async arrives(environment: Record<string, string> = {}): Promise<User> {
    return new User(await mkdtemp(join(tmpdir(), 'ringside-e2e-')), environment);
  }

  start(args: readonly string[], environment: Record<string, string> = {}): { process: ChildProcess; finished: Promise<Finished> } {
    const child = spawn(process.execPath, [cliBundle, ...args], {
      env: { PATH: `${process.env['PATH']}:/usr/sbin`, HOME: process.env['HOME'], ...(process.env['NATS_SERVER'] ? { NATS_SERVER: process.env['NATS_SERVER'] } : {}), RINGSIDE_STATE: this.stateDirectory, COLUMNS: '200', ...this.environment, ...environment },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let [out, err] = ['', ''];
    child.stdout.on('data', (chunk) => { out += chunk; });
    child.stderr.on('data', (chunk) => { err += chunk; });
    const finished = new Promise<Finished>((resolve) => child.on('close', (code, signal) => resolve({ code: code ?? (signal === null ? 1 : 128), out, err })));
    return { process: child, finished };
  }

  async run(args: readonly string[], { input = '', environment = {} }: { input?: string; environment?: Record<string, string> } = {}): Promise<Finished> {
    const { process: child, finished } = this.start(args, environment);
    child.stdin!.end(input);
    return finished;
  }

  /** Runs a command that has to succeed, and gives back what it printed. */
  async must(args: readonly string[], input = ''): Promise<string> {
    const { code, out, err } = await this.run(args, { input });
    if (code !== 0) throw new Error(`ringside ${args.join(' ')}: exit code ${code}\n${err}${out}`);
    return out;
  }

  async json<Value>(args: readonly string[]): Promise<Value> {
    return JSON.parse(await this.must([...args, '--json'])) as Value;
  }

  async leaves(): Promise<void> {
    await this.run(['down']);
    await rm(this.stateDirectory, { recursive: true, force: true });
  }
}

/** Asks until the answer is good, less and less often: each question is messages too. Fails with the last answer. */
export async function until<Value>(ask: () => Promise<Value>, good: (value: Value) => boolean, timeoutMs = 60_000): Promise<Value> {
  const deadline = Date.now() + timeoutMs;
  for (let wait = 25; ; wait = Math.min(250, wait * 1.5)) {
    const value = await ask();
    if (good(value)) return value;
    if (Date.now() > deadline) throw new Error(`still not so after ${timeoutMs / 1000} s: ${JSON.stringify(value)}`);
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

export { isRunning as alive } from '../src/session/child.js';
