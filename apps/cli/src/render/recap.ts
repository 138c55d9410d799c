import type { Basis, Verdict } from '../recap/lines.js';
import type { Recap, RecapLine } from '../recap/recap.js';
import type { Style, Terminal } from '../terminal.js';

const styles: Record<Verdict, Style> = { holds: 'green', 'does not hold': 'yellow', 'no difference': 'cyan', 'not measured': 'dim' };

/** Each basis by itself: what was counted, what was timed here, what a modelled hardware would take. */
export function renderRecap({ lines }: Recap, terminal: Pick<Terminal, 'paint' | 'columns'>): string[] {
  const parts: [Basis, (line: RecapLine) => string][] = [
    ['counts', () => 'What is counted: the same on every run'],
    ['wall', () => 'Times of this system: messages between services, not silicon'],
    ['modelled', ({ clock }) => `Cycles of modelled hardware${clock === null ? '' : ` (${clock.replace('modelled:', '')})`}: no times of this system`],
  ];
  return parts.flatMap(([basis, title]) => {
    const group = lines.filter((line) => line.basis === basis);
    const clocks = [...new Set(group.map(({ clock }) => clock))].filter((clock) => clock !== null);
    return (clocks.length === 0 ? [null] : clocks).flatMap((clock, index) => {
      const shown = group.filter((line) => line.clock === clock || (line.clock === null && index === 0));
      if (shown.length === 0) return [];
      return ['', terminal.paint(title({ ...shown[0]!, clock }), 'bold'), ...techniques(shown, terminal)];
    });
  }).slice(1);
}

function techniques(lines: readonly RecapLine[], terminal: Pick<Terminal, 'paint' | 'columns'>): string[] {
  return [...new Set(lines.map(({ technique }) => technique))].flatMap((technique) => [
    `  ${terminal.paint(technique[0]!.toUpperCase() + technique.slice(1), 'blue')}`,
    ...lines.filter((line) => line.technique === technique).flatMap(({ side, claim, verdict, says }) => [
      `  ${side === 'pro' ? '+' : '−'} ${claim}: ${terminal.paint(verdict, styles[verdict])}.`,
      ...wrap(says, Math.max(40, terminal.columns - 6)).map((line) => `      ${terminal.paint(line, 'dim')}`),
    ]),
  ]);
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
