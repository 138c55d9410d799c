import type { SpanRecord } from '@ringside/protocol';

/** Spans kept in the process: some ten whole traces. */
const CAPACITY = 20_000;

/** The spans that ended last, for `ringside trace` and trace files without a collector. The oldest trace is forgotten first. */
export class SpanStore {
  private readonly traces = new Map<string, SpanRecord[]>();
  private size = 0;

  constructor(private readonly capacity = CAPACITY) {}

  add(span: SpanRecord): void {
    let spans = this.traces.get(span.traceId);
    if (spans === undefined) this.traces.set(span.traceId, spans = []);
    spans.push(span);
    this.size++;
    while (this.size > this.capacity) {
      const [oldest, forgotten] = this.traces.entries().next().value as [string, SpanRecord[]];
      // One trace that is longer than the store loses its beginning.
      if (this.traces.size === 1) this.size -= forgotten.splice(0, forgotten.length - this.capacity).length;
      else {
        this.traces.delete(oldest);
        this.size -= forgotten.length;
      }
    }
  }

  trace(traceId: string): SpanRecord[] {
    return this.traces.get(traceId) ?? [];
  }

  get spans(): number {
    return this.size;
  }
}
