// Draws what a command prints as an SVG of a terminal:  node tools/docs/terminal-picture.mjs OUT.svg [--from TEXT] [--to TEXT] -- COMMAND …
// Only the lines from the first that contains --from up to, not including, the next that contains --to.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';

const separator = process.argv.indexOf('--');
const [out, ...options] = process.argv.slice(2, separator);
const option = (name) => options.includes(name) ? options[options.indexOf(name) + 1] : undefined;
if (separator === -1 || out === undefined) {
  console.error('usage: node tools/docs/terminal-picture.mjs OUT.svg [--from TEXT] [--to TEXT] -- COMMAND …');
  process.exit(2);
}

const command = process.argv.slice(separator + 1);
const result = spawnSync(command[0], command.slice(1), { encoding: 'utf8', env: { ...process.env, FORCE_COLOR: '1', COLUMNS: '150' }, stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 1 << 26 });
if (result.status !== 0) process.exit(result.status ?? 1);

let lines = result.stdout.split('\n');
const plain = (line) => line.replace(/\u001b\[[0-9;]*m/g, '');
const from = option('--from');
if (from !== undefined) lines = lines.slice(Math.max(0, lines.findIndex((line) => plain(line).includes(from))));
const to = option('--to');
const end = to === undefined ? -1 : lines.findIndex((line, index) => index > 0 && plain(line).includes(to));
if (end !== -1) lines = lines.slice(0, end);
while (lines.length > 0 && plain(lines.at(-1)).trim() === '') lines.pop();

const colours = { 31: '#ff7b72', 32: '#7ee787', 33: '#e3b341', 34: '#79c0ff', 35: '#d2a8ff', 36: '#76e3ea' };
const [cell, row, margin, bar] = [7.8, 18, 16, 30];
const escape = (text) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');

/** Runs of one style, placed by column: the picture does not depend on how a viewer's font spaces blanks. */
function runs(line) {
  const parts = [];
  let style = { colour: '#c9d1d9', bold: false, dim: false };
  let column = 0;
  for (const piece of line.split(/(\u001b\[[0-9;]*m)/)) {
    const code = /^\u001b\[([0-9;]*)m$/.exec(piece);
    if (code === null) {
      for (const word of piece.matchAll(/\S+(?: \S+)*/g)) parts.push({ ...style, text: word[0], column: column + word.index });
      column += piece.length;
      continue;
    }
    for (const number of code[1].split(';').map(Number)) {
      if (number === 0) style = { colour: '#c9d1d9', bold: false, dim: false };
      else if (number === 1) style = { ...style, bold: true };
      else if (number === 2) style = { ...style, dim: true };
      else if (number === 22) style = { ...style, bold: false, dim: false };
      else if (number === 39) style = { ...style, colour: '#c9d1d9' };
      else if (colours[number] !== undefined) style = { ...style, colour: colours[number] };
    }
  }
  return parts;
}

const width = Math.ceil(Math.max(...lines.map((line) => plain(line).length)) * cell + 2 * margin);
const height = lines.length * row + 2 * margin + bar;
const text = lines.flatMap((line, index) => runs(line).map(({ text: words, column, colour, bold, dim }) =>
  `<text x="${(margin + column * cell).toFixed(1)}" y="${bar + margin + (index + 1) * row - 5}" textLength="${(words.length * cell).toFixed(1)}" lengthAdjust="spacingAndGlyphs" fill="${colour}"${bold ? ' font-weight="bold"' : ''}${dim ? ' opacity="0.65"' : ''}>${escape(words)}</text>`));
writeFileSync(out, `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escape(command.join(' '))}">
<rect width="${width}" height="${height}" rx="8" fill="#0d1117"/>
<circle cx="18" cy="16" r="5" fill="#ff7b72"/><circle cx="36" cy="16" r="5" fill="#e3b341"/><circle cx="54" cy="16" r="5" fill="#7ee787"/>
<text x="${width / 2}" y="20" text-anchor="middle" fill="#8b949e" font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="12">${escape(command.join(' '))}</text>
<g font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="13" xml:space="preserve">
${text.join('\n')}
</g>
</svg>
`);
