import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createInbox, type NatsConnection } from '@nats-io/transport-node';
import { connectNats, instanceName, NatsClient, NatsWire } from '@ringside/nats-transport';
import { CONTROL_VERBS, encodeTranslationRequest, SERVICES_SUBJECT, TRANSLATE_SUBJECT, type ServiceStatus, type VmRecord, type VmStatistics } from '@ringside/protocol';
import type { TranslationRequest } from '@ringside/translation';
import type { RunningState } from '../src/session/state-file.js';
import { alive, until, User } from './ringside.js';

const ROUNDS = 60;
let user: User;
let state: RunningState;
let bus: NatsConnection;

beforeAll(async () => {
  user = await User.arrives();
  state = await user.json<RunningState>(['up']);
  bus = await connectNats(state.natsUrl, instanceName('vandal'));
});
afterAll(async () => {
  await bus?.close();
  await user.leaves();
});

/** mulberry32, so that a failure can be repeated. */
let seed = 20_261_122;
function random(below: number): number {
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4_294_967_296) * below);
}
const noise = (length: number): Uint8Array => Uint8Array.from({ length }, () => random(256));

/** For a translator: right in every field up to where it is cut off or goes on as noise. */
function translationFrame(): Uint8Array {
  if (random(3) === 0) return frame(1);
  const request: TranslationRequest = { bytes: noise(random(300)), eip: random(2 ** 32), pageOffset: random(4096), mode: random(40), layout: random(3) };
  const bytes = Buffer.from(encodeTranslationRequest(request, { vmId: 'target', epoch: 1, seq: random(50) }, null));
  if (random(2) === 0) return bytes;
  const at = 3 + random(bytes.length - 3);
  return Buffer.concat([bytes.subarray(0, at), noise(random(40))]);
}

/** A header that is right in every field, with a body that is not; or nothing that is right at all. */
function frame(epoch: number): Uint8Array {
  if (random(4) === 0) return noise(random(200));
  const bytes = Buffer.concat([Buffer.alloc(40), noise(random(120))]);
  bytes.set([0x52, 1, 1 + random(12), random(5)]);
  bytes.writeUInt32LE(random(3) === 0 ? random(2 ** 32) : epoch, 4);
  bytes.writeUInt32LE(random(2) === 0 ? random(2 ** 32) : random(1_000), 8);
  return bytes;
}

const JUNK: unknown[] = [null, 0, -1, '', 'x', [], {}, { vmId: null }, { vmId: '>' }, { vmId: 'target.exit' }, { spec: null }, { spec: { id: '../x' } }, { spec: { id: 'ok', path: 'native', script: 7 } }, { data: 5 },
  { offset: -1e99, maxBytes: 1e99 }, { sha256: 1, totalBytes: -5, offset: {}, data: [] }, { address: 'x', count: 1e9 }, { __proto__: { vmId: 'a' } }, { traceId: {}, from: -3 }];

describe('whatever arrives on the bus', () => {
  test('services refuse it by name, run on, and the guest never notices', async () => {
    await user.must(['vm', 'create', '--name', 'target', '--clock', 'virtual', '--start']);
    const show = (): Promise<VmRecord> => user.json<VmRecord>(['vm', 'show', 'target']);
    const { epoch } = await until(show, (record) => record.state === 'halted');
    const client = new NatsClient(new NatsWire(bus), instanceName('vandal'));
    const stats = (): Promise<VmStatistics> => client.control('vm.stats', { vmId: 'target' });
    const before = await stats();

    const inbox = createInbox();
    const codes = new Map<string, number>();
    bus.subscribe(inbox, { callback: (_error, message) => {
      const text = message.data[0] === 0x7b ? (JSON.parse(message.string()) as { error?: { code: string } }).error?.code ?? 'answered' : 'frame';
      codes.set(text, (codes.get(text) ?? 0) + 1);
    } });
    const last = ['exit.cpuid', 'exit.io-instruction', 'exit.none', 'io.port', 'io.mmio', 'io.time', 'io.input', 'cpu.read', 'cpu.effects', 'cpu.none', 'console.none'];
    const verbs = [...CONTROL_VERBS.filter((verb) => verb !== 'vm.list'), 'services', 'spans'];
    for (let round = 0; round < ROUNDS; round++) {
      for (const subject of last) bus.publish(`ringside.vm.target.${subject}`, frame(epoch), { reply: inbox });
      for (let n = 0; n < 4; n++) bus.publish(TRANSLATE_SUBJECT, translationFrame(), { reply: inbox });
      const junk = JUNK[random(JUNK.length)];
      for (const verb of verbs) bus.publish(`ringside.ctl.${verb}`, random(5) === 0 ? noise(30) : JSON.stringify({ id: `v-${round}-${verb}`, data: junk }), { reply: inbox });
      for (const verb of ['console.fetch', 'cpu.registers', 'cpu.disassemble', 'cpu.stats']) bus.publish(`ringside.vm.target.${verb}`, JSON.stringify({ id: `w-${round}-${verb}`, data: junk }), { reply: inbox });
      await bus.flush();
    }
    await until(() => Promise.resolve(codes.get('invalid') ?? 0), (count) => count > 0);
    expect(codes.get('frame')).toBeGreaterThan(0);

    expect(state.processes.filter(({ pid }) => !alive(pid))).toEqual([]);
    const services = await client.broadcast<ServiceStatus>(SERVICES_SUBJECT, {}, 600);
    expect(services.map(({ service }) => service).sort()).toEqual(['device-model', 'guest-cpu', 'hypervisor', 'translator']);
    expect(services.find(({ service }) => service === 'translator')!.counters).toMatchObject({ translations: expect.any(Number), badFrames: expect.any(Number) });
    expect(services.reduce((sum, { counters }) => sum + counters['badFrames']!, 0)).toBeGreaterThan(100);
    const { retired, virtualNs, exits, state: stands } = await stats();
    expect({ retired, virtualNs, exits, stands }).toEqual({ retired: before.retired, virtualNs: before.virtualNs, exits: before.exits, stands: 'halted' });
    expect(await user.must(['vm', 'console', 'target'], 'echo still here\n')).toContain('still here');
    // Translators serve on.
    await user.must(['vm', 'create', '--name', 'translated', '--path', 'binary-translation', '--clock', 'virtual', '--start']);
    await until(() => user.json<VmRecord>(['vm', 'show', 'translated']), (record) => record.state === 'halted');
    client.close();
  });
});
