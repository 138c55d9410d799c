import { SpanKind } from '@opentelemetry/api';
import { modelledCycles, modelledTable, type ClockKind, type OperationRecord } from '@ringside/machine';
import type { TraceContext } from '@ringside/protocol';
import { Attribute } from './attributes.js';
import type { OpenSpan, Telemetry } from './telemetry.js';

/** Jaeger's UI becomes slow beyond this. */
export const MAX_SPANS_PER_TRACE = 2_000;
/** Room that one message and all it causes may take: what ring -1 asks while it answers is capped to fit (see `NESTED_LIMIT`). */
export const NESTED_LIMIT = 30;
const SPANS_PER_HOP = 3;
const RESERVE = (NESTED_LIMIT + 1) * SPANS_PER_HOP;
/** A guest that runs without marks is traced by slices, at most one in this many ns of wall time. */
const SLICE_INTERVAL_NS = 10e9;

export interface TracedVm { id: string; path: string; clock?: ClockKind }

/** Traces of one VM: one for each guest operation between its marks; slices of the time outside them. */
export class MachineTracer {
  private root: OpenSpan | null = null;
  private kind: 'operation' | 'slice' | null = null;
  private spans = 0;
  private traced = 0;
  private untraced = 0;
  private lastSlice: { context: TraceContext; endedAt: number } | null = null;

  /** @param wallClock monotonic, ns */
  constructor(private readonly telemetry: Telemetry, private readonly vm: TracedVm, private readonly wallClock: () => number) {}

  /** @returns the operation's trace id */
  operationBegins(record: OperationRecord): string {
    this.endRoot();
    this.begin('operation', record.operation, { [Attribute.Operation]: record.operation });
    return this.root!.context.traceId;
  }

  operationEnds(record: OperationRecord): void {
    if (this.kind !== 'operation') return;
    const table = modelledTable(this.vm.clock ?? 'virtual');
    this.root?.set({
      [Attribute.Retired]: record.retired, [Attribute.Executed]: record.executed, [Attribute.Repetitions]: record.repetitions,
      ...(table === null ? {} : { [Attribute.Cycles]: Math.round(modelledCycles(table, record.primitives ?? {})) }),
    });
    this.endRoot();
  }

  /**
   * The span of a message that guest-cpu sends; null when the trace has no room for it and what it may cause. Either way it
   * is counted, on the root span.
   */
  message(name: string, attributes: () => Record<string, string | number>): OpenSpan | null {
    return this.counted(() => this.telemetry.span(name, SpanKind.CLIENT, this.root!.context, { ...this.ofVm(), ...attributes() }));
  }

  /** A translation miss: the span of the whole, with the message's client span under it. Counts as a message. */
  miss(name: string, attributes: () => Record<string, string | number>, message: Record<string, string | number>): { whole: OpenSpan; message: OpenSpan } | null {
    return this.counted(() => {
      const whole = this.telemetry.span(name, SpanKind.INTERNAL, this.root!.context, { ...this.ofVm(), ...attributes() });
      return { whole, message: this.telemetry.span(name, SpanKind.CLIENT, whole.context, { ...this.ofVm(), ...message }) };
    });
  }

  /** What a traced message caused, as its reply says: at most NESTED_LIMIT of them are spans. */
  nested(messages: number): void {
    this.spans += Math.min(messages, NESTED_LIMIT) * SPANS_PER_HOP;
  }

  /** The machine stands: whatever is open ends here. */
  stop(error?: unknown): void {
    this.endRoot(error);
  }

  private counted<T>(make: () => T): T | null {
    if (this.kind === 'slice' && this.spans + RESERVE > MAX_SPANS_PER_TRACE) this.endRoot();
    if (this.root === null) this.beginSlice();
    if (this.root === null || this.spans + RESERVE > MAX_SPANS_PER_TRACE) {
      this.untraced++;
      return null;
    }
    this.traced++;
    this.spans += SPANS_PER_HOP;
    return make();
  }

  private ofVm(): Record<string, string | number> {
    return { [Attribute.VmId]: this.vm.id, [Attribute.VcpuId]: 0, [Attribute.Path]: this.vm.path };
  }

  private begin(kind: 'operation' | 'slice', name: string, attributes: Record<string, string>): void {
    const links = kind === 'slice' && this.lastSlice !== null ? [{ context: { ...this.lastSlice.context, traceFlags: 1 } }] : [];
    this.root = this.telemetry.span(name, SpanKind.INTERNAL, null, { ...this.ofVm(), ...attributes }, links);
    this.kind = kind;
    this.spans = 1;
    this.traced = 0;
    this.untraced = 0;
  }

  private beginSlice(): void {
    if (this.lastSlice !== null && this.wallClock() - this.lastSlice.endedAt < SLICE_INTERVAL_NS) return;
    const { untraced } = this;
    this.begin('slice', 'slice', {});
    // What happened since the last slice is told by the next.
    this.untraced = untraced;
  }

  private endRoot(error?: unknown): void {
    if (this.root === null) return;
    this.root.set({ [Attribute.Traced]: this.traced, [Attribute.Untraced]: this.untraced });
    this.root.end(error);
    if (this.kind === 'slice') this.lastSlice = { context: this.root.context, endedAt: this.wallClock() };
    this.root = null;
    this.kind = null;
    this.untraced = 0;
  }
}
