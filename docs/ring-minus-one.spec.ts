import { describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { hardwareAssistedExits, hypercalls, paravirtExits } from '@ringside/vmm';
import { exitReasonName } from '@ringside/x86';

const page = readFileSync(join(process.cwd(), 'ring-minus-one.md'), 'utf8');
const rows = (from: string, to: string): string[] => page.slice(page.indexOf(from), page.indexOf(to)).split('\n').filter((line) => /^\| (0x)?[0-9a-f]+ \|/.test(line));
const exitRow = (reason: number, summary: string): string => `| ${reason < 0x100 ? reason : `0x${reason.toString(16)}`} | \`${exitReasonName(reason)}\` | ${summary} |`;

describe('the tables of ring-minus-one.md are the registries', () => {
  test('exits of a hardware-assisted guest', () => {
    const registered = [...hardwareAssistedExits.summaries()].sort(([one], [other]) => one - other);
    expect(rows('## Hardware-assisted', '## Paravirt')).toEqual(registered.map(([reason, summary]) => exitRow(reason, summary)));
  });

  test('exits of a paravirtualized guest', () => {
    const registered = [...paravirtExits.values()].sort((one, other) => one.reason - other.reason);
    expect(rows('## Paravirt', '### Direct paging')).toEqual(registered.map(({ reason, summary }) => exitRow(reason, summary)));
  });

  test('hypercalls', () => {
    const registered = hypercalls.list().sort((one, other) => one.number - other.number);
    expect(rows('### Hypercalls', '### Where this differs')).toEqual(registered.map(({ number, name, summary }) => `| ${number} | \`${name}\` | ${summary} |`));
  });
});
