import { perOperation, type Comparison, type OperationResult, type PerOperation, type Translation } from '../compare/result.js';
import { emptyOf, settingName } from '../compare/settings.js';
import type { Terminal } from '../terminal.js';
import { renderTable, type Cell, type Column } from './table.js';
import { duration, grouped } from './units.js';

interface ComparisonColumn extends Column { cell: (result: OperationResult, one: PerOperation, native: PerOperation | null) => Cell }

const right = (title: string, cell: ComparisonColumn['cell']): ComparisonColumn => ({ title, align: 'right', cell });

const retired = right('RETIRED', (_, one) => grouped(one.retired));
const executed = right('EXECUTED', (_, one) => grouped(one.executed));
const exits = right('EXITS', (_, one) => grouped(one.exitTotal));
const hypercalls = right('HYPERCALLS', (_, one) => grouped(one.hypercalls));
const messages = right('MESSAGES', (_, one) => grouped(one.messages));
const p50 = right('p50', (_, one) => duration(one.p50Ns));
const p99 = right('p99', (_, one) => duration(one.p99Ns));
const guest = right('GUEST', (_, one) => duration(one.guestNs));
const bus = right('BUS', (_, one) => duration(one.busNs));
const handlers = right('HANDLERS', (_, one) => duration(one.handlersNs));
const units: ComparisonColumn = right('UNITS', ({ translation }) => translation === null ? '' : grouped(translation.units));
/** Where a path adds neither instructions nor exits nor messages, a difference in time is noise. */
const added = right('+NATIVE', ({ addsOverNative }, one, native): Cell => {
  if (addsOverNative === null || native === null) return '';
  if (Object.values(addsOverNative).every((count) => count === 0)) return { text: 'nothing', style: 'dim' };
  const difference = one.p50Ns - native.p50Ns;
  return { text: `${difference >= 0 ? '+' : ''}${duration(difference)}`, style: 'magenta' };
});
const leaves: ComparisonColumn = {
  title: 'LEAVES FOR',
  cell: (_, one) => ({ text: Object.entries(one.exits).sort(([, a], [, b]) => b - a).map(([reason, count]) => count === 1 ? reason : `${grouped(count)} ${reason}`).join(', '), style: 'dim' }),
};

/** `full` has everything that was measured; `compact` fits a terminal of 100 columns; `counts` is the same on every run. */
const layouts = {
  full: [retired, executed, exits, hypercalls, messages, units, p50, p99, guest, bus, handlers, added, leaves],
  counts: [retired, executed, exits, hypercalls, messages, leaves],
  compact: [retired, exits, messages, p50, added, leaves],
} as const;

/** One repetition of each operation on each path, the measuring loop taken off; `boot` as a whole. */
export function renderComparison({ results }: Comparison, terminal: Pick<Terminal, 'paint'>, layout: keyof typeof layouts = 'full'): string[] {
  const columns: readonly ComparisonColumn[] = layouts[layout].filter((column) => column !== units || results.some(({ translation }) => translation !== null));
  const operations = [...new Set(results.map(({ operation }) => operation))].filter((operation) => operation !== 'empty');
  const rows = operations.flatMap((operation, index): (Cell[] | null)[] => {
    const group = results.filter((result) => result.operation === operation);
    return [...(index === 0 ? [] : [null]), ...group.map((result, position) => row(result, position === 0, results, columns))];
  });
  const table = renderTable([{ title: 'OPERATION' }, { title: 'PATH' }, ...columns], rows, terminal);
  const misled = new Map(results.filter(({ status }) => status === 'misled').map((result) => [settingName(result, results), result.reason!]));
  return [...table, ...translated(results).flatMap((line) => ['', line]), ...[...misled].flatMap(([name, reason]) => ['', terminal.paint(`${name} ran misled: ${reason}.`, 'yellow')])];
}

/** What the figures of one repetition leave out. */
function translated(results: readonly OperationResult[]): string[] {
  const found = results.filter(({ translation }) => translation !== null);
  return [...new Set(found.map((result) => settingName(result, results)))].map((name) => {
    const sum = (pick: (of: Translation) => number): number => found.filter((result) => settingName(result, results) === name).reduce((all, { translation }) => all + pick(translation!), 0);
    return `${name}: ${grouped(sum(({ units: count }) => count))} units translated in these operations (${grouped(sum(({ guestBytes }) => guestBytes))} bytes of the guest's code became ${grouped(sum(({ hostBytes }) => hostBytes))}), `
      + `by ${grouped(sum(({ messages: count }) => count))} messages to a translator: once for code that is reached for the first time, so not among the messages of one repetition.`;
  });
}

function row(result: OperationResult, first: boolean, results: readonly OperationResult[], columns: readonly ComparisonColumn[]): Cell[] {
  const name: Cell = first ? { text: result.operation, style: 'bold' } : '';
  const path = settingName(result, results);
  if (result.status === 'unsupported') return [name, path, ...columns.slice(0, -1).map(() => '–'), { text: result.reason ?? '', style: 'yellow' }];
  const native = results.find((other) => other.path === 'native' && other.operation === result.operation && other.status !== 'unsupported');
  const one = (of: OperationResult): PerOperation => perOperation(of, emptyOf(of, results));
  return [name, path, ...columns.map(({ cell }) => cell(result, one(result), native === undefined ? null : one(native)))];
}

export function renderTraceIds(results: readonly OperationResult[], terminal: Pick<Terminal, 'paint'>): string[] {
  return renderTable([{ title: 'OPERATION' }, { title: 'PATH' }, { title: 'TRACE' }],
    results.filter(({ traceId, operation }) => traceId !== null && operation !== 'empty').map((result) => [result.operation, settingName(result, results), { text: result.traceId!, style: 'cyan' }]), terminal);
}
