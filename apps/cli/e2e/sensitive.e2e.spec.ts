import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Ajv } from 'ajv';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { repositoryRoot } from '../src/context.js';
import type { SensitiveReport, Verdict } from '../src/sensitive/result.js';
import { sensitiveSentences } from '../src/render/sensitive.js';
import { generatedBlocks } from './pages.js';
import { User } from './ringside.js';

let user: User;
let report: SensitiveReport;
beforeAll(async () => {
  user = await User.arrives();
  report = await user.json<SensitiveReport>(['sensitive']);
});
afterAll(() => user.leaves());

const verdictsOf = (name: string): Map<string, Verdict> => {
  const index = report.machines.findIndex((machine) => machine.name === name);
  return new Map(report.probes.flatMap(({ id, results }) => results[index] === null || results[index] === undefined ? [] : [[id, results[index].verdict] as const]));
};
const notSame = (name: string): string[] => [...verdictsOf(name)].filter(([, verdict]) => verdict !== 'same').map(([id]) => id);

describe('sensitive, over the bus', () => {
  test('is what its schema says, and native shows what the SDM says', async () => {
    const schema = JSON.parse(await readFile(join(repositoryRoot(), 'docs/schemas/sensitive-1.json'), 'utf8')) as object;
    const validate = new Ajv({ allErrors: true }).compile(schema);
    expect(validate(report) ? null : validate.errors).toBeNull();
    expect(report.probes.filter(({ nativeAsExpected }) => !nativeAsExpected)).toEqual([]);
  });

  test('nothing misleads a guest that is translated or runs on hardware assistance', () => {
    expect(notSame('binary-translation')).toEqual([]);
    expect(notSame('hardware-assisted')).toEqual([]);
  });

  test('applications are shown the monitor\'s tables where nothing keeps them from it: trap-and-emulate, and a generation without UMIP', () => {
    const leaks = ['sgdt-3', 'sidt-3', 'sldt-3', 'str-3', 'smsw-3'];
    expect(notSame('binary-translation, no UMIP')).toEqual(leaks);
    expect(notSame('trap-and-emulate')).toEqual(expect.arrayContaining(['pushf-0', 'popf-sets-0', 'popf-clears-0', 'push-cs-0', 'iret-0', ...leaks]));
  });

  test('docs/paths says the same', () => {
    expect(generatedBlocks(/^\.\/ringside sensitive /).map(({ text }) => text.split('\n'))).toEqual([sensitiveSentences(report)]);
  });

  test('a paravirtualized kernel is shown its ring', () => {
    const shown = report.probes.find(({ id }) => id === 'push-cs-0')!.results;
    const ring = (name: string): string | undefined => shown[report.machines.findIndex((machine) => machine.name === name)]?.saw;
    expect([ring('paravirt, ring 1'), ring('paravirt, ring 3')]).toEqual([expect.stringMatching(/RPL 1$/), expect.stringMatching(/RPL 3$/)]);
  });
});
