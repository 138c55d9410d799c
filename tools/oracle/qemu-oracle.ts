import { execFileSync, spawn } from 'node:child_process';
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createArena } from '../../libs/core/x86/src/testing/arena.js';
import { SHUTDOWN, TIMEOUT, type OracleCase, type OracleResult } from '../../libs/core/x86/src/testing/case.js';
import { OracleMissing } from './oracle-missing.js';
import { decodeResults, encodeCases } from './oracle-records.js';

/** Places in the RAM file: see qemu-runner/runner.c. */
const RAM_BYTES = 128 << 20, INPUT = 0x200_0000, OUTPUT = 0x400_0000;
const INPUT_BYTES = OUTPUT - INPUT, POLL_MS = 20;
/** A case runs for well under a millisecond; this much processor time without progress means that it hangs. In ticks of 10 ms, as /proc counts. */
const HANG_TICKS = 250;
const TEMPLATE_OFFSET = 0x1000;

/** Builds the resident runner kernel. Throws `OracleMissing` without gcc -m32 or QEMU. */
export function buildQemuRunner(sources: string, directory: string): string {
  const runner = join(directory, 'qemu-runner');
  try {
    execFileSync('qemu-system-i386', ['--version'], { stdio: 'pipe' });
  } catch {
    throw new OracleMissing('qemu-system-i386 is not installed (Debian: apt-get install qemu-system-x86)');
  }
  const path = (name: string): string => join(sources, 'qemu-runner', name);
  try {
    execFileSync('gcc', ['-m32', '-O2', '-ffreestanding', '-fno-pic', '-no-pie', '-fno-stack-protector', '-mgeneral-regs-only', '-fcf-protection=none', '-nostdlib', '-static',
      '-Wl,-z,noexecstack', `-Wl,-T,${path('link.ld')}`, '-Wl,--build-id=none', '-o', runner, path('boot.S'), path('runner.c')], { stdio: 'pipe' });
  } catch (error) {
    throw new OracleMissing(`cannot build 32-bit programs (Debian: apt-get install gcc-multilib): ${String((error as { stderr?: Buffer }).stderr ?? error).trim()}`);
  }
  return runner;
}

class RamFile {
  readonly path: string;
  private readonly file: number;

  constructor(directory: string) {
    this.path = join(directory, 'ram');
    this.file = openSync(this.path, 'w+');
    ftruncateSync(this.file, RAM_BYTES);
  }

  word(address: number): number {
    return this.read(address, 4).readUInt32LE();
  }

  setWord(address: number, value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value >>> 0);
    this.write(address, bytes);
  }

  read(address: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    readSync(this.file, bytes, 0, length, address);
    return bytes;
  }

  write(address: number, bytes: Uint8Array): void {
    writeSync(this.file, bytes, 0, bytes.length, address);
  }

  close(): void {
    closeSync(this.file);
  }
}

/** Time that a process has run, in user mode and in the kernel; 0 when it is gone. A busy host must not look like a hang. */
function processorTicks(pid: number | undefined): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
    return Number(fields[11]) + Number(fields[12]);
  } catch {
    return 0;
  }
}

/** One boot: runs until all cases are done, one hangs, or one shuts the processor down. */
async function boot(runner: string, ram: RamFile): Promise<'done' | 'shutdown' | 'hang'> {
  const child = spawn('qemu-system-i386', [
    '-machine', 'pc,accel=tcg,memory-backend=ram', '-object', `memory-backend-file,id=ram,size=${RAM_BYTES},mem-path=${ram.path},share=on`, '-m', `${RAM_BYTES >> 20}`,
    '-cpu', 'coreduo,-vmx', '-nodefaults', '-display', 'none', '-no-reboot', '-device', 'isa-debug-exit,iobase=0xf4,iosize=4', '-kernel', runner,
  ], { stdio: ['ignore', 'ignore', 'pipe'] });
  let message = '';
  child.stderr.on('data', (data: Buffer) => (message += data.toString()));
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', resolve);
  });
  let hung = false, seen = -1, since = 0;
  const poll = setInterval(() => {
    const done = ram.word(OUTPUT), now = processorTicks(child.pid);
    if (done !== seen) {
      seen = done;
      since = now;
    } else if (now - since > HANG_TICKS) {
      hung = true;
      child.kill('SIGKILL');
    }
  }, POLL_MS);
  const status = await ended;
  clearInterval(poll);
  if (hung) return 'hang';
  if (status === 1) return 'done'; // isa-debug-exit: (0 << 1) | 1
  if (status === 0) return 'shutdown';
  throw new Error(`qemu-system-i386 ended with ${status}: ${message}`);
}

function emptyResult(vector: number): OracleResult {
  return {
    vector, error: 0, cr2: 0, registers: new Uint32Array(8), eip: 0, eflags: 0, selectors: new Uint32Array(6),
    cr0: 0, cr4: 0, dr6: 0, tr: 0, gdtrBase: 0, gdtrLimit: 0, idtrBase: 0, idtrLimit: 0, changes: [],
  };
}

/** Runs cases in QEMU (TCG), thousands a boot. A case that shuts the processor down or hangs costs one more boot. */
export async function runOnQemu(runner: string, cases: readonly OracleCase[]): Promise<OracleResult[]> {
  const directory = mkdtempSync(join(tmpdir(), 'ringside-qemu-oracle-'));
  const ram = new RamFile(directory);
  try {
    const results: OracleResult[] = [];
    ram.write(INPUT + TEMPLATE_OFFSET, createArena());
    while (results.length < cases.length) {
      // As many cases as fit; each has at least one patch, and few are longer than 400 bytes.
      const batch = cases.slice(results.length, results.length + 40_000);
      const records = encodeCases(batch);
      const first = TEMPLATE_OFFSET + createArena().length;
      if (first + records.length > INPUT_BYTES) throw new Error('cases do not fit the input window');
      ram.write(INPUT + first, records);
      ram.setWord(INPUT, first);
      ram.setWord(INPUT + 4, first + records.length);
      ram.setWord(OUTPUT, 0);
      ram.setWord(OUTPUT + 4, 0x1000);
      const end = await boot(runner, ram);
      const finished = decodeResults(ram.read(OUTPUT + 0x1000, ram.word(OUTPUT + 4) - 0x1000));
      results.push(...finished);
      if (end !== 'done') results.push(emptyResult(end === 'hang' ? TIMEOUT : SHUTDOWN));
      else if (finished.length !== batch.length) throw new Error(`QEMU answered ${finished.length} of ${batch.length} cases`);
    }
    return results;
  } finally {
    ram.close();
    rmSync(directory, { recursive: true, force: true });
  }
}
