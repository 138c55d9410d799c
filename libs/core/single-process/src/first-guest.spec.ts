import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SingleProcess, specOf } from './single-process.js';

const root = fileURLToPath(new URL('../../../../', import.meta.url));
const page = readFileSync(join(root, 'docs/first-guest.md'), 'utf8');
const source = 'libs/guests/first-guest/first.S';

function hasCompiler(): boolean {
  try {
    execFileSync('gcc', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** The command of the page, run as a student would, but for where the result goes. */
function buildAsThePageSays(): Uint8Array {
  const line = /^gcc .*$/m.exec(page)![0];
  const directory = mkdtempSync(join(tmpdir(), 'first-guest-'));
  try {
    const elf = join(directory, 'first.elf');
    const words = line.split(' ').slice(1).map((word) => (word === 'first.elf' ? elf : word));
    execFileSync('gcc', words, { cwd: root });
    return readFileSync(elf);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('the page shows the program as it is', () => {
  expect(page).toContain(`\`\`\`asm\n${readFileSync(join(root, source), 'utf8')}\`\`\``);
});

(hasCompiler() ? describe : describe.skip)('the first guest, built with gcc', () => {
  const message = 'Hello from ring 0!\r\n';
  const image = hasCompiler() ? buildAsThePageSays() : new Uint8Array(0);

  test('says hello and switches itself off; each access is an exit', async () => {
    const whole = await SingleProcess.create({ spec: specOf({ path: 'hardware-assisted', mmu: 'nested' }), image });
    await whole.machine.run();
    expect([whole.machine.state, whole.console]).toEqual(['shutdown', message]);
    expect(whole.machine.recorder.records[0]!.exits).toMatchObject({ 'io-instruction': message.length + 1 });
  });

  test('on native the same accesses are bus cycles', async () => {
    const whole = await SingleProcess.create({ spec: specOf(), image });
    await whole.machine.run();
    expect([whole.machine.state, whole.console]).toEqual(['shutdown', message]);
    expect(whole.machine.recorder.records[0]!.exits).toEqual({});
    expect(whole.busRequests).toBe(message.length + 1);
  });
});
