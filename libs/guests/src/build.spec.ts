import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const source = fileURLToPath(new URL('../', import.meta.url));

interface Outcome { code: number; output: string }
function build(argument: string, path = process.env['PATH']): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(join(source, 'build.sh'), [argument], { env: { ...process.env, PATH: path } }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), output: stdout + stderr });
    });
  });
}

test('the images are rebuilt bit for bit by the recorded compiler; another one says so', async () => {
  const recorded = (await readFile(join(source, 'compiler.txt'), 'utf8')).split('\n')[0]!;
  const { code, output } = await build('--check');
  // Where the recorded compiler is not installed, the script has to refuse, naming it.
  if (output.includes('built with another compiler')) expect([code, output]).toEqual([1, expect.stringContaining(recorded)]);
  else expect([code, output]).toEqual([0, 'build.sh: identical to what is committed\n']);
});

test('another compiler is refused with one clear message', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'guests-'));
  try {
    await writeFile(join(directory, 'gcc'), '#!/bin/sh\necho "gcc (Other 1.0) 99.0.0"\n');
    await chmod(join(directory, 'gcc'), 0o755);
    const { code, output } = await build('--check', `${directory}:${process.env['PATH']}`);
    expect(code).toBe(1);
    expect(output).toContain('gcc (Other 1.0) 99.0.0');
    expect(output).toContain('Debian 12');
  } finally {
    await rm(directory, { recursive: true });
  }
});
