import type { Machine, ProbeComparison, ProbeOutcome, SensitiveReport } from '../sensitive/result.js';
import type { Terminal } from '../terminal.js';
import { renderTable, type Cell } from './table.js';

/** From here on a terminal has room for what every machine saw. */
const WIDE = 240;
const INITIALS: Record<Machine['path'], string> = { native: 'N', 'trap-and-emulate': 'T&E', paravirt: 'PV', 'binary-translation': 'BT', 'hardware-assisted': 'HW' };

/** A row a probe, a column a machine: what it saw natively, and elsewhere whether that is the same; `wide`, what it saw there. */
export function renderSensitive({ machines, probes }: SensitiveReport, terminal: Pick<Terminal, 'paint' | 'columns'>, wide = terminal.columns >= WIDE): string[] {
  const rows = probes.flatMap((probe, index): (Cell[] | null)[] => [
    ...(index > 0 && probes[index - 1]!.ring !== probe.ring ? [null] : []),
    [String(probe.ring), ...(wide ? [probe.instruction] : []), { text: probe.text, style: 'bold' }, { text: probe.results[0]!.bytes.replace(/..(?=.)/g, '$& '), style: 'cyan' }, wide || !probe.nativeAsExpected ? probe.results[0]!.saw : probe.expected,
      ...probe.results.slice(1).map(wide ? cell : word)],
  ]);
  const others = machines.slice(1);
  const initials = others.map(({ path, name }) => `${INITIALS[path]}${name.slice(path.length).replace(',', '').replace('no UMIP', '−')}`);
  const table = renderTable([{ title: 'RING' }, ...(wide ? [{ title: 'INSTRUCTION' }] : []), { title: 'AS IT STANDS' }, { title: 'BYTES' }, { title: wide ? 'NATIVE' : 'NATIVELY IT SHOWS' },
    ...(wide ? others.map(({ name }) => ({ title: name.toUpperCase() })) : initials.map((title) => ({ title })))], rows, terminal);
  return wide ? table : [...table, '', terminal.paint(`${others.map(({ name }, index) => `${initials[index]}: ${name}`).join('; ')}. --wide shows what each saw.`, 'dim')];
}

function word(result: ProbeOutcome | null): Cell {
  if (result === null) return { text: '–', style: 'dim' };
  const { verdict } = result;
  switch (verdict) {
    case 'same': return { text: 'same', style: 'green' };
    case 'misled': return { text: 'MISLED', style: 'yellow' };
    case 'fault': return { text: 'faults', style: 'magenta' };
    case 'stopped': return { text: 'stops', style: 'red' };
    default: { const unreachable: never = verdict; return unreachable; }
  }
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
