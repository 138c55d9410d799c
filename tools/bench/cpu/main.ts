#!/usr/bin/env node
// node --conditions @ringside/source … or, after a build: node tools/bench/cpu/dist/main.js [repeat]
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { benchLoop, geometricMean, LOOPS } from './bench-cpu.js';

const path = fileURLToPath(new URL('../loops.elf', import.meta.url));
const elf = new Uint8Array(readFileSync(path));
// Processor time, not wall time: other work on the machine should not show.
const now = (): number => { const { user, system } = process.cpuUsage(); return (user + system) / 1e6; };
const repeat = Number(process.argv[2] ?? 3);
const only = process.argv[3];
const results = LOOPS.filter(({ loop }) => only === undefined || loop === only).map((definition) => {
  const result = benchLoop(elf, definition, repeat, now);
  const host = spawnSync(path, [definition.selector, String(definition.count)]);
  const native = host.error === undefined ? (host.status === result.status ? 'same checksum as the host' : `host's checksum is ${host.status}`) : 'no host run';
  console.log(`${result.loop.padEnd(8)} ${result.mips.toFixed(1).padStart(7)} MIPS  ${(result.instructions / 1e6).toFixed(1)} M instructions, status ${result.status}, ${native}`);
  return result;
});
console.log(`geometric mean ${geometricMean(results).toFixed(1)} MIPS`);
