import type { TranslatedUnitView, TranslatedView } from '@ringside/protocol';
import type { Terminal } from '../terminal.js';
import { hex32 } from './units.js';

const BYTES_WIDTH = 18;

/** Guest code on the left, what became of it on the right; a line that commits completes the guest's instruction. */
export function renderTranslated({ eip, units }: TranslatedView, terminal: Pick<Terminal, 'paint'>): string[] {
  if (units.length === 0) return [`No code is mapped at ${hex32(eip)}.`];
  const width = Math.max(...units.flatMap(({ rows }) => rows.map(({ guest }) => guestText(guest).length)));
  return units.flatMap((unit, index) => [...(index === 0 ? [] : ['']), ...renderUnit(unit, terminal, width)]);
}

const guestText = (guest: TranslatedUnitView['rows'][number]['guest']): string => guest === null ? '' : `${hex32(guest.address)}  ${shortened(guest.bytes).padEnd(BYTES_WIDTH)}  ${guest.text}`;

function renderUnit(unit: TranslatedUnitView, terminal: Pick<Terminal, 'paint'>, width: number): string[] {
  const place = unit.at === null ? 'not translated yet: made for this listing' : `at 0x${unit.at.toString(16)} of monitor space`;
  const lines = [terminal.paint(`unit ${hex32(unit.eip)}: ${unit.guestBytes} byte${unit.guestBytes === 1 ? '' : 's'} became ${unit.hostBytes}, ${place}`, 'bold')];
  for (const { guest, treatment, why, host } of unit.rows) {
    const left = guestText(guest);
    const note = treatment === 'ident' ? '' : treatment === 'exit' || why === '' ? treatment : `${treatment}: ${why}`;
    if (note !== '') lines.push(`  ${''.padEnd(width)}  ${terminal.paint(`; ${note}`, 'dim')}`);
    for (let row = 0; row < Math.max(1, host.length); row++) {
      const code = host[row];
      const guestCell = terminal.paint((row === 0 ? left : '').padEnd(width), 'cyan');
      const hostCell = code === undefined ? '' : `+${code.at.toString(16).padStart(2, '0')}  ${shortened(code.bytes).padEnd(BYTES_WIDTH)}  ${code.text}${code.field === null ? '' : terminal.paint(`  ; ${code.field}`, 'dim')}${code.commits ? terminal.paint('  ← commits', 'green') : ''}`;
      lines.push(`  ${guestCell}  ${hostCell}`.trimEnd());
    }
  }
  for (const exit of unit.exits) lines.push(terminal.paint(`  leaves at +${exit.at.toString(16).padStart(2, '0')}: ${describeExit(exit)}`, 'yellow'));
  return lines;
}

function describeExit({ kind, target, chainedTo }: TranslatedUnitView['exits'][number]): string {
  switch (kind) {
    case 'direct': return chainedTo === null ? `to ${hex32(target!)}, not chained` : `chained to the unit of ${hex32(chainedTo)}`;
    case 'lookup': return 'by the lookup table: the target is computed, or lies in another page';
    case 'pending': return 'if an interrupt waits, now that the virtual IF is set';
    case 'callout': return 'to ring -1, a callout';
    default: { const unknown: never = kind; return String(unknown); }
  }
}

/** `65c60508000000` → `65 c6 05 08 00 …`. */
function shortened(bytes: string): string {
  const pairs = bytes.match(/../g) ?? [];
  return pairs.length <= 6 ? pairs.join(' ') : `${pairs.slice(0, 5).join(' ')} …`;
}
