import type { SpanRecord } from '@ringside/protocol';
import type { Style, Terminal } from '../terminal.js';
import { spanTree, walk, type Trace } from '../traces/trace.js';
import { duration } from './units.js';

const styles: Record<string, Style> = { 'guest-cpu': 'cyan', hypervisor: 'magenta', 'device-model': 'yellow', translator: 'green' };
const BAR = 30;
const SERVICE = 12;
const DURATION = 8;

/** The trace as Jaeger draws it: a row per span, indented under its parent, its bar where it lies in the whole. */
export function renderWaterfall(trace: Trace, terminal: Pick<Terminal, 'paint' | 'columns'>, limit = Infinity): string[] {
  const roots = spanTree(trace.spans);
  const start = Math.min(...trace.spans.map(({ startUs }) => startUs));
  const end = Math.max(...trace.spans.map(({ startUs, durationUs }) => startUs + durationUs));
  const whole = Math.max(1, end - start);
  const nameWidth = Math.max(24, Math.min(64, terminal.columns - BAR - SERVICE - DURATION - 8));
  const services = [...new Set(trace.spans.map(({ service }) => service))];
  const lines = [
    `${terminal.paint(trace.label === '' ? 'trace' : trace.label, 'bold')}  ${trace.traceId}  ${trace.spans.length} spans, ${services.length} services, ${duration(whole * 1_000)}`,
    '',
  ];
  let shown = 0;
  for (const { span, depth } of walk(roots)) {
    if (shown++ >= limit) continue;
    const name = fit(`${'  '.repeat(Math.min(depth, 12))}${span.name}${detail(span)}`, nameWidth);
    const style = styles[span.service] ?? 'blue';
    const row = `${name}  ${terminal.paint(fit(span.service, SERVICE), style)}  ${duration(span.durationUs * 1_000).padStart(DURATION)}  ${terminal.paint(bar(span, start, whole), span.error === null ? style : 'red')}`;
    lines.push(row.trimEnd());
    if (span.error !== null) lines.push(`${'  '.repeat(depth + 1)}${terminal.paint(span.error, 'red')}`);
  }
  if (shown > limit) lines.push('', `${shown - limit} more spans: --limit ${shown} shows all.`);
  return lines;
}

/** What tells two spans of one name apart: the address, where the name does not say the device; of a miss the guest code and what it became. */
function detail({ attributes }: SpanRecord): string {
  if (attributes['ringside.unit.at'] !== undefined) return ` (${attributes['ringside.guest.eip']}, ${attributes['ringside.unit.guest_bytes']} → ${attributes['ringside.unit.host_bytes']} bytes)`;
  const address = attributes['ringside.address'];
  return address === undefined || attributes['ringside.device.id'] !== undefined ? '' : ` (${typeof address === 'number' ? `0x${address.toString(16)}` : address})`;
}

const fit = (text: string, width: number): string => text.length > width ? `${text.slice(0, width - 1)}…` : text.padEnd(width);

function bar({ startUs, durationUs }: SpanRecord, start: number, whole: number): string {
  const from = Math.min(BAR - 1, Math.floor(((startUs - start) / whole) * BAR));
  const length = Math.max(1, Math.min(BAR - from, Math.round((durationUs / whole) * BAR)));
  return `${' '.repeat(from)}${'█'.repeat(length)}`;
}
