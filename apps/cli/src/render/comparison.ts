import { perOperation, type Comparison, type OperationResult } from '../compare/result.js';
import type { Terminal } from '../terminal.js';
import { renderTable, type Cell } from './table.js';
import { duration, grouped } from './units.js';

const columns = [
  { title: 'OPERATION' }, { title: 'PATH' }, { title: 'RETIRED', align: 'right' }, { title: 'EXECUTED', align: 'right' }, { title: 'EXITS', align: 'right' }, { title: 'HYPERCALLS', align: 'right' },
  { title: 'MESSAGES', align: 'right' }, { title: 'p50', align: 'right' }, { title: 'p99', align: 'right' }, { title: 'GUEST', align: 'right' }, { title: 'BUS', align: 'right' },
  { title: 'HANDLERS', align: 'right' }, { title: '+NATIVE', align: 'right' }, { title: 'WHAT IT LEAVES FOR' },
] as const;

/** One repetition of each operation on each path, the measuring loop taken off; `boot` as a whole. */
export function renderComparison({ results }: Comparison, terminal: Pick<Terminal, 'paint'>): string[] {
  const operations = [...new Set(results.map(({ operation }) => operation))].filter((operation) => operation !== 'empty');
  const rows = operations.flatMap((operation, index): (Cell[] | null)[] => {
    const group = results.filter((result) => result.operation === operation);
    return [...(index === 0 ? [] : [null]), ...group.map((result, position) => row(result, position === 0, results))];
  });
  return renderTable(columns, rows, terminal);
}

function row(result: OperationResult, first: boolean, results: readonly OperationResult[]): Cell[] {
  const name: Cell = first ? { text: result.operation, style: 'bold' } : '';
  if (result.status === 'unsupported') return [name, result.path, ...Array.from({ length: 11 }, () => '–'), { text: result.reason ?? '', style: 'yellow' }];
  const empty = results.find(({ operation, path, mmu, guestKernelRing }) => operation === 'empty' && path === result.path && mmu === result.mmu && guestKernelRing === result.guestKernelRing);
  const one = perOperation(result, empty);
  const { p50Ns, p99Ns, addsOverNativeP50Ns } = result.wall;
  return [
    name, result.path, grouped(one.retired), grouped(one.executed), grouped(one.exitTotal), grouped(one.hypercalls), grouped(one.messages),
    duration(p50Ns), duration(p99Ns), duration(one.guestNs), duration(one.busNs), duration(one.handlersNs),
    addsOverNativeP50Ns === null ? '' : { text: `${addsOverNativeP50Ns >= 0 ? '+' : ''}${duration(addsOverNativeP50Ns)}`, style: 'magenta' },
    { text: Object.entries(one.exits).sort(([, a], [, b]) => b - a).map(([reason, count]) => count === 1 ? reason : `${grouped(count)} ${reason}`).join(', '), style: 'dim' },
  ];
}

export function renderTraceIds(results: readonly OperationResult[], terminal: Pick<Terminal, 'paint'>): string[] {
  return renderTable([{ title: 'OPERATION' }, { title: 'PATH' }, { title: 'TRACE' }],
    results.filter(({ traceId, operation }) => traceId !== null && operation !== 'empty').map(({ operation, path, traceId }) => [operation, path, { text: traceId!, style: 'cyan' }]), terminal);
}
