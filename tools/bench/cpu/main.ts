/**
 * `bench cpu`: million guest instructions a second of the five loops (loops.c), how many times longer they take than on the host's own processor, and how fast the same
 * loops run on each path beside native.
 *
 *   node dist/apps/bench-cpu.mjs [--json] [--repeat N] [--elf FILE [ARGUMENT …]]
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { benchProgram, geometricMean, LOOPS, type LoopResult } from './bench-cpu.js';
import { benchPaths, type PathColumn } from './paths.js';

/** `ringside bench cpu --json`. */
export interface CpuReport {
  schema: 'ringside.bench-cpu/1';
  /** `hostRatio`: guest time ÷ time of the same program on the host's processor; null where that cannot run 32-bit x86 Linux programs. */
  loops: (LoopResult & { hostRatio: number | null })[];
  geometricMeanMips: number;
  /** A column per path: speed over native's; empty with --elf. */
  paths: PathColumn[];
  node: string;
}

// Processor time, not wall time: other work on the machine should not show.
const now = (): number => { const { user, system } = process.cpuUsage(); return (user + system) / 1e6; };

const { values, positionals } = parseArgs({
  options: { json: { type: 'boolean', default: false }, repeat: { type: 'string', default: '3' }, elf: { type: 'string' } }, allowPositionals: true,
});
const repeat = Number(values.repeat);
if (!Number.isInteger(repeat) || repeat < 1) fail(`--repeat is "${values.repeat}": it has to be a whole number from 1 up`);

/** Beside a bundle, or in the sources. */
const loops = ['./loops.elf', '../loops.elf'].map((path) => new URL(path, import.meta.url)).find((url) => existsSync(url));
const file = values.elf ?? loops?.pathname ?? fail('loops.elf is not beside this program: build again');
const elf = new Uint8Array(readFileSync(file));
if (elf.length < 52 || Buffer.from(elf.subarray(0, 5)).toString('latin1') !== '\u007fELF\u0001') fail(`${file} is not a 32-bit ELF file`);

const programs = values.elf === undefined
  ? LOOPS.map(({ loop, selector, count }) => ({ loop, args: [selector, String(count)], warmUp: [selector, String(Math.ceil(count / 10))], more: [selector, String(count * 10)] }))
  : [{ loop: basename(values.elf), args: positionals, warmUp: positionals, more: null }];

const report: CpuReport = { schema: 'ringside.bench-cpu/1', loops: [], geometricMeanMips: 0, paths: [], node: process.version };
const directory = mkdtempSync(join(tmpdir(), 'ringside-bench-'));
try {
  const host = join(directory, 'host');
  writeFileSync(host, elf);
  chmodSync(host, 0o755);
  for (const { loop, args, warmUp, more } of programs) {
    const result = benchProgram(elf, { loop, args, warmUp }, repeat, now);
    const hostSeconds = timeOnHost(host, args, more, result.status);
    report.loops.push({ ...result, hostRatio: hostSeconds === null ? null : result.seconds / hostSeconds });
    if (!values.json) console.log(line(report.loops.at(-1)!));
  }
} catch (error) {
  fail(`${file}: ${error instanceof Error ? error.message : String(error)}`);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
report.geometricMeanMips = geometricMean(report.loops);
if (!values.json) console.log(`geometric mean ${report.geometricMeanMips.toFixed(1)} MIPS (ring 3, paging, limit checks and self-modification checks on; ${process.version})`);
if (values.elf === undefined) {
  try {
    report.paths = await benchPaths(elf, repeat, now);
  } catch (error) {
    fail(error instanceof Error ? error.message : String(error));
  }
}
console.log(values.json ? JSON.stringify(report, null, 2) : table(report.paths));

/** The same loops on each path, over native. */
function table(columns: readonly PathColumn[]): string {
  if (columns.length === 0) return '';
  const head = `\n${'× native (same engine, medians of pairs)'.padEnd(40)}${LOOPS.map(({ loop }) => loop.padStart(9)).join('')}     mean`;
  return [head, ...columns.map(({ column, ring, ratios, geometricMean: mean }) => `${`${column}${ring === 3 ? ', ring 3' : ', ring 0'}`.padEnd(40)}${ratios.map(({ ratio }) => ratio.toFixed(2).padStart(9)).join('')}${mean.toFixed(2).padStart(9)}`)].join('\n');
}

/** Seconds on the host: what nine times the work takes longer, so that starting a process is not in it. Null where the program cannot run there. */
function timeOnHost(program: string, args: readonly string[], more: readonly string[] | null, status: number): number | null {
  const run = (list: readonly string[]): { seconds: number; status: number | null } => {
    const begun = process.hrtime.bigint();
    const { status: ended, error } = spawnSync(program, list, { stdio: 'ignore' });
    return { seconds: Number(process.hrtime.bigint() - begun) / 1e9, status: error === undefined ? ended : null };
  };
  const once = run(args);
  if (once.status === null) return null;
  // The same program has to have come to the same end.
  if (once.status !== (status & 0xff)) throw new Error(`the guest's checksum is ${status & 0xff}, the host's ${once.status}`);
  if (more === null) return once.seconds;
  return Math.max(1e-9, (run(more).seconds - once.seconds) / 9);
}

function line({ loop, mips, instructions, hostRatio }: CpuReport['loops'][number]): string {
  return `${loop.padEnd(8)} ${mips.toFixed(1).padStart(7)} MIPS  ${(instructions / 1e6).toFixed(1).padStart(6)} M instructions  ${hostRatio === null ? 'the host cannot run it' : `${hostRatio.toFixed(1)} times the host's time`}`;
}

function fail(sentence: string): never {
  console.error(`ringside: ${sentence}`);
  process.exit(1);
}
