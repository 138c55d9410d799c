import type { Meter } from '@opentelemetry/api';
import { LATENCY_BUCKETS_NS } from '@ringside/machine';

const BUCKETS = LATENCY_BUCKETS_NS.length + 1;
/** Per (path, reason): count, sum of ns, buckets. */
const ROW = 2 + BUCKETS;
const INITIAL_ROWS = 64;

/**
 * Every exit, sampled or not, by path and reason: counts and latencies in one typed array that is only read when metrics are
 * collected. Recording through an instrument would cost a microsecond each.
 */
export class ExitMeter {
  private readonly rows = new Map<string, number>();
  private readonly names: { path: string; reason: string }[] = [];
  private values = new Float64Array(INITIAL_ROWS * ROW);

  constructor(meter: Meter) {
    meter.createObservableCounter('ringside.exits', { description: 'Exits (on native: bus cycles) by path and reason' })
      .addCallback((result) => this.each((labels, row) => result.observe(this.values[row] as number, labels)));
    meter.createObservableCounter('ringside.exit.duration.sum', { description: 'Round-trip time of exits', unit: 'ns' })
      .addCallback((result) => this.each((labels, row) => result.observe(this.values[row + 1] as number, labels)));
    meter.createObservableCounter('ringside.exit.duration.bucket', { description: 'Exits that took at most `le` ns (cumulative, as a Prometheus histogram)' })
      .addCallback((result) => this.each((labels, row) => {
        let total = 0;
        for (let bucket = 0; bucket < BUCKETS; bucket++) {
          total += this.values[row + 2 + bucket] as number;
          result.observe(total, { ...labels, le: String(LATENCY_BUCKETS_NS[bucket] ?? '+Inf') });
        }
      }));
  }

  record(path: string, reason: string, ns: number): void {
    const row = this.row(path, reason);
    this.values[row]!++;
    this.values[row + 1]! += ns;
    let bucket = 0;
    while (bucket < LATENCY_BUCKETS_NS.length && ns > (LATENCY_BUCKETS_NS[bucket] as number)) bucket++;
    this.values[row + 2 + bucket]!++;
  }

  /** For `status`: exits so far. */
  get total(): number {
    let total = 0;
    this.each((_, row) => { total += this.values[row] as number; });
    return total;
  }

  snapshot(): { path: string; reason: string; count: number; sumNs: number }[] {
    return this.names.map((name, index) => ({ ...name, count: this.values[index * ROW] as number, sumNs: this.values[index * ROW + 1] as number }));
  }

  private row(path: string, reason: string): number {
    const key = `${path} ${reason}`;
    let row = this.rows.get(key);
    if (row !== undefined) return row;
    row = this.names.length * ROW;
    this.names.push({ path, reason });
    this.rows.set(key, row);
    if (row + ROW > this.values.length) {
      const grown = new Float64Array(2 * this.values.length);
      grown.set(this.values);
      this.values = grown;
    }
    return row;
  }

  private each(visit: (labels: { path: string; reason: string }, row: number) => void): void {
    this.names.forEach((name, index) => visit(name, index * ROW));
  }
}
