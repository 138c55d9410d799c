import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { MessagePattern, type MicroserviceOptions } from '@nestjs/microservices';
import type { NatsConnection } from '@nats-io/transport-node';
import { UnreachableError, type BusRequest } from '@ringside/machine';
import { Hop, consoleSubject, decodeAcknowledge, decodeBusReply, decodeBusRequest, decodeTranslationRequest, encodeAcknowledge, encodeBusReply, encodeBusRequest, encodeMemoryRead, encodeTranslationRequest, ioSubject, TRANSLATE_SUBJECT } from '@ringside/protocol';
import { connectNats, ControlFailure, FaultyWire, Frames, FramesModule, instanceName, NatsClient, NatsServer, NatsWire, PassThroughFilter, type FaultCounts, type FrameContext, type ResendPolicy, type Wire } from './index.js';
import { startNatsServer, type NatsServerProcess } from './testing/nats-server-process.js';

const QUICK: ResendPolicy = { firstWaitMs: 2, maxWaitMs: 20, timeoutMs: 60, minResends: 8 };
/** As patient as a service is. */
const PATIENT: ResendPolicy = { firstWaitMs: 4, maxWaitMs: 100, timeoutMs: 5_000, minResends: 8 };

/** A register that counts: each write adds, the reply says the sum. Anything done twice shows in it. */
@Controller()
class CounterController {
  static sums = new Map<string, number>();

  @Frames('ringside.vm.{id}.io.*')
  async cycle(frame: Uint8Array, context: FrameContext): Promise<Uint8Array> {
    const request = decodeBusRequest(frame, context.vmId);
    if (request.address === 0xdead) throw new Error('the device is on fire');
    // The reply takes a turn of the event loop, so that copies of the request meet it running.
    await new Promise((resolve) => setImmediate(resolve));
    const sum = (CounterController.sums.get(request.vmId) ?? 0) + request.data[0]!;
    CounterController.sums.set(request.vmId, sum);
    return encodeBusReply({ data: Buffer.from(String(sum)), lines: 0, rose: 0, deadline: Infinity, effects: [] }, context.header);
  }

  @Frames('ringside.translate', { queue: 'ringside.translate' })
  shared(frame: Uint8Array, context: FrameContext): Uint8Array {
    const { bytes } = decodeTranslationRequest(frame);
    if (bytes.length === 0) throw new Error('nothing to translate');
    CounterController.sums.set(context.vmId, (CounterController.sums.get(context.vmId) ?? 0) + 1);
    return encodeAcknowledge(context.header);
  }

  @MessagePattern('ringside.vm.{id}.console.in')
  input(data: { data: string }): { acceptedBytes: number } {
    CounterController.sums.set(data.data, (CounterController.sums.get(data.data) ?? 0) + 1);
    return { acceptedBytes: data.data.length };
  }

  @MessagePattern('ringside.ctl.vm.show')
  show(data: { vmId: string }): unknown {
    if (data.vmId === 'gone') throw new ControlFailure('not-found', 'there is no VM gone');
    if (data.vmId === 'far') throw new UnreachableError('guest-cpu: no answer');
    if (data.vmId === 'bug') throw new TypeError('a fault of ours');
    return { spec: data.vmId };
  }
}

@Module({})
class CounterModule {}

interface Service { server: NatsServer; wire: Wire; close(): Promise<void> }

async function serve(connection: NatsConnection, wire: Wire): Promise<Service> {
  const server = new NatsServer({ wire, queue: 'counter' });
  const app = await NestFactory.createMicroservice<MicroserviceOptions>({ module: CounterModule, imports: [FramesModule.for(server)], controllers: [CounterController] }, { strategy: server, logger: false });
  app.useGlobalFilters(new PassThroughFilter());
  await app.listen();
  await connection.flush();
  return { server, wire, close: () => app.close() };
}

const write = (vmId: string, seq: number, value: number, epoch = 1, address = 0x80): BusRequest =>
  ({ vmId, epoch, seq, ordinal: 0, bus: 'port', now: seq, address, size: 1, write: true, count: 1, data: Uint8Array.of(value), interruptible: false });

