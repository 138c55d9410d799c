import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { alive, User } from './ringside.js';

let user: User;
beforeAll(async () => { user = await User.arrives(); });
afterAll(() => user.leaves());

test('demo tells the whole story, leaves the documents and nothing running', async () => {
  const out = await user.must(['demo', '--repeat', '1']);
  const paths = ['native', 'trap-and-emulate', 'paravirt', 'binary-translation', 'hardware-assisted, nested', 'hardware-assisted, shadow'];
  for (const heading of ['What starts', ...paths, 'One operation, 1 times on each path', 'What to look at', 'One trace: in on hardware-assisted, nested', 'Where to go on']) expect(out).toContain(`━━ ${heading}`);
  expect(out).toContain('Ringlet (unmodified, ring 0)');
  expect(out).toContain('Ringlet (paravirtualized, ring 1)');
  expect(out.match(/12 of 12 operations, a page printed, halt\. The machine is shutdown/g)).toHaveLength(paths.length);
  expect(out).toContain('It was misled: PUSHF');
  expect(out).toContain('call-ret: no exit on any path');
  expect(out).toMatch(/binary-translation: to boot, \d+ units were translated, [\d,]+ bytes of the guest's code into [\d,]+;/);
  expect(out).toContain('print: the same document on every path');
  expect(out).not.toContain('\u001b');

  const pids = [...out.matchAll(/process (\d+), port/g)].map(([, pid]) => Number(pid));
  expect(pids).toHaveLength(5);
  expect(pids.filter(alive)).toEqual([]);

  const documents = join(user.stateDirectory, 'documents');
  const texts = await Promise.all((await readdir(documents)).map((name) => readFile(join(documents, name), 'latin1')));
  // On each path one to warm up and one that is measured.
  expect(texts).toHaveLength(2 * paths.length);
  expect(new Set(texts).size).toBe(1);
  expect(texts[0]!.length).toBeGreaterThan(40);
});
