import { describe, expect, test } from '@jest/globals';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

const root = join(process.cwd(), '..');
const pages = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.md')).map((name) => join('docs', name)),
];
const read = (page: string): string => readFileSync(join(root, page), 'utf8');
/** Outside code blocks: what a reader can click. */
const prose = (text: string): string => text.replace(/```[\s\S]*?```/g, '').replace(/`[^`\n]*`/g, '');

describe('documentation', () => {
  test('the pages that a newcomer looks for are there', () => {
    expect(pages).toEqual(expect.arrayContaining(['README.md', 'CONTRIBUTING.md', 'docs/architecture.md', 'docs/kubernetes.md', 'docs/tracing.md', 'docs/roadmap.md', 'docs/first-guest.md', 'docs/adr/README.md']));
    expect(read('README.md')).toContain('./ringside demo');
  });

  test.each(pages)('%s: its links lead somewhere', (page) => {
    const links = [...prose(read(page)).matchAll(/\]\(([^)\s]+)\)|(?:src|href)="([^"]+)"/g)].map((match) => match[1] ?? match[2]!);
    for (const link of links.filter((target) => !/^(https?:|mailto:|#)/.test(target))) {
      const target = join(root, dirname(page), link.split('#')[0]!);
      expect(existsSync(target) ? link : `${link} leads nowhere`).toBe(link);
      expect(relative(root, target).startsWith('..')).toBe(false);
    }
  });

  test('the list of decisions is complete, and each says its status, when, and what it describes', () => {
    const list = read('docs/adr/README.md');
    for (const page of pages.filter((name) => /adr\/\d{4}-/.test(name))) {
      expect(list).toContain(`(${page.split('/').at(-1)})`);
      expect(read(page)).toMatch(/^# \d{4} .+\n\n\| Status \| Decided \| Describes \|\n\|---\|---\|---\|\n\| (accepted|replaced by \d{4}) \| \d{4}-\d{2}-\d{2} \| .+ \|\n/);
    }
  });

  test('docs/paths: every block that is written by a command is there, and its code is the guest\'s', () => {
    const images = ['ringlet.elf', 'ringlet-pv.elf'].map((name) => readFileSync(join(root, 'libs/guests/images', name)));
    const blocks = pages.filter((page) => page.startsWith('docs/paths/')).flatMap((page) =>
      [...read(page).matchAll(/<!-- generated: (.+?) -->\n(?:```text\n([\s\S]*?)```)?/g)].map(([, command, text]) => ({ page, command: command!, lines: (text ?? '').split('\n').filter((line) => line !== '') })));
    expect(blocks.length).toBeGreaterThan(15);
    for (const { page, command, lines } of blocks) {
      expect([page, command, lines.length > 0]).toEqual([page, command, true]);
      if (!/^\.\/ringside disassemble (?!--translated)/.test(command)) continue;
      // The hypercall page is empty in the image: ring -1 fills it.
      const code = Buffer.from(lines.map((line) => /^ +[0-9a-f]{8} +([0-9a-f]+) /.exec(line)![1]).join(''), 'hex');
      const found = images.some((image) => image.includes(code));
      expect([page, command, found || command.includes('paravirt 0xc0100020')]).toEqual([page, command, true]);
    }
  });

  test('every ./ringside command that a page shows exists', () => {
    const commands = new Set(['test', 'demo', 'compare', 'sensitive', 'recap', 'up', 'down', 'status', 'vm', 'exits', 'trace', 'disassemble', 'bench']);
    for (const page of pages) {
      for (const [, command] of read(page).matchAll(/\.\/ringside ([a-z]+)/g)) expect(commands.has(command!) ? command : `${page}: ./ringside ${command}`).toBe(command);
    }
  });
});
