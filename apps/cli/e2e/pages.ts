import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { repositoryRoot } from '../src/context.js';

/** A block of docs/paths that tools/docs/paths.mjs writes: the command that stands over it, and what it printed. */
export interface GeneratedBlock { page: string; command: string; text: string }

/** Those whose command matches, of every page. */
export function generatedBlocks(command: RegExp): GeneratedBlock[] {
  const directory = join(repositoryRoot(), 'docs/paths');
  return readdirSync(directory).filter((name) => name.endsWith('.md')).flatMap((page) =>
    [...readFileSync(join(directory, page), 'utf8').matchAll(/<!-- generated: (.+?) -->\n```text\n([\s\S]*?)\n?```/g)].map(([, generator, text]) => ({ page, command: generator!, text: text! })))
    .filter((block) => command.test(block.command));
}

/** As wide as tools/docs/paths.mjs asks for. */
export const PAGE_COLUMNS = { COLUMNS: '110' };
