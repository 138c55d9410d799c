import type { Machine, ProbeComparison, ProbeOutcome, SensitiveReport } from '../sensitive/result.js';
import type { Terminal } from '../terminal.js';
import { renderTable, type Cell } from './table.js';

/** A row a probe, a column a machine: what it saw natively, and elsewhere whether that is the same. */
export function renderSensitive({ machines, probes }: SensitiveReport, terminal: Pick<Terminal, 'paint'>): string[] {
  const rows = probes.flatMap((probe, index): (Cell[] | null)[] => [
    ...(index > 0 && probes[index - 1]!.ring !== probe.ring ? [null] : []),
    [String(probe.ring), { text: probe.instruction, style: 'bold' }, probe.text, { text: probe.results[0]!.bytes.replace(/..(?=.)/g, '$& '), style: 'cyan' }, probe.results[0]!.saw,
      ...probe.results.slice(1).map(cell)],
  ]);
  return renderTable([{ title: 'RING' }, { title: 'INSTRUCTION' }, { title: 'AS IT STANDS' }, { title: 'BYTES' }, ...machines.map(({ name }) => ({ title: name.toUpperCase() }))], rows, terminal);
}

function cell(result: ProbeOutcome | null): Cell {
  if (result === null) return { text: '–', style: 'dim' };
  const { verdict, saw, exits } = result;
  switch (verdict) {
    case 'same': {
      const count = Object.values(exits).reduce((sum, one) => sum + one, 0);
      return { text: count === 0 ? 'same' : `same, by ${count === 1 ? 'an exit' : `${count} exits`}`, style: 'green' };
    }
    case 'misled': return { text: `MISLED: ${saw}`, style: 'yellow' };
    case 'fault': return { text: `faults: ${saw}`, style: 'magenta' };
    case 'stopped': return { text: `stops the machine: ${saw}`, style: 'red' };
    default: { const unreachable: never = verdict; return unreachable; }
  }
}

/** A sentence a machine, counted from the results. */
export function sensitiveSentences({ machines, probes }: SensitiveReport): string[] {
  const odd = probes.filter(({ nativeAsExpected }) => !nativeAsExpected).map(({ id }) => id);
  return [
    odd.length === 0 ? 'native: every instruction shows what the SDM says.' : `native: NOT as the SDM says: ${odd.join(', ')}.`,
    ...machines.flatMap((machine, index) => machine.path === 'native' ? [] : [sentence(machine, index, probes)]),
  ];
}

function sentence({ name, clock }: Machine, index: number, probes: readonly ProbeComparison[]): string {
  const ran = probes.filter(({ results }) => results[index] !== null);
  const having = (verdict: ProbeOutcome['verdict'], ring?: 0 | 3): ProbeComparison[] =>
    ran.filter((probe) => probe.results[index]!.verdict === verdict && (ring === undefined || probe.ring === ring));
  const named = (list: readonly ProbeComparison[]): string => [...new Set(list.map(({ instruction }) => instruction))].join(', ');
  const parts = [
    ...([0, 3] as const).flatMap((ring) => {
      const misled = having('misled', ring);
      return misled.length === 0 ? [] : [`${misled.length} mislead ${ring === 0 ? 'the kernel' : 'an application'} (${named(misled)})`];
    }),
    ...having('fault').length === 0 ? [] : [`${having('fault').length} fault where native does not (${named(having('fault'))})`],
    ...having('stopped').length === 0 ? [] : [`${having('stopped').length} stop the machine (${named(having('stopped'))})`],
  ];
  const under = clock === 'virtual' ? '' : ` (--clock ${clock})`;
  return `${name}${under}: ${parts.length === 0 ? `all ${ran.length} as natively` : `of ${ran.length}, ${parts.join('; ')}`}.`;
}
