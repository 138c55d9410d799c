#!/usr/bin/env node
// Compares the processor with the oracles: bundles main.ts and the sources it uses, then runs it. `--help` tells the options.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { build } from 'esbuild';

// A fault that unwinds through the run loop while V8 has it in baseline code costs 50 µs: its offset table is walked from the start.
setFlagsFromString('--no-sparkplug');

const here = dirname(fileURLToPath(import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'ringside-oracle-'));
try {
  const outfile = join(directory, 'main.mjs');
  await build({ entryPoints: [join(here, 'main.ts')], bundle: true, platform: 'node', format: 'esm', target: 'node20', conditions: ['@ringside/source'], outfile, sourcemap: 'inline' });
  const { main } = await import(pathToFileURL(outfile).href);
  process.exitCode = await main(process.argv.slice(2), { sources: here, work: directory, root: join(here, '../..') });
} finally {
  rmSync(directory, { recursive: true, force: true });
}
