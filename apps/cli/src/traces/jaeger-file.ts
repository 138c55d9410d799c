import type { SpanRecord } from '@ringside/protocol';
import type { Trace } from './trace.js';

/** The JSON of Jaeger's query API, which its UI takes as an uploaded file as well. Times in µs. */
export interface JaegerFile { data: JaegerTrace[] }
export interface JaegerTrace { traceID: string; spans: JaegerSpan[]; processes: Record<string, { serviceName: string; tags: JaegerTag[] }> }
interface JaegerTag { key: string; type: 'string' | 'bool' | 'int64' | 'float64'; value: string | number | boolean }
interface JaegerSpan {
  traceID: string; spanID: string; operationName: string; references: { refType: 'CHILD_OF' | 'FOLLOWS_FROM'; traceID: string; spanID: string }[];
  startTime: number; duration: number; tags: JaegerTag[]; logs: unknown[]; processID: string;
}

export function toJaegerFile(traces: readonly Trace[]): JaegerFile {
  return { data: traces.map(toJaegerTrace) };
}

function toJaegerTrace({ traceId, spans }: Trace): JaegerTrace {
  const services = [...new Set(spans.map(({ service }) => service))].sort();
  return {
    traceID: traceId,
    processes: Object.fromEntries(services.map((serviceName, index) => [`p${index + 1}`, { serviceName, tags: [] }])),
    spans: spans.map((span) => ({
      traceID: traceId, spanID: span.spanId, operationName: span.name,
      references: span.parentSpanId === null ? [] : [{ refType: 'CHILD_OF' as const, traceID: traceId, spanID: span.parentSpanId }],
      startTime: Math.round(span.startUs), duration: Math.max(1, Math.round(span.durationUs)),
      tags: [
        ...Object.entries(span.attributes).map(([key, value]) => tag(key, value)),
        tag('span.kind', span.kind),
        ...(span.error === null ? [] : [tag('error', true), tag('otel.status_description', span.error)]),
      ],
      logs: [], processID: `p${services.indexOf(span.service) + 1}`,
    })),
  };
}

function tag(key: string, value: string | number | boolean): JaegerTag {
  const type = typeof value === 'string' ? 'string' : typeof value === 'boolean' ? 'bool' : Number.isInteger(value) ? 'int64' : 'float64';
  return { key, type, value };
}

/** What Jaeger's API answers, as our own records. */
export function fromJaegerTrace({ traceID, spans, processes }: JaegerTrace): Trace {
  return {
    traceId: traceID, label: '',
    spans: spans.map((span): SpanRecord => {
      const attributes = Object.fromEntries(span.tags.map(({ key, value }) => [key, value]));
      return {
        traceId: traceID, spanId: span.spanID, parentSpanId: span.references.find(({ refType }) => refType === 'CHILD_OF')?.spanID ?? null,
        service: processes[span.processID]?.serviceName ?? 'unknown', name: span.operationName, kind: kindOf(attributes['span.kind']),
        startUs: span.startTime, durationUs: span.duration, attributes, error: attributes['error'] === true ? String(attributes['otel.status_description'] ?? 'error') : null,
      };
    }),
  };
}

function kindOf(value: unknown): SpanRecord['kind'] {
  return value === 'server' || value === 'client' || value === 'producer' || value === 'consumer' ? value : 'internal';
}
