import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from '../failure.js';
import { Child } from './child.js';

export const SERVICES = ['device-model', 'hypervisor', 'translator', 'guest-cpu'] as const;
export type ServiceName = (typeof SERVICES)[number];

export interface ServiceOptions {
  name: ServiceName;
  appsDirectory: string;
  natsUrl: string;
  /** Of its HTTP health endpoints. */
  port: number;
  logFile: string;
  environment: Record<string, string | undefined>;
  detached: boolean;
}

export async function startService(options: ServiceOptions): Promise<Child> {
  const bundle = join(options.appsDirectory, `${options.name}.mjs`);
  if (!existsSync(bundle)) throw new Failure(`${bundle} does not exist: build first (npm run build, or run this through ./ringside).`);
  return Child.start({
    command: process.execPath, args: [bundle],
    environment: { ...options.environment, NATS_URL: options.natsUrl, HOST: '127.0.0.1', PORT: String(options.port) },
    logFile: options.logFile, detached: options.detached,
  });
}

/** Resolves when the service answers its readiness probe; fails with its last words when it ends before. */
export async function waitUntilReady(name: ServiceName, child: Child, port: number, timeoutMs = 30_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    if (child.exited !== null) throw new Failure(`${name} ended with code ${child.exited.code ?? child.exited.signal} while starting. It said:\n${child.lastWords()}`);
    if (await isReady(port)) return;
    if (Date.now() > deadline) throw new Failure(`${name} did not become ready within ${timeoutMs / 1000} s; its log is ${child.logFile}.`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export async function isReady(port: number): Promise<boolean> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/healthz/ready`, { signal: AbortSignal.timeout(2_000) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}
