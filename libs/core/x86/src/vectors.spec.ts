import { setFlagsFromString } from 'node:v8';
import { readFileSync } from 'node:fs';
import { brotliDecompressSync } from 'node:zlib';
import { compareResults, formatPatch, hex, TIMEOUT } from './testing/case.js';
import { opcodeOf } from './testing/opcode-of.js';
import { CaseRunner } from './testing/run-case.js';
import { decodeVectors, encodeVectors, type RecordedCase } from './testing/vector-file.js';
import { CODE, CODE_BYTES } from './testing/arena.js';
import { OPCODES } from './opcodes.js';

// A fault that unwinds through the run loop while V8 has it in baseline code costs 50 µs: its offset table is walked from the start.
setFlagsFromString('--no-sparkplug');

/**
 * Cases with the answers of sources that are not us, recorded by `node tools/oracle/run.mjs --record`: `user` by an x86 processor running
 * 32-bit code, `system` by QEMU. Known errors of the oracles: tools/oracle/qemu-exceptions.ts.
 */
const load = (name: string): RecordedCase[] => decodeVectors(brotliDecompressSync(readFileSync(new URL(`../test/vectors/${name}.br`, import.meta.url))));
const files = { user: load('user'), system: load('system') };

function differences(recorded: readonly RecordedCase[], runner: CaseRunner): string[] {
  return recorded.flatMap(({ oracleCase, expected }, number) => {
    if (expected.vector === TIMEOUT) return [];
    const lines = compareResults(expected, runner.run(oracleCase), oracleCase.undefinedFlags);
    return lines.length === 0 ? [] : [`case ${number} "${oracleCase.name}" at ${hex(oracleCase.eip)}, ${oracleCase.patches.map(formatPatch).join(' ')}: ${lines.join('; ')}`];
  });
}

describe('recorded vectors', () => {
  it.each(['user', 'system'] as const)('%s: every case ends as the oracle says', (name) => {
    expect(differences(files[name], new CaseRunner())).toEqual([]);
  });

  it('end the same when the budget cuts after every instruction', () => {
    const part = [...files.user, ...files.system].filter((_, index) => index % 8 === 0);
    expect(differences(part, new CaseRunner(1))).toEqual([]);
  });

  it('are at least 20,000, of which the oracles finished nearly all', () => {
    const all = [...files.user, ...files.system];
    expect(all.length).toBeGreaterThanOrEqual(20_000);
    expect(all.filter(({ expected }) => expected.vector === TIMEOUT).length).toBeLessThan(20);
  });

  it('reach every row of the opcode table at least ten times', () => {
    const counts = new Map<string, number>();
    for (const { oracleCase: { patches, name } } of [...files.user, ...files.system]) {
      if (name === 'sequence') continue;
      const code = patches.findLast(({ offset }) => offset >= CODE && offset < CODE + CODE_BYTES);
      const row = code ? opcodeOf(code.bytes) : null;
      if (row) counts.set(row.code, (counts.get(row.code) ?? 0) + 1);
    }
    const missing = OPCODES.filter(({ code, needs }) => needs === null && !NOT_BY_ORACLE.has(code) && (counts.get(code) ?? 0) < 10).map(({ code, mnemonic }) => `${code} ${mnemonic}: ${counts.get(code) ?? 0}`);
    expect(missing).toEqual([]);
  });

  it('survive being written and read', () => {
    const part = files.system.slice(0, 200);
    expect(decodeVectors(encodeVectors(part))).toEqual(part);
  });
});

/** Rows whose result is the machine's own (identity, time, ring -1), so that no oracle can say it; other specs test them. */
const NOT_BY_ORACLE = new Set(['0F01:C1', '0F31', '0F33', '0FA2']);
