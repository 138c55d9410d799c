import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ARENA_BASE, createArena, GDT, IDT, TSS_SELECTOR } from '../../libs/core/x86/src/testing/arena.js';
import { TIMEOUT, type OracleCase, type OracleResult } from '../../libs/core/x86/src/testing/case.js';
import { decodeResults, encodeCases } from './oracle-records.js';
import { OracleMissing } from './oracle-missing.js';

/** Builds the runner for 32-bit user code. Throws `OracleMissing` where gcc cannot make such programs. */
export function buildHostRunner(sources: string, directory: string): string {
  const runner = join(directory, 'host-runner');
  if (process.arch !== 'x64') throw new OracleMissing('the host processor as an oracle needs an x86-64 Linux host');
  try {
    execFileSync('gcc', ['-m32', '-static', '-O2', '-fno-stack-protector', '-o', runner, join(sources, 'host-runner/runner.c')], { stdio: 'pipe' });
  } catch (error) {
    throw new OracleMissing(`cannot build 32-bit programs (Debian: apt-get install gcc-multilib): ${String((error as { stderr?: Buffer }).stderr ?? error).trim()}`);
  }
  return runner;
}

/** Addresses where a case meets the runner itself: its program, its files, and what the kernel maps at the top. */
const isRunner = (address: number): boolean => (address >= 0x0804_8000 && address < 0x0a00_0000) || (address >= 0x7400_0000 && address < 0x8300_0000) || address >= 0xf700_0000;

/** Runs user-mode cases (flat segments of ring 3, both windows) on the host's own processor. */
export function runOnHost(runner: string, cases: readonly OracleCase[]): OracleResult[] {
  const directory = mkdtempSync(join(tmpdir(), 'ringside-host-oracle-'));
  try {
    const input = join(directory, 'cases'), output = join(directory, 'results');
    writeFileSync(input, Buffer.concat([createArena(), encodeCases(cases)]));
    execFileSync(runner, [input, output], { stdio: 'pipe' });
    const results = decodeResults(readFileSync(output));
    if (results.length !== cases.length) throw new Error(`the host runner answered ${results.length} of ${cases.length} cases`);
    // A process cannot see its system registers, nor change them: they stay as the case set them.
    results.forEach((result, index) => {
      const { cr0, cr4, eip, name, registers } = cases[index] as OracleCase;
      Object.assign(result, { cr0, cr4, dr6: 0xffff_0ff0, tr: TSS_SELECTOR, gdtrBase: ARENA_BASE + GDT, gdtrLimit: 0x3ff, idtrBase: ARENA_BASE + IDT, idtrLimit: 0xff });
      // PUSHA, ENTER and POPA that fault may have done a part: the SDM leaves it open, our processor does nothing.
      if (result.eip === eip && (name === 'pusha' || name === 'enter')) result.changes = [];
      if (result.eip === eip && name === 'popa') result.registers = registers.slice();
      if (result.vector === 14 && isRunner(result.cr2)) result.vector = TIMEOUT; // nothing to learn from
      if (result.vector !== TIMEOUT && result.vector > 31) throw new Error(`case ${index} ended with trap ${result.vector}`);
    });
    return results;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
