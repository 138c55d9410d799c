import { describe, expect, test } from '@jest/globals';
import type { SpanRecord } from '@ringside/protocol';
import { mkdtemp, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { renderWaterfall } from '../render/waterfall.js';
import { fromJaegerTrace, toJaegerFile } from './jaeger-file.js';
import { TraceStore } from './trace-store.js';
import { spanTree, walk, type Trace } from './trace.js';

const traceId = 'a'.repeat(32);
const span = (spanId: string, parentSpanId: string | null, startUs: number, durationUs: number, more: Partial<SpanRecord> = {}): SpanRecord => ({
  traceId, spanId, parentSpanId, service: 'guest-cpu', name: spanId, kind: 'internal', startUs, durationUs, attributes: {}, error: null, ...more,
});
const trace: Trace = {
  traceId, label: 'in on hardware-assisted',
  spans: [
    span('0000000000000004', '0000000000000003', 1_030, 20, { service: 'device-model', name: 'post POST code read', kind: 'server', attributes: { 'ringside.device.id': 'post', 'ringside.address': '0x80' } }),
    span('0000000000000001', null, 1_000, 100, { name: 'in' }),
    span('0000000000000003', '0000000000000002', 1_020, 40, { service: 'hypervisor', name: 'io-instruction', kind: 'server' }),
    span('0000000000000002', '0000000000000001', 1_010, 60, { name: 'io-instruction', kind: 'client', attributes: { 'ringside.exit.reason': 'io-instruction', sampled: true, ratio: 0.5, 'ringside.address': '0x80' } }),
  ],
};

describe('traces', () => {
  test('a tree whatever the order in which the spans came', () => {
    expect([...walk(spanTree(trace.spans))].map(({ span: { name }, depth }) => `${depth} ${name}`)).toEqual(['0 in', '1 io-instruction', '2 io-instruction', '3 post POST code read']);
  });

  test('a span whose parent is not here is a root, and a loop ends', () => {
    expect(spanTree([span('a', 'lost', 1, 1)])).toHaveLength(1);
    expect([...walk(spanTree([span('a', 'a', 1, 1)]))]).toHaveLength(1);
  });

  test('Jaeger\'s JSON and back', () => {
    const [jaeger] = toJaegerFile([trace]).data;
    expect(Object.values(jaeger!.processes).map(({ serviceName }) => serviceName)).toEqual(['device-model', 'guest-cpu', 'hypervisor']);
    expect(jaeger!.spans[0]).toMatchObject({ spanID: '0000000000000004', references: [{ refType: 'CHILD_OF', traceID: traceId, spanID: '0000000000000003' }], startTime: 1_030, duration: 20 });
    expect(jaeger!.spans[3]!.tags).toEqual([
      { key: 'ringside.exit.reason', type: 'string', value: 'io-instruction' }, { key: 'sampled', type: 'bool', value: true }, { key: 'ratio', type: 'float64', value: 0.5 },
      { key: 'ringside.address', type: 'string', value: '0x80' },
      { key: 'span.kind', type: 'string', value: 'client' },
    ]);
    const back = fromJaegerTrace(jaeger!);
    expect(back.spans.map(({ spanId, parentSpanId, service, kind, startUs, durationUs }) => ({ spanId, parentSpanId, service, kind, startUs, durationUs })))
      .toEqual(trace.spans.map(({ spanId, parentSpanId, service, kind, startUs, durationUs }) => ({ spanId, parentSpanId, service, kind, startUs, durationUs })));
  });

  test('an error stands in the file as Jaeger marks it, and comes back', () => {
    const [jaeger] = toJaegerFile([{ ...trace, spans: [span('a', null, 1, 1, { error: 'no answer' })] }]).data;
    expect(jaeger!.spans[0]!.tags).toContainEqual({ key: 'error', type: 'bool', value: true });
    expect(fromJaegerTrace(jaeger!).spans[0]!.error).toBe('no answer');
  });

  test('the waterfall: indented under parents, bars inside the whole, errors said, the rest counted', () => {
    const terminal = { columns: 100, paint: (text: string) => text };
    const lines = renderWaterfall(trace, terminal);
    expect(lines[0]).toBe(`in on hardware-assisted  ${traceId}  4 spans, 3 services, 100 µs`);
    expect(lines.slice(2).map((line) => line.trimEnd().split(/ {2,}(?=\S)/).filter((part) => part !== ''))).toEqual([
      ['in', 'guest-cpu', '100 µs', '█'.repeat(30)],
      ['io-instruction (0x80)', 'guest-cpu', '60.0 µs', '█'.repeat(18)],
      ['io-instruction', 'hypervisor', '40.0 µs', '█'.repeat(12)],
      ['post POST code read', 'device-model', '20.0 µs', '█'.repeat(6)],
    ]);
    expect(lines[5]).toMatch(/^ {6}post POST/);
    expect(renderWaterfall(trace, terminal, 1).at(-1)).toBe('3 more spans: --limit 4 shows all.');
  });

  test('the store keeps a trace with its label, finds it by its beginning, and forgets the oldest', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'ringside-test-'));
    const store = new TraceStore(directory, 2);
    expect(await store.matching('a')).toEqual([]);
    for (const [index, digit] of ['a', 'b', 'c'].entries()) {
      const id = digit.repeat(32);
      await store.save({ ...trace, traceId: id });
      await utimes(join(directory, 'traces', `${id}.json`), 1_000 + index, 1_000 + index);
    }
    await store.prune();
    expect(await store.matching('')).toEqual(['b'.repeat(32), 'c'.repeat(32)]);
    expect(await store.load('a'.repeat(32))).toBeNull();
    expect(await store.load('c'.repeat(32))).toMatchObject({ label: trace.label, spans: [{ spanId: '0000000000000004' }, {}, {}, {}] });
  });
});
