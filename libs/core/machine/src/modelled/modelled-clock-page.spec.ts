import { readFileSync, writeFileSync } from 'node:fs';
import { PRIMITIVE_NAMES, PRIMITIVES, type Figure } from './cost-table.js';
import { COST_TABLES } from './generations.js';

const file = '../../../docs/modelled-clock.md';

const whence = ({ source }: Figure): string => ('quoted' in source ? `“${source.quoted}” ([where](${source.url}))` : `**assumed**: ${source.assumed}`);

/** The rows of each table as the code has them, by the heading they stand under. */
const TABLES: Record<string, readonly string[]> = {
  '## Primitives': PRIMITIVE_NAMES.map((name) => `| \`${name}\` | ${PRIMITIVES[name]} |`),
  ...Object.fromEntries(COST_TABLES.map(({ name, processor, features, figures }) => [
    `### modelled:${name}`,
    [`| *processor* | | ${processor}; VMX ${features.vmx ? 'yes' : 'no'}, EPT ${features.ept ? 'yes' : 'no'}, UMIP ${features.umip ? 'yes' : 'no'} |`,
      ...PRIMITIVE_NAMES.map((primitive) => ({ primitive, figure: figures[primitive] }))
        .map(({ primitive, figure }) => `| \`${primitive}\` | ${figure?.cycles ?? '–'} | ${figure === null ? 'not there' : whence(figure)} |`)],
  ])),
};

/** The page with the first table under each heading filled in. */
function filled(page: string): string {
  for (const [heading, rows] of Object.entries(TABLES)) {
    const rule = heading.startsWith('###') ? '|---|---|---|\n' : '|---|---|\n';
    const begin = page.indexOf(rule, page.indexOf(`${heading}\n`)) + rule.length;
    page = page.slice(0, begin) + rows.map((row) => `${row}\n`).join('') + page.slice(page.indexOf('\n\n', begin - 1) + 1);
  }
  return page;
}

// RINGSIDE_UPDATE_DOCS=1 writes the page anew.
test('the tables of modelled-clock.md are those of the code', () => {
  const page = readFileSync(file, 'utf8');
  const wanted = filled(page);
  if (process.env['RINGSIDE_UPDATE_DOCS'] === '1') writeFileSync(file, wanted);
  else expect(page).toBe(wanted);
});
