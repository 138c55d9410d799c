import { modelledCycles, PRIMITIVE_NAMES, type CostTable, type PrimitiveCounts, type TestedOrdering } from '@ringside/machine';
import { oneRepetition } from '../compare/cycles.js';
import type { Comparison, OperationResult } from '../compare/result.js';
import { settingName } from '../compare/settings.js';
import type { Terminal } from '../terminal.js';
import { renderTable, type Cell } from './table.js';
import { grouped } from './units.js';

/** Of an operation's cycles, how many kinds of primitives are named. */
const NAMED = 4;

/** The modelled cycles of a comparison, a table of their own: no time of this system stands in it. */
export function renderCycles({ results, sensitivity }: Comparison, table: CostTable, terminal: Pick<Terminal, 'paint'>): string[] {
  const operations = [...new Set(results.map(({ operation }) => operation))].filter((operation) => operation !== 'empty');
  const rows = operations.flatMap((operation, index): (Cell[] | null)[] => {
    const group = results.filter((result) => result.operation === operation);
    const native = group.find(({ path }) => path === 'native')?.cycles ?? null;
    return [...(index === 0 ? [] : [null]), ...group.map((result, position) => row(result, position === 0, native, results, table))];
  });
  return [
    '', terminal.paint(`Modelled cycles of one repetition (the last) on a ${table.processor}`, 'bold'), '',
    ...renderTable([{ title: 'OPERATION' }, { title: 'PATH' }, { title: 'CYCLES', align: 'right' }, { title: '× NATIVE', align: 'right' }, { title: 'OF WHICH' }], rows, terminal),
    '', 'Σ count × figure: what each figure is from stands in docs/modelled-clock.md. They are no times of this system.',
    ...(sensitivity === undefined ? [] : renderSensitivity(sensitivity, terminal)),
  ];
}

function row(result: OperationResult, first: boolean, native: number | null, results: readonly OperationResult[], table: CostTable): Cell[] {
  const name: Cell = first ? { text: result.operation, style: 'bold' } : '';
  const path = settingName(result, results);
  if (result.cycles === null) return [name, path, '–', '–', ''];
  const factor = native === null || native === 0 || result.path === 'native' ? '' : (result.cycles / native).toFixed(2);
  return [name, path, grouped(Math.round(result.cycles)), factor, { text: largest(oneRepetition(result, results), table), style: 'dim' }];
}

/** The kinds of primitives that take most of it, with the cycles of each. */
function largest(counts: PrimitiveCounts, table: CostTable): string {
  return PRIMITIVE_NAMES.map((name) => ({ name, cycles: Math.round(modelledCycles(table, { [name]: counts[name] ?? 0 })) })).filter(({ cycles }) => cycles !== 0)
    .sort((a, b) => b.cycles - a.cycles).slice(0, NAMED).map(({ name, cycles }) => `${name} ${grouped(cycles)}`).join(', ');
}

function renderSensitivity(orderings: readonly TestedOrdering[], terminal: Pick<Terminal, 'paint'>): string[] {
  const lost = orderings.filter(({ lostBy }) => lostBy.length > 0);
  const rows = lost.map(({ operation, faster, slower, lostBy }, index): Cell[] => [
    operation === lost[index - 1]?.operation ? '' : { text: operation, style: 'bold' }, `${faster} < ${slower}`,
    { text: lostBy.map(({ primitive, factor }) => `${primitive} ${factor === 2 ? 'doubled' : 'halved'}`).join(', '), style: 'dim' },
  ]);
  const survive = orderings.length - lost.length;
  return [
    '', `Each figure of the table halved and doubled, one at a time: ${survive} of ${orderings.length} orderings survive all of it.`,
    ...(lost.length === 0 ? [] : ['', ...renderTable([{ title: 'OPERATION' }, { title: 'ORDERING' }, { title: 'NOT WITH' }], rows, terminal)]),
  ];
}
