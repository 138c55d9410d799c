import { describe, expect, it } from '@jest/globals';
import { modelledCycles, PENTIUM_4, type OperationRecord } from '@ringside/machine';
import { FrameKind, Hop, type TraceContext } from '@ringside/protocol';
import { DispatchSpans, ExitMeter, MachineTracer, MAX_SPANS_PER_TRACE, NESTED_LIMIT, SpanKind, SpanStore, Telemetry, type Dispatched } from './index.js';
import { OtlpSink } from './testing/otlp-sink.js';

const record = (operation: OperationRecord['operation']): OperationRecord => ({
  operation, complete: true, repetitions: 3, retired: 100, executed: 100, virtualNs: 0, exits: {}, hypercalls: 0, messages: {},
  wall: { guestNs: 0, busNs: 0, handlersNs: 0, totalNs: 0, resends: 0, lapsNs: [] }, traceId: null, stateHash: null,
});
const telemetryOf = (endpoint?: string, warnings: string[] = []): Telemetry =>
  new Telemetry({ service: 'guest-cpu', instance: 'guest-cpu-1', endpoint, resourceAttributes: 'k8s.pod.name=p%201', warn: (message) => warnings.push(message) });
const VM = { id: 'vm1', path: 'hardware-assisted' };

describe('a trace', () => {
  it('arrives at a collector: one root for the operation, client and server under it, service by service', async () => {
    const sink = await OtlpSink.start();
    const processor = telemetryOf(sink.endpoint);
    const ringMinusOne = new Telemetry({ service: 'hypervisor', instance: 'h', endpoint: sink.endpoint, warn: () => undefined });
    const tracer = new MachineTracer(processor, VM, () => 0);
    const traceId = tracer.operationBegins(record('in'));
    const client = tracer.message('io-instruction', () => ({ 'ringside.exit.qualification': '0x800008' }))!;
    const hook = new DispatchSpans(ringMinusOne);
    const context: Dispatched = { vmId: 'vm1', group: 'exit', last: 'io-instruction', header: { kind: FrameKind.Exit, hop: Hop.GuestCpu, epoch: 1, seq: 9, ordinal: 0, trace: client.context }, trace: null };
    const server = hook.begin(context);
    expect(context.trace).toEqual(server.context);
    hook.end(server, new TypeError('no such port'));
    client.end();
    tracer.operationEnds(record('in'));
    await Promise.all([processor.shutdown(), ringMinusOne.shutdown()]);
    expect(new Set(sink.spans.map((span) => span.traceId))).toEqual(new Set([traceId]));
    const by = (name: string, service: string): (typeof sink.spans)[number] => sink.spans.find((span) => span.name === name && span.service === service)!;
    const root = by('in', 'guest-cpu');
    expect(root).toMatchObject({ parentSpanId: null, attributes: { 'ringside.operation': 'in', 'ringside.repetitions': 3, 'ringside.messages.traced': 1, 'ringside.messages.untraced': 0 } });
    // OTLP's kinds: 2 server, 3 client.
    expect(by('io-instruction', 'guest-cpu')).toMatchObject({ parentSpanId: root.spanId, kind: 3, attributes: { 'ringside.vm.id': 'vm1', 'ringside.path': 'hardware-assisted', 'ringside.exit.qualification': '0x800008' } });
    expect(by('io-instruction', 'hypervisor')).toMatchObject({
      parentSpanId: by('io-instruction', 'guest-cpu').spanId, kind: 2,
      attributes: { 'messaging.system': 'nats', 'messaging.destination.name': 'ringside.vm.vm1.exit.io-instruction', 'messaging.destination.template': 'ringside.vm.{id}.exit.io-instruction', 'ringside.seq': 9, 'error.type': 'TypeError' },
    });
    expect(processor.counts).toEqual({ ended: 2, delivered: 2, undelivered: 0, dropped: 0 });
    await sink.close();
  });

  it('says cycles on its root under a modelled clock, and under no other', () => {
    const processor = telemetryOf();
    const cyclesUnder = (clock: 'virtual' | 'modelled:pentium4'): unknown => {
      const tracer = new MachineTracer(processor, { ...VM, clock }, () => 0);
      const traceId = tracer.operationBegins(record('in'));
      tracer.operationEnds({ ...record('in'), primitives: { 'port-cycle': 2, 'instruction': 3 } });
      return processor.store.trace(traceId)[0]!.attributes['ringside.cycles'];
    };
    expect([cyclesUnder('virtual'), cyclesUnder('modelled:pentium4')]).toEqual([undefined, modelledCycles(PENTIUM_4, { 'port-cycle': 2, 'instruction': 3 })]);
  });

  it('has a span for a translation miss, with the message to a translator under it', () => {
    const processor = telemetryOf();
    const translator = new Telemetry({ service: 'translator', instance: 't', warn: () => undefined });
    const tracer = new MachineTracer(processor, { id: 'vm1', path: 'binary-translation' }, () => 0);
    const traceId = tracer.operationBegins(record('boot'));
    const spans = tracer.miss('translate', () => ({ 'ringside.guest.eip': '0x100000' }), { 'ringside.seq': 4 })!;
    const context: Dispatched = { vmId: 'vm1', group: null, last: 'translate', header: { kind: FrameKind.TranslationRequest, hop: Hop.GuestCpu, epoch: 1, seq: 4, ordinal: 0, trace: spans.message.context }, trace: null };
    new DispatchSpans(translator).end(new DispatchSpans(translator).begin(context), null);
    spans.message.end();
    spans.whole.set({ 'ringside.unit.at': '0x83000' });
    spans.whole.end();
    tracer.operationEnds(record('boot'));
    const [root] = processor.store.trace(traceId).filter(({ parentSpanId }) => parentSpanId === null);
    expect(root!.attributes).toMatchObject({ 'ringside.messages.traced': 1 });
    const whole = processor.store.trace(traceId).find(({ kind, name }) => kind === 'internal' && name === 'translate')!;
    const client = processor.store.trace(traceId).find(({ kind }) => kind === 'client')!;
    expect(whole).toMatchObject({ parentSpanId: root!.spanId, attributes: { 'ringside.guest.eip': '0x100000', 'ringside.unit.at': '0x83000', 'ringside.vm.id': 'vm1', 'ringside.path': 'binary-translation' } });
    expect(client).toMatchObject({ name: 'translate', parentSpanId: whole.spanId });
    expect(translator.store.trace(traceId)).toMatchObject([{ name: 'translate', kind: 'server', parentSpanId: client.spanId, attributes: { 'ringside.vm.id': 'vm1', 'messaging.destination.name': 'ringside.translate' } }]);
  });

  it('never has more spans than the cap, whatever ring -1 asks, and the rest is counted', () => {
    const telemetry = telemetryOf();
    const tracer = new MachineTracer(telemetry, VM, () => 0);
    const traceId = tracer.operationBegins(record('boot'));
    let spans = 1;
    let traced = 0;
    for (let i = 0; i < 3_000; i++) {
      const span = tracer.message('cpuid', () => ({}));
      if (span === null) continue;
      traced++;
      // Each message: client, server, and what the far end adds; every tenth exit asks far more than there is room for.
      const nested = i % 10 === 0 ? 500 : 1;
      spans += 3 + Math.min(nested, NESTED_LIMIT) * 3;
      tracer.nested(nested);
      span.end();
    }
    tracer.operationEnds(record('boot'));
    expect(spans).toBeLessThanOrEqual(MAX_SPANS_PER_TRACE);
    expect(spans).toBeGreaterThan(MAX_SPANS_PER_TRACE - 3 * (NESTED_LIMIT + 2));
    const root = telemetry.store.trace(traceId).find((span) => span.parentSpanId === null)!;
    expect(root.attributes).toMatchObject({ 'ringside.messages.traced': traced, 'ringside.messages.untraced': 3_000 - traced });
  });

  it('of a guest that runs without marks is a slice, not more often than every ten seconds', () => {
    const telemetry = telemetryOf();
    let now = 0;
    const tracer = new MachineTracer(telemetry, VM, () => now);
    const run = (messages: number): TraceContext[] => {
      const contexts: TraceContext[] = [];
      for (let i = 0; i < messages; i++) {
        const span = tracer.message('hlt', () => ({}));
        if (span === null) continue;
        contexts.push(span.context);
        span.end();
        tracer.nested(1);
      }
      return contexts;
    };
    const first = run(1_000);
    expect(first.length).toBeGreaterThan(100);
    expect(run(10)).toEqual([]);
    now = 11e9;
    const second = run(5);
    expect(second).toHaveLength(5);
    tracer.stop();
    expect(second[0]!.traceId).not.toBe(first[0]!.traceId);
    const root = telemetry.store.trace(second[0]!.traceId).find((span) => span.name === 'slice')!;
    // What was not traced in between stands on the slice that follows.
    expect(Number(root.attributes['ringside.messages.untraced'])).toBe(1_010 - first.length);
  });
});

