import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { runCommandLine } from '../program.js';
import { Terminal } from '../terminal.js';

class Sink extends Writable {
  text = '';
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

/** One command line in this process, as a pipe would see it, with a state directory of its own. */
export async function runInProcess(args: string[], environment: Record<string, string> = {}): Promise<{ code: number; out: string; err: string; stateDirectory: string }> {
  const [out, err] = [new Sink(), new Sink()];
  const stateDirectory = environment['RINGSIDE_STATE'] ?? await mkdtemp(join(tmpdir(), 'ringside-test-'));
  const code = await runCommandLine(args, { terminal: new Terminal(out, err, environment), environment: { PATH: process.env['PATH'], ...environment }, stateDirectory, appsDirectory: join(stateDirectory, 'apps') });
  return { code, out: out.text, err: err.text, stateDirectory };
}
