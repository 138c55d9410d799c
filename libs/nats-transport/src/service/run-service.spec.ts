import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, Injectable } from '@nestjs/common';
import { MessagePattern } from '@nestjs/microservices';
import { SERVICES_SUBJECT, SPANS_SUBJECT, type ServiceStatus, type SpansReply } from '@ringside/protocol';
import { SpanKind } from '@ringside/telemetry';
import { connectNats, instanceName } from '../connect.js';
import { NatsClient } from '../nats-client.js';
import { startNatsServer, type NatsServerProcess } from '../testing/nats-server-process.js';
import { NatsWire } from '../wire.js';
import { readEnvironment } from './environment.js';
import { startService, type RunningService, type ServiceDefinition } from './run-service.js';
import { ServiceCounters } from './status.controller.js';

@Injectable()
class Counters extends ServiceCounters {
  stopped = false;
  vms(): string[] { return ['a']; }
  counters(): Record<string, number> { return { boards: 1 }; }
  async stop(): Promise<void> { this.stopped = true; }
}

@Controller()
class ListController {
  constructor(private readonly counters: Counters) {}
  @MessagePattern('ringside.ctl.vm.list')
  list(): unknown { return this.counters.vms(); }
}

const DEFINITION: ServiceDefinition = { service: 'device-model', controllers: [ListController], providers: [Counters], counters: Counters };

describe('a service', () => {
  let nats: NatsServerProcess;
  let running: RunningService;

  beforeAll(async () => {
    nats = await startNatsServer();
    running = await startService(DEFINITION, readEnvironment({ NATS_URL: nats.url, HOST: '127.0.0.1' }));
  });
  afterAll(async () => {
    await running?.stop();
    await nats?.stop();
  });

  it('is live and ready over HTTP, and says on the bus who and where it is', async () => {
    const base = `http://127.0.0.1:${running.runtime.port}/healthz`;
    expect((await fetch(`${base}/live`)).status).toBe(200);
    const ready = await fetch(`${base}/ready`);
    expect(ready.status).toBe(200);
    expect(await ready.json()).toMatchObject({ status: 'ok', info: { nats: { status: 'up' } } });
    const connection = await connectNats(nats.url, 'client');
    const client = new NatsClient(new NatsWire(connection), instanceName('client'));
    const [status] = await client.broadcast<ServiceStatus>(SERVICES_SUBJECT, {}, 200);
    expect(status).toMatchObject({ service: 'device-model', pid: process.pid, port: running.runtime.port, vms: ['a'], counters: { boards: 1 } });
    expect(await client.control('vm.list', {})).toEqual(['a']);
    const span = running.runtime.telemetry.span('one', SpanKind.INTERNAL, null, {});
    span.end();
    const [spans] = await client.broadcast<SpansReply>(SPANS_SUBJECT, { traceId: span.context.traceId, from: 0 }, 200);
    expect(spans).toMatchObject({ total: 1, spans: [{ name: 'one', service: 'device-model' }] });
    client.close();
    await connection.close();
  });

  it('is not ready, but live, without NATS', async () => {
    const own = await startNatsServer();
    const service = await startService(DEFINITION, readEnvironment({ NATS_URL: own.url, HOST: '127.0.0.1' }));
    const base = `http://127.0.0.1:${service.runtime.port}/healthz`;
    expect((await fetch(`${base}/ready`)).status).toBe(200);
    await own.stop();
    expect((await fetch(`${base}/ready`)).status).toBe(503);
    expect((await fetch(`${base}/live`)).status).toBe(200);
    await service.stop();
  });

  it('names a port that is taken and a broker that is not there', async () => {
    await expect(startService(DEFINITION, readEnvironment({ NATS_URL: nats.url, PORT: String(running.runtime.port), HOST: '127.0.0.1' }))).rejects.toThrow(/^port \d+ is in use/);
    expect(() => readEnvironment({ PORT: 'many' })).toThrow('PORT is "many"');
    expect(() => readEnvironment({ RINGSIDE_TEST_FAULTS: 'x' })).toThrow('RINGSIDE_TEST_FAULTS');
  });
});
