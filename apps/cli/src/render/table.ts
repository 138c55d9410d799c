import type { Style, Terminal } from '../terminal.js';

export interface Column { title: string; align?: 'left' | 'right' }
export type Cell = string | { text: string; style: Style };

const textOf = (cell: Cell): string => typeof cell === 'string' ? cell : cell.text;

/** Columns as wide as their widest cell, two spaces apart, titles bold. A row `null` is an empty line. */
export function renderTable(columns: readonly Column[], rows: readonly (readonly Cell[] | null)[], terminal: Pick<Terminal, 'paint'>): string[] {
  const widths = columns.map((column, index) =>
    rows.reduce((width, row) => Math.max(width, row === null ? 0 : textOf(row[index] ?? '').length), column.title.length));
  const line = (cells: readonly Cell[], style: Style | null): string => columns.map((column, index) => {
    const cell = cells[index] ?? '';
    const text = textOf(cell);
    const padded = column.align === 'right' ? text.padStart(widths[index]!) : text.padEnd(widths[index]!);
    const painted = style ?? (typeof cell === 'string' ? null : cell.style);
    return painted === null ? padded : terminal.paint(padded, painted);
  }).join('  ').trimEnd();
  return [line(columns.map((column) => column.title), 'bold'), ...rows.map((row) => row === null ? '' : line(row, null))];
}
