import { brotliCompressSync, constants } from 'node:zlib';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { compareResults, formatPatch, hex, SHUTDOWN, TIMEOUT, type OracleCase, type OracleResult } from '../../libs/core/x86/src/testing/case.js';
import { Random } from '../../libs/core/x86/src/testing/random.js';
import { CaseRunner } from '../../libs/core/x86/src/testing/run-case.js';
import { encodeVectors, type RecordedCase } from '../../libs/core/x86/src/testing/vector-file.js';
import { generateSystem } from './generate-system.js';
import { generateSequence, generateSingle, HOST_LAYOUT, randomLayout, USER_FORMS } from './generate-user.js';
import { buildHostRunner, runOnHost } from './host-oracle.js';
import { OracleMissing } from './oracle-missing.js';
import { correctQemu } from './qemu-exceptions.js';
import { buildQemuRunner, runOnQemu } from './qemu-oracle.js';

const USAGE = `Compares the processor with the host's own processor and with QEMU.

usage: node tools/oracle/run.mjs [options]
  --long            100,000 sequences, 37,000 single instructions, 60,000 system-level cases (default: 20,000 in all)
  --singles N       single instructions on the host, for each form
  --sequences N     instruction sequences on the host
  --system N        system-level cases in QEMU
  --seed N          another seed than the fixed one
  --only NAME       only cases whose name contains NAME
  --show N          differences to print in full (default 20)
  --record          write the vectors of the default tests instead of comparing
`;

export interface Places {
  /** This directory. */
  sources: string;
  /** A directory for programs built on the way. */
  work: string;
  root: string;
}

interface Amounts {
  singles: number;
  sequences: number;
  system: number;
  seed: number;
  only: string;
}

/** Cases are numbered in one row: the number seeds the registers (and a recorded case need not store them). */
function hostCases({ singles, sequences, seed }: Amounts): OracleCase[] {
  const random = new Random(seed);
  const cases: OracleCase[] = [];
  for (let round = 0; round < singles; round++) {
    for (const form of USER_FORMS) {
      const oracleCase = generateSingle(random, cases.length, form, random.oneIn(2) ? HOST_LAYOUT : randomLayout(random));
      if (oracleCase) cases.push(oracleCase);
    }
  }
  for (let index = 0; index < sequences; index++) cases.push(generateSequence(random, cases.length, HOST_LAYOUT));
  return cases;
}

function systemCases({ system, seed }: Amounts): OracleCase[] {
  const random = new Random(seed ^ 0x5157);
  return Array.from({ length: system }, (_, index) => generateSystem(random, index));
}

const usable = ({ expected }: RecordedCase): boolean => expected.vector !== TIMEOUT;

interface Oracles {
  host: (cases: OracleCase[]) => Promise<OracleResult[]>;
  qemu: (cases: OracleCase[]) => Promise<OracleResult[]>;
}

function buildOracles({ sources, work }: Places): Oracles {
  const hostRunner = buildHostRunner(sources, work), qemuRunner = buildQemuRunner(sources, work);
  return {
    host: (cases) => Promise.resolve(runOnHost(hostRunner, cases)),
    qemu: async (cases) => (await runOnQemu(qemuRunner, cases)).map((result, index) => correctQemu(cases[index] as OracleCase, result)),
  };
}

/** All cases with their answers, in batches that the runners can take. */
async function answered(cases: OracleCase[], batchLength: number, ask: (cases: OracleCase[]) => Promise<OracleResult[]>): Promise<RecordedCase[]> {
  const recorded: RecordedCase[] = [];
  for (let at = 0; at < cases.length; at += batchLength) {
    const batch = cases.slice(at, at + batchLength);
    (await ask(batch)).forEach((expected, index) => recorded.push({ oracleCase: batch[index] as OracleCase, expected }));
  }
  return recorded;
}

function differs(runner: CaseRunner, { oracleCase, expected }: RecordedCase): boolean {
  try {
    return compareResults(expected, runner.run(oracleCase), oracleCase.undefinedFlags).length > 0;
  } catch {
    return true;
  }
}

function describe({ oracleCase, expected }: RecordedCase, actual: OracleResult, lines: readonly string[], number: number): string {
  const { name, registers, eip, eflags, selectors, cr0, cr4, efer, patches } = oracleCase;
  return [
    `case ${number} "${name}"`,
    `  code and memory: ${patches.map(formatPatch).join(' ')}`,
    `  eip ${hex(eip)} eflags ${hex(eflags)} cr0 ${hex(cr0)} cr4 ${hex(cr4)} efer ${hex(efer)} selectors ${Array.from(selectors, hex).join(' ')}`,
    `  registers ${Array.from(registers, hex).join(' ')}`,
    `  ended with vector ${hex(expected.vector)} (ours ${hex(actual.vector)})`,
    ...lines.map((line) => `    ${line.slice(0, 400)}`),
  ].join('\n');
}

