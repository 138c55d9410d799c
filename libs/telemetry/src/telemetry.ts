import { ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, trace, type Attributes, type Context, type Link, type Meter, type Span, type Tracer } from '@opentelemetry/api';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes, type Resource } from '@opentelemetry/resources';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, BatchSpanProcessor, AlwaysOnSampler } from '@opentelemetry/sdk-trace-base';
import type { TraceContext } from '@ringside/protocol';
import { CountingExporter, SpanSink, type DeliveryCounts } from './delivery.js';
import { SpanStore } from './span-store.js';

/** Bursts of a few whole traces. OpenTelemetry's own default (2,048) would lose them. */
const QUEUE_SPANS = 65_536;
const EXPORT_DELAY_MS = 500;
/** Retries included. A service that is told to stop waits this long for a collector that does not answer. */
const COLLECTOR_TIMEOUT_MS = 2_000;

export interface TelemetryOptions {
  service: string;
  instance: string;
  /** OTEL_EXPORTER_OTLP_ENDPOINT: base URL of an OTLP/HTTP collector; undefined: nothing is exported. */
  endpoint?: string | undefined;
  /** OTEL_RESOURCE_ATTRIBUTES: `name=value,…`. */
  resourceAttributes?: string | undefined;
  warn: (message: string) => void;
}

/** A span that is open here and whose context travels to others. */
export interface OpenSpan {
  readonly context: TraceContext;
  set(attributes: Attributes): void;
  /** @param error what went wrong, if anything did */
  end(error?: unknown): void;
}

/**
 * One process's traces and metrics. Spans are made by hand where messages are sent and handled; whether one is made was
 * decided when its operation began, so an unsampled message costs nothing here.
 */
export class Telemetry {
  readonly store = new SpanStore();
  readonly counts: DeliveryCounts = { ended: 0, delivered: 0, undelivered: 0, dropped: 0 };
  readonly meter: Meter;
  private readonly provider: BasicTracerProvider;
  private readonly meters: MeterProvider;
  private readonly tracer: Tracer;

  constructor(options: TelemetryOptions) {
    const resource = resourceOf(options);
    const base = options.endpoint?.replace(/\/+$/, '');
    const sink = new SpanSink(options.service, this.store, this.counts, QUEUE_SPANS);
    if (base !== undefined && base !== '') {
      const exporter = new CountingExporter(new OTLPTraceExporter({ url: `${base}/v1/traces`, timeoutMillis: COLLECTOR_TIMEOUT_MS }), this.counts, sink.settled, options.warn);
      sink.deliverTo(new BatchSpanProcessor(exporter, { maxQueueSize: QUEUE_SPANS, maxExportBatchSize: 1_024, scheduledDelayMillis: EXPORT_DELAY_MS, exportTimeoutMillis: 2 * COLLECTOR_TIMEOUT_MS }));
    }
    this.provider = new BasicTracerProvider({ resource, sampler: new AlwaysOnSampler(), spanProcessors: [sink] });
    this.tracer = this.provider.getTracer('ringside');
    const readers = base === undefined || base === '' ? []
      : [new PeriodicExportingMetricReader({ exporter: new OTLPMetricExporter({ url: `${base}/v1/metrics`, timeoutMillis: COLLECTOR_TIMEOUT_MS }), exportIntervalMillis: 15_000, exportTimeoutMillis: 2 * COLLECTOR_TIMEOUT_MS })];
    this.meters = new MeterProvider({ resource, readers });
    this.meter = this.meters.getMeter('ringside');
    this.observeDelivery();
  }

  /** @param parent null begins a trace */
  span(name: string, kind: SpanKind, parent: TraceContext | null, attributes: Attributes, links: Link[] = []): OpenSpan {
    return new RecordedSpan(this.tracer.startSpan(name, { kind, attributes, links }, parent === null ? ROOT_CONTEXT : contextOf(parent)));
  }

  flush(): Promise<void> {
    return this.provider.forceFlush();
  }

  /** Deliver what is queued, within the exporters' own timeouts; a collector that does not answer is not an error. */
  async shutdown(): Promise<void> {
    await Promise.allSettled([this.provider.shutdown(), this.meters.shutdown()]);
  }

  private observeDelivery(): void {
    this.meter.createObservableCounter('ringside.telemetry.spans', { description: 'Finished spans by what became of them' })
      .addCallback((result) => {
        for (const fate of ['ended', 'delivered', 'undelivered', 'dropped'] as const) result.observe(this.counts[fate], { fate });
      });
  }
}

class RecordedSpan implements OpenSpan {
  readonly context: TraceContext;

  constructor(private readonly span: Span) {
    const { traceId, spanId } = span.spanContext();
    this.context = { traceId, spanId };
  }

  set(attributes: Attributes): void {
    this.span.setAttributes(attributes);
  }

  end(error?: unknown): void {
    if (error !== undefined && error !== null) {
      const name = error instanceof Error ? error.name : 'Error';
      this.span.setAttribute('error.type', name);
      this.span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.message : String(error) });
    }
    this.span.end();
  }
}

function contextOf({ traceId, spanId }: TraceContext): Context {
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true });
}

function resourceOf({ service, instance, resourceAttributes }: TelemetryOptions): Resource {
  const attributes: Attributes = {};
  for (const pair of (resourceAttributes ?? '').split(',')) {
    const [name, value] = pair.split('=');
    if (name !== undefined && name.trim() !== '' && value !== undefined) attributes[name.trim()] = decodeURIComponent(value.trim());
  }
  return resourceFromAttributes({ ...attributes, 'service.name': service, 'service.namespace': 'ringside', 'service.instance.id': instance });
}

export { SpanKind };
