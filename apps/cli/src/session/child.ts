import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';

export interface ChildOptions {
  command: string;
  args: string[];
  environment: Record<string, string | undefined>;
  /** Standard output and error are appended here. */
  logFile: string;
  /** Outlives this process (`up`). */
  detached: boolean;
}

/** A process that was started here: its output in a log file, its end observed. */
export class Child {
  readonly pid: number;
  private ended: { code: number | null; signal: NodeJS.Signals | null } | null = null;
  private readonly end: Promise<void>;

  private constructor(private readonly process: ChildProcess, readonly logFile: string) {
    this.pid = process.pid!;
    this.end = new Promise((resolve) => process.once('exit', (code, signal) => {
      this.ended = { code, signal };
      resolve();
    }));
  }

  static async start(options: ChildOptions): Promise<Child> {
    const log = openSync(options.logFile, 'a');
    try {
      const process = spawn(options.command, options.args, {
        env: options.environment as NodeJS.ProcessEnv, stdio: ['ignore', log, log], detached: options.detached,
      });
      await new Promise<void>((resolve, reject) => {
        process.once('spawn', resolve);
        process.once('error', reject);
      });
      process.on('error', () => undefined);
      if (options.detached) process.unref();
      return new Child(process, options.logFile);
    } finally {
      closeSync(log);
    }
  }

  get exited(): { code: number | null; signal: NodeJS.Signals | null } | null {
    return this.ended;
  }

  /** The last lines of its log, for an error message. */
  lastWords(lines = 5): string {
    try {
      return readFileSync(this.logFile, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
    } catch {
      return '';
    }
  }

  kill(signal: NodeJS.Signals): void {
    if (this.ended === null) this.process.kill(signal);
  }

  /** SIGTERM, and SIGKILL for one that has not ended after `graceMs`. */
  async stop(graceMs = 8_000): Promise<void> {
    if (this.ended !== null) return;
    this.process.kill('SIGTERM');
    const timer = setTimeout(() => this.process.kill('SIGKILL'), graceMs);
    await this.end;
    clearTimeout(timer);
  }
}

export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !isZombie(pid);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Ended, but its new parent has not asked for its exit code yet: in a container without an init, nobody ever does. proc(5), field 3. */
function isZombie(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z');
  } catch {
    return false;
  }
}

/** Stops a process that an earlier command started, by its id. */
export async function stopProcess(pid: number, graceMs = 8_000): Promise<void> {
  const signal = (name: NodeJS.Signals): void => {
    try {
      process.kill(pid, name);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  };
  signal('SIGTERM');
  const deadline = Date.now() + graceMs;
  while (isRunning(pid)) {
    if (Date.now() > deadline) {
      signal('SIGKILL');
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
