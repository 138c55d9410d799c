import { SpanKind, SpanStatusCode, type HrTime } from '@opentelemetry/api';
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base';
import type { SpanRecord } from '@ringside/protocol';

const KINDS: Record<SpanKind, SpanRecord['kind']> = {
  [SpanKind.INTERNAL]: 'internal', [SpanKind.SERVER]: 'server', [SpanKind.CLIENT]: 'client', [SpanKind.PRODUCER]: 'producer', [SpanKind.CONSUMER]: 'consumer',
};

export function toSpanRecord(span: ReadableSpan, service: string): SpanRecord {
  const { traceId, spanId } = span.spanContext();
  const attributes: SpanRecord['attributes'] = {};
  for (const [name, value] of Object.entries(span.attributes)) {
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') attributes[name] = value;
  }
  return {
    traceId, spanId, parentSpanId: span.parentSpanContext?.spanId ?? null, service, name: span.name, kind: KINDS[span.kind],
    startUs: microseconds(span.startTime), durationUs: microseconds(span.duration), attributes,
    error: span.status.code === SpanStatusCode.ERROR ? span.status.message ?? 'error' : null,
  };
}

function microseconds([seconds, nanoseconds]: HrTime): number {
  return seconds * 1_000_000 + nanoseconds / 1_000;
}