describe('the transport over a real nats-server', () => {
  let nats: NatsServerProcess;
  let near: NatsConnection;
  let far: NatsConnection;
  let service: Service;
  let client: NatsClient;

  beforeAll(async () => {
    nats = await startNatsServer();
    near = await connectNats(nats.url, instanceName('near'));
    far = await connectNats(nats.url, instanceName('far'));
    service = await serve(far, new NatsWire(far));
    client = new NatsClient(new NatsWire(near), instanceName('client'), PATIENT, PATIENT);
  });
  afterAll(async () => {
    client?.close();
    await service?.close();
    await near?.close();
    await far?.close();
    await nats?.stop();
  });

  const send = async (via: NatsClient, request: BusRequest): Promise<string> =>
    Buffer.from(decodeBusReply(await via.call(ioSubject(request.vmId, 'port'), encodeBusRequest(request, Hop.GuestCpu, null))).data).toString();

  it('carries a claimed VM\'s frames to its handler, and nobody else\'s', async () => {
    service.server.claim('mine', 1);
    await far.flush();
    expect(await send(client, write('mine', 1, 5))).toBe('5');
    expect(await send(client, write('mine', 2, 3))).toBe('8');
    const quick = new NatsClient(new NatsWire(near), instanceName('quick'), QUICK, QUICK);
    await expect(send(quick, write('other', 1, 5))).rejects.toMatchObject({ name: 'UnreachableError', message: expect.stringContaining('nobody listens') });
    service.server.release('mine');
    await far.flush();
    await expect(send(quick, write('mine', 3, 1))).rejects.toMatchObject({ name: 'UnreachableError' });
    expect(CounterController.sums.get('mine')).toBe(8);
    quick.close();
  });

  it('refuses frames where JSON belongs, and JSON where frames do', async () => {
    service.server.claim('mixed', 1);
    await far.flush();
    const frame = encodeBusRequest(write('mixed', 1, 1), Hop.GuestCpu, null);
    await expect(client.call(consoleSubject('mixed', 'in'), frame)).rejects.toMatchObject({ code: 'bad-frame', message: expect.stringContaining('takes no frames') });
    const reply = await client.call(ioSubject('mixed', 'port'), Buffer.from('{"id":"x","data":{}}'));
    expect(JSON.parse(Buffer.from(reply).toString())).toMatchObject({ error: { code: 'invalid', message: 'ringside.vm.mixed.io.port takes no JSON' } });
    expect(CounterController.sums.has('mixed')).toBe(false);
  });

  it('answers a repeated request from memory and refuses an old epoch', async () => {
    service.server.claim('again', 3);
    await far.flush();
    expect(await send(client, write('again', 1, 1, 3))).toBe('1');
    expect(await send(client, write('again', 1, 1, 3))).toBe('1');
    await expect(send(client, write('again', 9, 1, 2))).rejects.toMatchObject({ name: 'RefusedError', code: 'stale-epoch' });
    await expect(send(client, write('again', 1, 1, 4))).rejects.toMatchObject({ code: 'unknown-vm' });
    service.server.claim('again', 4);
    await far.flush();
    expect(await send(client, write('again', 1, 1, 4))).toBe('2');
    expect(CounterController.sums.get('again')).toBe(2);
  });

  it('names what a handler threw, and what could not be decoded', async () => {
    service.server.claim('fire', 1);
    await far.flush();
    const before = service.server.counts.badFrames;
    await expect(send(client, write('fire', 1, 1, 1, 0xdead))).rejects.toMatchObject({ code: 'failed', message: expect.stringContaining('the device is on fire') });
    await expect(client.call(ioSubject('fire', 'port'), Uint8Array.of(1, 2, 3))).rejects.toMatchObject({ code: 'bad-frame' });
    const wrongKind = encodeMemoryRead({ space: 'guest', address: 0, length: 1 }, { hop: Hop.GuestCpu, epoch: 1, seq: 2, ordinal: 0 }, null);
    await expect(client.call(ioSubject('fire', 'port'), wrongKind)).rejects.toMatchObject({ code: 'bad-frame' });
    expect(service.server.counts.badFrames).toBe(before + 2);
    // Neither of them counts as the request it claimed to be.
    await expect(send(client, write('fire', 2, 1, 1, 0xdead))).rejects.toMatchObject({ code: 'failed' });
  });

  it('shares the frames of a subject that all VMs have out in its queue group, without a claim', async () => {
    const second = await serve(far, new NatsWire(far));
    const ask = (vmId: string, seq: number, bytes: Uint8Array): Promise<Uint8Array> =>
      client.call(TRANSLATE_SUBJECT, encodeTranslationRequest({ bytes, eip: 0, pageOffset: 0, mode: 3, layout: 1 }, { vmId, epoch: 9, seq }, null));
    for (let seq = 1; seq <= 20; seq++) decodeAcknowledge(await ask(`shared-${seq % 2}`, seq, Uint8Array.of(0x90)));
    // One of the two got each; on a busy machine the other got one again, sent once more before the answer came.
    const again = client.mux.counts.resends;
    const [even, odd] = [CounterController.sums.get('shared-0')!, CounterController.sums.get('shared-1')!];
    expect(even).toBeGreaterThanOrEqual(10);
    expect(odd).toBeGreaterThanOrEqual(10);
    expect(even + odd).toBeLessThanOrEqual(20 + again);
    await expect(ask('shared-0', 21, new Uint8Array(0))).rejects.toMatchObject({ code: 'failed', message: expect.stringContaining('nothing to translate') });
    await expect(ask('No Name', 22, Uint8Array.of(0x90))).rejects.toMatchObject({ code: 'bad-frame' });
    await expect(client.call(TRANSLATE_SUBJECT, Uint8Array.of(1, 2))).rejects.toMatchObject({ code: 'bad-frame' });
    await expect(client.call(TRANSLATE_SUBJECT, encodeMemoryRead({ space: 'guest', address: 0, length: 1 }, { hop: Hop.GuestCpu, epoch: 1, seq: 2, ordinal: 0 }, null))).rejects.toMatchObject({ code: 'bad-frame' });
    await second.close();
  });

  it('carries the control plane as JSON, with errors by code', async () => {
    expect(await client.control('vm.show', { vmId: 'a' })).toEqual({ spec: 'a' });
    await expect(client.control('vm.show', { vmId: 'gone' })).rejects.toMatchObject({ code: 'not-found', message: 'there is no VM gone' });
    await expect(client.control('vm.show', { vmId: 'far' })).rejects.toMatchObject({ code: 'unreachable' });
    await expect(client.control('vm.show', { vmId: 'bug' })).rejects.toMatchObject({ code: 'failed', message: 'a fault of ours' });
  });

  it.each([1, 2, 3])('takes every request once over a bad network, seed %i', async (seed) => {
    const vmId = `storm-${seed}`;
    const badNear = new FaultyWire(new NatsWire(near), 20, seed);
    const badFar = new FaultyWire(new NatsWire(far), 20, seed + 100);
    const stormy = await serve(far, badFar);
    stormy.server.claim(vmId, 1);
    await far.flush();
    const sender = new NatsClient(badNear, instanceName('storm'), PATIENT, PATIENT);
    let expected = 0;
    for (let seq = 1; seq <= 150; seq++) {
      expected += seq % 7;
      expect(await send(sender, write(vmId, seq, seq % 7))).toBe(String(expected));
    }
    for (let i = 0; i < 30; i++) await sender.console(vmId, 'in', { data: `key-${seed}` });
    expect(CounterController.sums.get(`key-${seed}`)).toBe(30);
    const total = (kind: keyof FaultCounts): number => badNear.counts[kind] + badFar.counts[kind];
    for (const kind of ['dropped', 'duplicated', 'delayed', 'reordered'] as const) expect(total(kind)).toBeGreaterThan(0);
    expect(stormy.server.counts.repeated).toBeGreaterThan(0);
    sender.close();
    await stormy.close();
  });

  it('finishes what is under way before it closes', async () => {
    const closing = await serve(far, new NatsWire(far));
    closing.server.claim('closing', 1);
    await far.flush();
    const reply = send(client, write('closing', 1, 9));
    // The request has reached the far end (its pong follows it) when the service is told to close.
    await near.flush();
    await far.flush();
    await closing.close();
    expect(await reply).toBe('9');
  });
});

