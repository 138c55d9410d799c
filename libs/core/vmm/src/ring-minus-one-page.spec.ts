import { readFileSync, writeFileSync } from 'node:fs';
import { exitReasonName } from '@ringside/x86';
import { hardwareAssistedExits, hypercalls, paravirtExits } from './index.js';

const file = '../../../docs/ring-minus-one.md';
const exitRow = (reason: number, summary: string): string => `| ${reason < 0x100 ? reason : `0x${reason.toString(16)}`} | \`${exitReasonName(reason)}\` | ${summary} |`;

/** The rows of each table as the registries have them, by the heading they stand under. */
const TABLES: Record<string, string[]> = {
  '## Hardware-assisted': [...hardwareAssistedExits.summaries()].sort(([one], [other]) => one - other).map(([reason, summary]) => exitRow(reason, summary)),
  '## Paravirt': [...paravirtExits.values()].sort((one, other) => one.reason - other.reason).map(({ reason, summary }) => exitRow(reason, summary)),
  '### Hypercalls': hypercalls.list().sort((one, other) => one.number - other.number).map(({ number, name, summary }) => `| ${number} | \`${name}\` | ${summary} |`),
};

/** The page with the first table under each heading filled in. */
function filled(page: string): string {
  for (const [heading, rows] of Object.entries(TABLES)) {
    const begin = page.indexOf('|---|---|---|\n', page.indexOf(`${heading}\n`)) + '|---|---|---|\n'.length;
    page = page.slice(0, begin) + rows.map((row) => `${row}\n`).join('') + page.slice(page.indexOf('\n\n', begin) + 1);
  }
  return page;
}

// RINGSIDE_UPDATE_DOCS=1 writes the page anew.
test('the tables of ring-minus-one.md are the registries', () => {
  const page = readFileSync(file, 'utf8');
  const wanted = filled(page);
  if (process.env['RINGSIDE_UPDATE_DOCS'] === '1') writeFileSync(file, wanted);
  else expect(page).toBe(wanted);
});