/**
 * Compares, and asks the oracle again where the answers differ: a timer interrupt of the host in the middle of a case can show (it makes null
 * selectors zero).
 */
async function compare(recorded: readonly RecordedCase[], show: number, ask: (cases: OracleCase[]) => Promise<OracleResult[]>): Promise<{ compared: number; different: number }> {
  const runner = new CaseRunner();
  const doubtful = recorded.filter((record) => usable(record) && differs(runner, record));
  const answers = doubtful.length === 0 ? [] : await ask(doubtful.map(({ oracleCase }) => oracleCase));
  doubtful.forEach((record, index) => { record.expected = answers[index] as OracleResult; });
  const byName = new Map<string, number>();
  let compared = 0, different = 0;
  recorded.forEach((record, number) => {
    if (!usable(record)) return;
    compared++;
    let lines: string[], actual = record.expected;
    try {
      actual = runner.run(record.oracleCase);
      lines = compareResults(record.expected, actual, record.oracleCase.undefinedFlags);
    } catch (error) {
      lines = [`our processor threw ${error instanceof Error ? error.stack : String(error)}`];
    }
    if (lines.length === 0) return;
    different++;
    const { name } = record.oracleCase;
    const seen = byName.get(name) ?? 0;
    byName.set(name, seen + 1);
    if (different <= show || (seen === 0 && show > 0 && byName.size <= 2 * show)) process.stdout.write(`${describe(record, actual, lines, number)}\n`);
  });
  for (const [name, count] of [...byName].sort((a, b) => b[1] - a[1])) process.stdout.write(`${String(count).padStart(6)} different: ${name}\n`);
  return { compared, different };
}

function record(recorded: readonly RecordedCase[], file: string): void {
  const packed = encodeVectors(recorded);
  const compressed = brotliCompressSync(packed, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24, [constants.BROTLI_PARAM_SIZE_HINT]: packed.length } });
  writeFileSync(file, compressed);
  process.stdout.write(`${file}: ${recorded.length} cases, ${compressed.length} bytes\n`);
}

export async function main(argv: string[], places: Places): Promise<number> {
  const { values } = parseArgs({
    args: argv,
    options: {
      help: { type: 'boolean' }, long: { type: 'boolean' }, record: { type: 'boolean' }, singles: { type: 'string' }, sequences: { type: 'string' }, system: { type: 'string' },
      seed: { type: 'string' }, only: { type: 'string' }, show: { type: 'string' },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const long = values.long ?? false;
  const amounts: Amounts = {
    singles: Number(values.singles ?? (long ? 80 : 20)), sequences: Number(values.sequences ?? (long ? 100_000 : 4000)), system: Number(values.system ?? (long ? 60_000 : 7000)),
    seed: Number(values.seed ?? 20_261_122), only: values.only ?? '',
  };
  try {
    const oracles = buildOracles(places);
    const pick = (cases: OracleCase[]): OracleCase[] => (amounts.only === '' ? cases : cases.filter(({ name }) => name.includes(amounts.only)));
    const user = await answered(pick(hostCases(amounts)), 50_000, oracles.host), system = await answered(pick(systemCases(amounts)), 20_000, oracles.qemu);
    if (values.record) {
      const directory = join(places.root, 'libs/core/x86/test/vectors');
      mkdirSync(directory, { recursive: true });
      for (const [name, cases] of [['user', user], ['system', system]] as const) record(cases, join(directory, `${name}.br`));
      return 0;
    }
    const show = Number(values.show ?? 20);
    const host = await compare(user, show, oracles.host), qemu = await compare(system, show, oracles.qemu);
    process.stdout.write(`host processor: ${host.compared} cases, ${host.different} different; QEMU: ${qemu.compared} cases, ${qemu.different} different\n`);
    const shutdowns = system.filter(({ expected }) => expected.vector === SHUTDOWN).length;
    const dropped = user.length + system.length - host.compared - qemu.compared;
    process.stdout.write(`${shutdowns} ended in shutdown; ${dropped} that the oracle did not finish were dropped\n`);
    return host.different + qemu.different > 0 ? 1 : 0;
  } catch (error) {
    if (!(error instanceof OracleMissing)) throw error;
    process.stderr.write(`cannot compare with the oracles: ${error.message}\n`);
    return 2;
  }
}