describe('without a collector', () => {
  it('nothing breaks: spans are counted as undelivered, and it is said once', async () => {
    const warnings: string[] = [];
    const telemetry = telemetryOf('http://127.0.0.1:1', warnings);
    for (let i = 0; i < 2; i++) telemetry.span(`s${i}`, SpanKind.INTERNAL, null, {}).end();
    await telemetry.flush().catch(() => undefined);
    telemetry.span('s2', SpanKind.INTERNAL, null, {}).end();
    await telemetry.shutdown();
    expect(telemetry.counts).toEqual({ ended: 3, delivered: 0, undelivered: 3, dropped: 0 });
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain('spans cannot be delivered');
  });

  it('the last spans can still be read from the process', () => {
    const telemetry = telemetryOf();
    const root = telemetry.span('print', SpanKind.INTERNAL, null, { 'ringside.vm.id': 'vm1' });
    telemetry.span('port write', SpanKind.CLIENT, root.context, {}).end();
    root.end();
    expect(telemetry.store.trace(root.context.traceId)).toMatchObject([
      { name: 'port write', kind: 'client', parentSpanId: root.context.spanId, service: 'guest-cpu', error: null },
      { name: 'print', kind: 'internal', parentSpanId: null, attributes: { 'ringside.vm.id': 'vm1' } },
    ]);
  });
});

