import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A real nats-server for a test or a session: own process on a free port, or the one that NATS_URL names. */
export interface NatsServerProcess {
  url: string;
  /** Ends the process and removes its files; a server that was there before is left alone. */
  stop(): Promise<void>;
}

/**
 * @param binary program to run; `NATS_SERVER` overrides it
 * @param port -1 for a free one
 * @throws Error in one sentence when it cannot be started
 */
export async function startNatsServer(binary = process.env['NATS_SERVER'] ?? 'nats-server', port = -1): Promise<NatsServerProcess> {
  const existing = process.env['NATS_URL'];
  if (existing !== undefined && existing !== '') return { url: existing, stop: () => Promise.resolve() };
  const folder = await mkdtemp(join(tmpdir(), 'ringside-nats-'));
  const server = spawn(binary, ['-a', '127.0.0.1', '-p', String(port), '--ports_file_dir', folder], { stdio: 'ignore' });
  const failed = new Promise<never>((_, reject) => {
    server.once('error', (error) => reject(new Error(`cannot start ${binary}: ${error.message}`)));
    server.once('exit', (code) => reject(new Error(`${binary} ended at once with code ${code}`)));
  });
  failed.catch(() => undefined);
  const stop = async (): Promise<void> => {
    await ended(server);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    return { url: await Promise.race([portsFile(folder), failed]), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function ended(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null || server.pid === undefined) return;
  const gone = new Promise((resolve) => server.once('exit', resolve));
  server.kill('SIGTERM');
  await gone;
}

/** The server writes where it listens once it does. */
async function portsFile(folder: string): Promise<string> {
  for (let tries = 0; tries < 500; tries++) {
    const [file] = await readdir(folder);
    if (file !== undefined) {
      const content = await readFile(join(folder, file), 'utf8');
      // It may have been created and not yet written.
      if (content.trim().endsWith('}')) return ((JSON.parse(content) as { nats: string[] }).nats)[0] as string;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error('nats-server has not said where it listens within 10 s');
}
