import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { OtlpSink, type ReceivedSpan } from '@ringside/telemetry/testing';
import type { VmRecord } from '@ringside/protocol';
import { until, User } from './ringside.js';

let sink: OtlpSink;
let user: User;
/** The span names of each trace by the operation its root stands for. */
const traces = new Map<string, ReceivedSpan[]>();

beforeAll(async () => {
  sink = await OtlpSink.start();
  user = await User.arrives({ OTEL_EXPORTER_OTLP_ENDPOINT: sink.endpoint });
  await user.must(['up']);
  await user.must(['vm', 'create', '--name', 'traced', '--clock', 'virtual', '--start']);
  const show = (): Promise<VmRecord> => user.json<VmRecord>(['vm', 'show', 'traced']);
  await until(show, ({ state }) => state === 'halted');
  await user.must(['vm', 'console', 'traced'], 'bench in 2\nbench print 1\nhalt\n');
  await until(show, ({ state }) => state === 'shutdown');
  // Told to stop, the services deliver what they have.
  await user.must(['down']);
  for (const root of sink.spans.filter(({ parentSpanId }) => parentSpanId === null)) {
    traces.set(root.name, sink.spans.filter(({ traceId }) => traceId === root.traceId));
  }
});
afterAll(async () => {
  await user.leaves();
  await sink.close();
});

const children = (trace: ReceivedSpan[], parent: ReceivedSpan): ReceivedSpan[] => trace.filter(({ parentSpanId }) => parentSpanId === parent.spanId);
/** OTLP's span kinds. */
const [INTERNAL, SERVER, CLIENT] = [1, 2, 3];

describe('traces over OTLP', () => {
  test('one for each guest operation, at most 2,000 spans, every parent in it', () => {
    for (const operation of ['boot', 'in', 'print']) expect(traces.has(operation)).toBe(true);
    for (const spans of traces.values()) {
      expect(spans.length).toBeLessThanOrEqual(2_000);
      const ids = new Set(spans.map(({ spanId }) => spanId));
      expect(spans.filter(({ parentSpanId }) => parentSpanId !== null && !ids.has(parentSpanId))).toEqual([]);
      expect(spans.filter(({ parentSpanId }) => parentSpanId === null)).toHaveLength(1);
    }
  });

  test('IN from port 0x80: guest-cpu asks ring -1, ring -1 asks the device model, the port answers', () => {
    const trace = traces.get('in')!;
    const root = trace.find(({ parentSpanId }) => parentSpanId === null)!;
    expect(root).toMatchObject({ service: 'guest-cpu', kind: INTERNAL, attributes: { 'ringside.vm.id': 'traced', 'ringside.path': 'hardware-assisted', 'ringside.operation': 'in', 'ringside.repetitions': 2 } });
    const exits = children(trace, root);
    expect(exits).toHaveLength(2);
    for (const exit of exits) {
      expect(exit).toMatchObject({ service: 'guest-cpu', kind: CLIENT, name: 'io-instruction', attributes: { 'ringside.exit.reason': 'io-instruction', 'ringside.ring.from': 0, 'ringside.ring.to': -1, 'messaging.system': 'nats' } });
      expect(exit.attributes['ringside.guest.eip']).toMatch(/^0x[0-9a-f]+$/);
      // SDM Vol. 3C, table 28-5: port 0x80 in bits 31–16, direction IN in bit 3, size 1.
      expect(Number(exit.attributes['ringside.exit.qualification']) >>> 16).toBe(0x80);
      const [handled] = children(trace, exit);
      expect(handled).toMatchObject({ service: 'hypervisor', kind: SERVER, name: 'io-instruction' });
      const [asked] = children(trace, handled!);
      expect(asked).toMatchObject({ service: 'hypervisor', kind: CLIENT, name: 'port read', attributes: { 'messaging.destination.template': 'ringside.vm.{id}.io.port' } });
      const [cycle] = children(trace, asked!);
      expect(cycle).toMatchObject({ service: 'device-model', kind: SERVER, name: 'port' });
      const [access] = children(trace, cycle!);
      expect(access).toMatchObject({ service: 'device-model', kind: INTERNAL, attributes: { 'ringside.address': '0x80' } });
      expect(access!.attributes['ringside.device.label']).toBeDefined();
    }
  });

  test('a span lies within its parent, as far as clocks of one machine say', () => {
    const trace = traces.get('in')!;
    const byId = new Map(trace.map((span) => [span.spanId, span]));
    // The clocks of two processes, read through different origins, agree to a few milliseconds.
    const slack = 5_000_000n;
    for (const span of trace) {
      expect(span.endNs).toBeGreaterThanOrEqual(span.startNs);
      const parent = span.parentSpanId === null ? undefined : byId.get(span.parentSpanId);
      if (parent !== undefined) expect(span.startNs + slack).toBeGreaterThanOrEqual(parent.startNs);
    }
  });

  test('metrics were exported too', () => {
    expect(sink.metricRequests).toBeGreaterThan(0);
  });
});