describe('SpanStore', () => {
  it('is bounded, and forgets the oldest trace first', () => {
    const store = new SpanStore(10);
    const span = (traceId: string, spanId: number): Parameters<SpanStore['add']>[0] =>
      ({ traceId, spanId: String(spanId), parentSpanId: null, service: 's', name: 'n', kind: 'internal', startUs: 0, durationUs: 1, attributes: {}, error: null });
    for (let i = 0; i < 6; i++) store.add(span('a', i));
    for (let i = 0; i < 6; i++) store.add(span('b', i));
    expect([store.trace('a').length, store.trace('b').length, store.spans]).toEqual([0, 6, 6]);
    for (let i = 0; i < 30; i++) store.add(span('c', i));
    expect(store.spans).toBe(10);
    expect(store.trace('c').map(({ spanId }) => spanId)).toEqual(Array.from({ length: 10 }, (_, index) => String(20 + index)));
  });
});

describe('ExitMeter', () => {
  it('counts every exit by path and reason, and grows as reasons appear', async () => {
    const sink = await OtlpSink.start();
    const telemetry = telemetryOf(sink.endpoint);
    const meter = new ExitMeter(telemetry.meter);
    for (let reason = 0; reason < 100; reason++) for (let i = 0; i <= reason; i++) meter.record('native', `r${reason}`, 1_000 * i);
    expect(meter.total).toBe(5_050);
    expect(meter.snapshot().find(({ reason }) => reason === 'r99')).toEqual({ path: 'native', reason: 'r99', count: 100, sumNs: 4_950_000 });
    await telemetry.shutdown();
    expect(sink.metricRequests).toBeGreaterThan(0);
    await sink.close();
  });
});
