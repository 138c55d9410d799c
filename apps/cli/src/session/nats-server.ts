import { accessSync, constants } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { Failure } from '../failure.js';
import { Child } from './child.js';

const usualPlaces = ['/usr/sbin/nats-server', '/usr/local/sbin/nats-server', '/usr/local/bin/nats-server', '/nats-server'];

/** The program that `./ringside` found or installed (NATS_SERVER), else one on the PATH. */
export function findNatsServer(environment: Record<string, string | undefined>, stateDirectory: string): string {
  const named = environment['NATS_SERVER'];
  if (named) {
    if (executable(named)) return named;
    throw new Failure(`NATS_SERVER is ${named}, which is not a program: correct it or unset it.`);
  }
  const onPath = (environment['PATH'] ?? '').split(delimiter).filter((directory) => directory !== '').map((directory) => join(directory, 'nats-server'));
  const found = [...onPath, ...usualPlaces, join(stateDirectory, 'bin/nats-server')].find(executable);
  if (found !== undefined) return found;
  throw new Failure('No nats-server was found: run this through ./ringside, which installs one, put nats-server on the PATH, or set NATS_URL to a running server.');
}

function executable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export interface NatsServerOptions {
  program: string;
  /** -1: the server chooses. */
  port: number;
  logFile: string;
  /** A directory that exists; the server writes the port it chose there. */
  workDirectory: string;
  environment: Record<string, string | undefined>;
  detached: boolean;
}

/** Starts a NATS server on the loopback interface and waits until it has written down its port. */
export async function startNatsServer(options: NatsServerOptions): Promise<{ url: string; child: Child }> {
  const portsDirectory = await mkdtemp(join(options.workDirectory, 'nats-ports-'));
  try {
    const child = await Child.start({
      command: options.program, args: ['-a', '127.0.0.1', '-p', String(options.port), '--ports_file_dir', portsDirectory],
      environment: options.environment, logFile: options.logFile, detached: options.detached,
    });
    const deadline = Date.now() + 10_000;
    for (;;) {
      const file = (await readdir(portsDirectory)).find((name) => name.endsWith('.ports'));
      const url = file === undefined ? undefined : firstUrl(await readFile(join(portsDirectory, file), 'utf8'));
      if (url !== undefined) return { url, child };
      if (child.exited !== null || Date.now() > deadline) {
        await child.stop();
        throw new Failure(`nats-server (${options.program}) did not start. It said:\n${child.lastWords()}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  } finally {
    await rm(portsDirectory, { recursive: true, force: true });
  }
}

/** The file appears before its text is complete. */
function firstUrl(text: string): string | undefined {
  try {
    return (JSON.parse(text) as { nats?: string[] }).nats?.[0];
  } catch {
    return undefined;
  }
}
