import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Context } from '../context.js';
import type { Child } from './child.js';
import { findNatsServer, startNatsServer } from './nats-server.js';
import { freePort, requireFreePort } from './ports.js';
import { SERVICES, startService, waitUntilReady, type ServiceName } from './service.js';
import type { RunningProcess } from './state-file.js';

export interface SessionOptions {
  /** Port of the NATS server; a free one without it. */
  natsPort?: number;
  /** A server that runs already; without it NATS_URL, else one is started. */
  natsUrl?: string;
  /** Only these. */
  services?: readonly ServiceName[];
  /** Where logs go; a temporary directory, removed at the end, without it. */
  logDirectory?: string;
  /** Processes outlive this one (`up`). */
  detached?: boolean;
  /** For the services only, such as where spans go. */
  environment?: Record<string, string>;
}

/** A NATS server (unless NATS_URL names one) and the services, started here on free ports and stopped together. */
export class Session {
  private constructor(
    readonly natsUrl: string,
    private readonly nats: Child | null,
    private readonly services: Map<ServiceName, { child: Child; port: number }>,
    private readonly temporary: string | null,
  ) {}

  static async start(context: Context, options: SessionOptions = {}): Promise<Session> {
    const temporary = options.logDirectory === undefined ? await mkdtemp(join(tmpdir(), 'ringside-')) : null;
    const logDirectory = options.logDirectory ?? temporary!;
    const detached = options.detached ?? false;
    const environment = { ...context.environment, ...options.environment };
    const services = new Map<ServiceName, { child: Child; port: number }>();
    let nats: Child | null = null;
    try {
      await mkdir(logDirectory, { recursive: true });
      let natsUrl = options.natsUrl ?? context.environment['NATS_URL'];
      if (!natsUrl) {
        const program = findNatsServer(context.environment, context.stateDirectory);
        const port = options.natsPort === undefined ? -1 : await requireFreePort(options.natsPort, 'NATS');
        const started = await startNatsServer({ program, port, logFile: join(logDirectory, 'nats-server.log'), workDirectory: tmpdir(), environment, detached });
        ({ url: natsUrl, child: nats } = started);
      }
      for (const name of options.services ?? SERVICES) {
        const port = await freePort();
        const child = await startService({ name, appsDirectory: context.appsDirectory, natsUrl, port, logFile: join(logDirectory, `${name}.log`), environment, detached });
        services.set(name, { child, port });
      }
      for (const [name, { child, port }] of services) await waitUntilReady(name, child, port);
      return new Session(natsUrl, nats, services, temporary);
    } catch (error) {
      await new Session('', nats, services, temporary).stop();
      throw error;
    }
  }

  /** For the state file of `up`. */
  get processes(): RunningProcess[] {
    const rows: RunningProcess[] = this.nats === null ? [] : [{ name: 'nats-server', pid: this.nats.pid, port: Number(new URL(this.natsUrl).port), logFile: this.nats.logFile }];
    for (const [name, { child, port }] of this.services) rows.push({ name, pid: child.pid, port, logFile: child.logFile });
    return rows;
  }

  service(name: ServiceName): Child {
    return this.services.get(name)!.child;
  }

  /** Guests first, then who serves them, the bus last. */
  async stop(): Promise<void> {
    for (const name of [...SERVICES].reverse()) await this.services.get(name)?.child.stop();
    await this.nats?.stop();
    if (this.temporary !== null) await rm(this.temporary, { recursive: true, force: true });
  }
}
