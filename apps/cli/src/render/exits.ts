import type { LatencySummary } from '@ringside/machine';
import type { Terminal } from '../terminal.js';
import { renderTable } from './table.js';
import { grouped } from './units.js';

/** As `perf kvm stat report` prints it: most time first, times in µs. */
export function renderExits(exits: Readonly<Record<string, LatencySummary>>, terminal: Terminal): string[] {
  const rows = Object.entries(exits).filter(([, { count }]) => count > 0).sort(([a, { totalNs: timeA }], [b, { totalNs: timeB }]) => timeB - timeA || a.localeCompare(b));
  const samples = rows.reduce((sum, [, { count }]) => sum + count, 0);
  const time = rows.reduce((sum, [, { totalNs }]) => sum + totalNs, 0);
  const share = (part: number, whole: number): string => whole === 0 ? '0.00%' : `${((100 * part) / whole).toFixed(2)}%`;
  const micros = (ns: number): string => `${(ns / 1_000).toFixed(2)}us`;
  return [
    ...renderTable(
      [{ title: 'VM-EXIT' }, { title: 'Samples', align: 'right' }, { title: 'Samples%', align: 'right' }, { title: 'Time%', align: 'right' },
        { title: 'Min Time', align: 'right' }, { title: 'Max Time', align: 'right' }, { title: 'Avg time', align: 'right' }],
      rows.map(([reason, { count, totalNs, minNs, maxNs }]) => [reason, grouped(count), share(count, samples), share(totalNs, time), micros(minNs), micros(maxNs), micros(totalNs / count)]),
      terminal,
    ),
    '',
    `Total Samples:${grouped(samples)}, Total events handled time:${micros(time)}.`,
  ];
}
