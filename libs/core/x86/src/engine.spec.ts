import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';

const root = fileURLToPath(new URL('../../../..', import.meta.url));

/**
 * V8 never optimizes a function of more than 61,440 bytes of bytecode (--max-optimized-bytecode-size): the run loop would fall from
 * well over a hundred MIPS to three, with nothing else to show it.
 */
it.each(['run', 'runTranslated'])('%s stays small enough for the optimizing compiler', (loop) => {
  const directory = mkdtempSync(join(tmpdir(), 'ringside-engine-'));
  try {
    const entry = join(directory, 'entry.ts');
    const source = (file: string): string => JSON.stringify(join(root, 'libs/core/x86/src', file));
    // Called once, it is compiled; on a processor without translated code it then fails.
    writeFileSync(entry, `import { Processor } from ${source('processor.ts')};\nimport { run } from ${source('engine.ts')};\nimport { runTranslated } from ${source('translated-engine.ts')};
const p = new Processor({ ramBytes: 0x10000 });\np.writePhysical('guest', 0x1000, Uint8Array.of(0x40, 0xf4));\np.setRegister('eip', 0x1000);\ntry { ${loop}(p.cpu, true); } catch {}\n`);
    const bundle = join(directory, 'entry.mjs');
    buildSync({ entryPoints: [entry], outfile: bundle, bundle: true, platform: 'node', format: 'esm', target: 'node20', conditions: ['@ringside/source'] });
    const name = new RegExp(`function (${loop}\\d*)\\(cpu, single\\)`).exec(readFileSync(bundle, 'utf8'))?.[1]; // the bundler may have renamed it
    const { stdout } = spawnSync(process.execPath, ['--print-bytecode', `--print-bytecode-filter=${name}`, bundle], { encoding: 'utf8', maxBuffer: 1 << 28 });
    const lengths = [...stdout.matchAll(/Bytecode length: (\d+)/g)].map(([, length]) => Number(length));
    const longest = lengths.reduce((most, length) => (length > most ? length : most), 0);
    expect(longest).toBeGreaterThan(20_000); // it is the run loop that was measured
    expect(longest).toBeLessThan(48_000);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

it('is what its generator writes', () => {
  const { stdout, status } = spawnSync(process.execPath, [join(root, 'tools/x86/generate-engine.mjs'), '--check'], { encoding: 'utf8' });
  expect({ status, stdout }).toEqual({ status: 0, stdout: expect.stringContaining('cases') });
});