describe('a broker that goes away and comes back', () => {
  it('is found again: claims, control subjects and requests under way go on', async () => {
    const first = await startNatsServer();
    const port = Number(new URL(first.url.replace('nats:', 'http:')).port);
    const near = await connectNats(first.url, instanceName('near'));
    const far = await connectNats(first.url, instanceName('far'));
    const service = await serve(far, new NatsWire(far));
    const client = new NatsClient(new NatsWire(near), instanceName('client'), { ...PATIENT, timeoutMs: 20_000 }, PATIENT);
    service.server.claim('lasting', 1);
    await far.flush();
    const request = write('lasting', 1, 7);
    const send = async (): Promise<string> => Buffer.from(decodeBusReply(await client.call(ioSubject('lasting', 'port'), encodeBusRequest(request, Hop.GuestCpu, null))).data).toString();
    await first.stop();
    const reply = send();
    const second = await startNatsServer(undefined, port);
    expect(await reply).toBe('7');
    client.close();
    await service.close();
    await near.close();
    await far.close();
    await second.stop();
  });
});

describe('connectNats', () => {
  it('says in one sentence what to do when there is no server', async () => {
    await expect(connectNats('nats://127.0.0.1:1', 'nobody', 0)).rejects.toThrow(/^no nats-server at nats:\/\/127\.0\.0\.1:1 .*set NATS_URL/);
  });
});
