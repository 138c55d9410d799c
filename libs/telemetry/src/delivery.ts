import type { Context } from '@opentelemetry/api';
import { ExportResultCode, type ExportResult } from '@opentelemetry/core';
import type { BatchSpanProcessor, ReadableSpan, Span, SpanExporter, SpanProcessor } from '@opentelemetry/sdk-trace-base';
import type { SpanRecord } from '@ringside/protocol';
import { toSpanRecord } from './span-record.js';
import type { SpanStore } from './span-store.js';

/** What became of finished spans. Nothing is lost without standing here. */
export interface DeliveryCounts { ended: number; delivered: number; /** The collector did not take them. */ undelivered: number; /** The queue was full. */ dropped: number }

/** An exporter that counts, and says once that the collector does not answer. */
export class CountingExporter implements SpanExporter {
  private warned = false;

  constructor(private readonly exporter: SpanExporter, private readonly counts: DeliveryCounts, private readonly settled: (spans: number) => void, private readonly warn: (message: string) => void) {}

  export(spans: ReadableSpan[], done: (result: ExportResult) => void): void {
    this.exporter.export(spans, (result) => {
      this.settled(spans.length);
      if (result.code === ExportResultCode.SUCCESS) this.counts.delivered += spans.length;
      else {
        this.counts.undelivered += spans.length;
        if (!this.warned) this.warn(`spans cannot be delivered (${result.error?.message ?? 'no reason given'}); the machine runs on, undelivered spans are counted, this is said once`);
        this.warned = true;
      }
      done(result);
    });
  }

  shutdown(): Promise<void> {
    return this.exporter.shutdown();
  }
}

/** Every finished span goes to the store, and to the collector as far as the queue has room. */
export class SpanSink implements SpanProcessor {
  private queued = 0;

  constructor(private readonly service: string, private readonly store: SpanStore, private readonly counts: DeliveryCounts, private readonly capacity: number, private batch: BatchSpanProcessor | null = null) {}

  /** The queue needs this sink's `settled`, so it comes second. */
  deliverTo(batch: BatchSpanProcessor): void {
    this.batch = batch;
  }

  readonly settled = (spans: number): void => {
    this.queued -= spans;
  };

  onStart(span: Span, context: Context): void {
    this.batch?.onStart(span, context);
  }

  onEnd(span: ReadableSpan): void {
    this.counts.ended++;
    const record: SpanRecord = toSpanRecord(span, this.service);
    this.store.add(record);
    if (this.batch === null) return;
    if (this.queued >= this.capacity) {
      this.counts.dropped++;
      return;
    }
    this.queued++;
    this.batch.onEnd(span);
  }

  async forceFlush(): Promise<void> {
    await this.batch?.forceFlush();
  }

  async shutdown(): Promise<void> {
    await this.batch?.shutdown();
  }
}
