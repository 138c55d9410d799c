import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Ajv } from 'ajv';
import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { diskImage, guestImage } from '@ringside/guests';
import type { OperationName, VmSpec } from '@ringside/machine';
// eslint-disable-next-line @nx/enforce-module-boundaries -- no app uses the machine in one process; a test may compare with it
import { SingleProcess } from '@ringside/single-process';
import { ringletShell } from '../src/commands/compare.js';
import { COMPARED } from '../src/compare/operations.js';
import { resultOf, total, type Comparison, type OperationResult } from '../src/compare/result.js';
import { script } from '../src/compare/run.js';
import { repositoryRoot } from '../src/context.js';
import { vmSpec } from '../src/session/vm-spec.js';
import type { JaegerFile } from '../src/traces/jaeger-file.js';
import { generatedBlocks, PAGE_COLUMNS } from './pages.js';
import { User } from './ringside.js';

const TWICE = ['syscall', 'in', 'page-fault', 'fork', 'disk-read', 'empty'];
let user: User;
let comparison: Comparison;
/** Some of it with two repetitions, under a modelled clock: which changes no count. */
let twice: Comparison;
beforeAll(async () => {
  user = await User.arrives();
  comparison = await user.json<Comparison>(['compare', '--no-warm-up', '--ops', 'all,empty', '--repeat', '1', '--trace-file', join(user.stateDirectory, 'traces.json')]);
  twice = await user.json<Comparison>(['compare', '--no-warm-up', '--ops', `boot,${TWICE.join()}`, '--repeat', '2', '--paths', 'native,binary-translation,hardware-assisted', '--clock', 'modelled:nehalem', '--sensitivity']);
});
afterAll(() => user.leaves());

const validate = new Ajv({ allErrors: true }).compile(JSON.parse(readFileSync(join(repositoryRoot(), 'docs/schemas/compare-1.json'), 'utf8')) as object);
const exact = ({ schema, guest, clock, results }: Comparison): unknown => ({ schema, guest, clock, results: results.map(({ wall: _wall, traceId: _traceId, ...counts }) => counts) });
const counts = (results: readonly OperationResult[]): unknown => results.map(({ wall: _wall, traceId: _traceId, addsOverNative: _adds, primitives: _primitives, ...rest }) => rest);
/** Of a path that ran with two mmus the first, unless the other is asked for. */
const find = (of: Comparison, operation: string, path: string, mmu?: string): OperationResult =>
  of.results.find((result) => result.operation === operation && result.path === path && (mmu === undefined || result.mmu === mmu))!;
const SETTINGS = ['native none', 'trap-and-emulate shadow', 'paravirt direct', 'binary-translation shadow', 'hardware-assisted nested', 'hardware-assisted shadow'];
const translations = ({ messages }: OperationResult): number => messages['translate'] ?? 0;

describe('compare --ops all', () => {
  test('every operation runs on every path, and the JSON is what its schema says', () => {
    expect(validate(comparison) ? null : validate.errors).toBeNull();
    expect(comparison.results.map(({ operation, path, mmu, status }) => `${operation} ${path} ${mmu} ${status}`)).toEqual(
      [...COMPARED.map(({ name }) => name), 'empty'].flatMap((operation) => SETTINGS.map((setting) => `${operation} ${setting} ${setting.startsWith('trap-and-emulate') ? 'misled' : 'ok'}`)));
    // Interrupts are off when the kernel first saves its flags; in ring 1 it sees the real IF, which is on.
    expect(find(comparison, 'boot', 'trap-and-emulate').reason).toMatch(/^PUSHF \(9c\) at 0x[0-9a-f]{8} in ring 1 saw EFLAGS 0x2\w\w, in ring 0 EFLAGS 0x\w\w: the first of \d+ /);
  });

  test('twice under the virtual clock: the same but for wall and traceId', async () => {
    const paths = ['native', 'hardware-assisted'];
    const again = await user.json<Comparison>(['compare', '--no-warm-up', '--ops', 'all,empty', '--repeat', '1', '--paths', paths.join(), '--mmu', 'nested']);
    expect(exact(again)).toEqual(exact({ ...comparison, results: comparison.results.filter(({ path, mmu }) => paths.includes(path) && mmu !== 'shadow') }));
  });

  test.each(SETTINGS)('the machine in one process, joined by plain calls, counts the same: %s', async (setting) => {
    const [path, mmu] = setting.split(' ') as [VmSpec['path'], VmSpec['mmu']];
    const typed = [...COMPARED.map(({ name }) => name), 'empty'].filter((operation) => operation !== 'boot') as OperationName[];
    const spec = vmSpec({ id: 'one', path, mmu, clock: 'virtual', guest: path === 'paravirt' ? 'ringlet-pv' : 'ringlet', script: script(ringletShell, typed, 1) });
    const whole = await SingleProcess.create({ spec, image: await guestImage(spec.guest as 'ringlet'), disk: await diskImage('ringlet') });
    await whole.machine.run();
    const { operations, misled } = whole.machine.statistics();
    const counted = operations.map((record) => resultOf(spec, record, misled ?? null));
    expect(counts(counted)).toEqual(counts(comparison.results.filter((result) => result.path === path && (path === 'native' || result.mmu === mmu))));
  });

  test('2N repetitions less the empty loop: exactly twice the exits and messages of N', () => {
    for (const { operation, path, mmu } of twice.results) {
      if (operation === 'boot' || operation === 'empty') continue;
      const net = (of: Comparison): unknown => {
        const [one, empty] = [find(of, operation, path, mmu), find(of, 'empty', path, mmu)];
        const factor = of === twice ? 2 : 1;
        const less = (pick: (result: OperationResult) => Record<string, number>): unknown =>
          Object.fromEntries(Object.keys(pick(one)).sort().map((key) => [key, (pick(one)[key]! - (pick(empty)[key] ?? 0)) / factor]));
        // Code is translated when it is reached first, however often it runs.
        return { operation, path, mmu, exits: less(({ exits }) => exits), messages: less(({ messages: { translate: _, ...messages } }) => messages), hypercalls: (one.hypercalls - empty.hypercalls) / factor };
      };
      expect(net(twice)).toEqual(net(comparison));
      // The way back to the loop's beginning, at most.
      expect(translations(find(twice, operation, path, mmu)) - translations(find(comparison, operation, path, mmu))).toBeLessThanOrEqual(1);
    }
  });

  test('cycles come with a modelled clock alone, and with them which orderings survive', () => {
    expect(comparison.results.every(({ cycles, primitives }) => cycles === null && primitives === null) && comparison.sensitivity === undefined).toBe(true);
    for (const { operation, path, cycles } of twice.results) expect([operation, path, operation === 'empty' ? cycles === 0 : cycles! > 0]).toEqual([operation, path, true]);
    const fork = twice.sensitivity!.find(({ operation, faster, slower }) => operation === 'fork' && faster === 'native' && slower === 'hardware-assisted, shadow')!;
    expect(fork.lostBy).toEqual([]);
    expect(validate(twice) ? null : validate.errors).toBeNull();
  });

  test.each([['binary-translation', 'shadow'], ['hardware-assisted', 'nested']] as const)('what ring -1 is charged for travels: the primitives of the same run in one process, %s', async (path, mmu) => {
    const operations = ['boot', ...TWICE] as OperationName[];
    const spec = vmSpec({ id: 'one', path, mmu, clock: 'modelled:nehalem', guest: 'ringlet', script: script(ringletShell, operations.filter((operation) => operation !== 'boot'), 2) });
    const whole = await SingleProcess.create({ spec, image: await guestImage(spec.guest as 'ringlet'), disk: await diskImage('ringlet') });
    await whole.machine.run();
    expect(whole.machine.recorder.records.map(({ operation, primitives, lastRepetition }) => ({ operation, primitives: lastRepetition ?? primitives })))
      .toEqual(operations.map((operation) => ({ operation, primitives: find(twice, operation, path, mmu).primitives })));
  });

  test('natively nothing exits; an exit is a message, and so is what it asks the board', () => {
    for (const result of comparison.results) {
      if (result.path === 'native') expect(result.exits).toEqual({});
      for (const [reason, count] of Object.entries(result.exits)) expect(result.messages[`exit.${reason}`]).toBe(count);
    }
    const one = find(comparison, 'in', 'hardware-assisted');
    expect(one.exits).toEqual({ 'io-instruction': 1 });
    expect(one.messages).toEqual({ 'exit.io-instruction': 1, 'io.port': 1 });
    expect(find(comparison, 'in', 'native').messages).toEqual({ 'io.port': 1 });
    for (const path of ['native', 'paravirt', 'binary-translation', 'hardware-assisted']) expect(total(find(comparison, 'call-ret', path).exits)).toBe(0);
  });

  test('native, hardware-assisted, binary-translation and, in what it measures, trap-and-emulate retire the same instructions', () => {
    for (const { operation, retired } of comparison.results.filter(({ path }) => path === 'native')) {
      for (const [path, mmu] of [['hardware-assisted', 'nested'], ['hardware-assisted', 'shadow'], ['binary-translation', 'shadow']] as const) {
        expect({ operation, path, mmu, retired: find(comparison, operation, path, mmu).retired }).toEqual({ operation, path, mmu, retired });
      }
      if (operation === 'syscall' || operation === 'in' || operation === 'pte-modify') expect({ operation, retired: find(comparison, operation, 'trap-and-emulate').retired }).toEqual({ operation, retired });
    }
  });

  test('what is translated is counted; boot stays within 6,000 exits and misses', () => {
    for (const { path, translation, messages } of comparison.results) {
      if (path !== 'binary-translation') expect(translation).toBeNull();
      else expect(translation).toMatchObject({ messages: messages['translate'] ?? 0, units: messages['translate'] ?? 0 });
    }
    const boot = find(comparison, 'boot', 'binary-translation');
    expect(boot.translation!.units).toBeGreaterThan(100);
    expect(boot.translation!.hostBytes).toBeGreaterThan(boot.translation!.guestBytes);
    expect(total(boot.exits) + translations(boot)).toBeLessThan(6_000);
  });

  test('a translation miss is a span with its unit, the message to a translator under it', async () => {
    const file = JSON.parse(await readFile(join(user.stateDirectory, 'traces.json'), 'utf8')) as JaegerFile;
    const trace = file.data.find(({ traceID }) => traceID === find(comparison, 'boot', 'binary-translation').traceId)!;
    const serviceOf = (span: (typeof trace.spans)[number]): string => trace.processes[span.processID]!.serviceName;
    const translate = trace.spans.filter(({ operationName }) => operationName === 'translate');
    const parentOf = (span: (typeof trace.spans)[number]): string | undefined => span.references[0]?.spanID;
    const server = translate.find((span) => serviceOf(span) === 'translator')!;
    const client = translate.find(({ spanID }) => spanID === parentOf(server))!;
    const whole = translate.find(({ spanID }) => spanID === parentOf(client))!;
    expect([serviceOf(client), serviceOf(whole)]).toEqual(['guest-cpu', 'guest-cpu']);
    expect(whole.tags.map(({ key }) => key)).toEqual(expect.arrayContaining(['ringside.guest.eip', 'ringside.unit.at', 'ringside.unit.hash', 'ringside.unit.guest_bytes', 'ringside.unit.host_bytes']));
  });

  test('each operation has its trace: spans of the services it met, every parent in the trace, in a file that Jaeger takes', async () => {
    const file = JSON.parse(await readFile(join(user.stateDirectory, 'traces.json'), 'utf8')) as JaegerFile;
    const { traceId } = find(comparison, 'print', 'hardware-assisted');
    const trace = file.data.find(({ traceID }) => traceID === traceId)!;
    expect(Object.values(trace.processes).map(({ serviceName }) => serviceName).sort()).toEqual(['device-model', 'guest-cpu', 'hypervisor']);
    for (const { spans } of file.data) {
      expect(spans.length).toBeLessThanOrEqual(2_000);
      const ids = new Set(spans.map(({ spanID }) => spanID));
      expect(spans.filter(({ references }) => references.length === 0)).toHaveLength(1);
      for (const { references } of spans) for (const { spanID } of references) expect(ids.has(spanID)).toBe(true);
    }
    const printed = await user.must(['trace', traceId!.slice(0, 12), '--limit', '5']);
    expect(printed).toContain('print on hardware-assisted');
    expect(printed).toMatch(/device-model/);
  });

  test('docs/paths counts what this run counts (node tools/docs/paths.mjs writes it anew)', async () => {
    const file = join(user.stateDirectory, 'compare.json');
    await writeFile(file, JSON.stringify(comparison));
    const blocks = generatedBlocks(/ --from compare\.json /);
    expect(new Set(blocks.map(({ page }) => page)).size).toBe(6);
    for (const { page, command, text } of blocks) {
      const args = command.split(' ').slice(1).map((word) => word === 'compare.json' ? file : word);
      const { code, out } = await user.run(args, { environment: PAGE_COLUMNS });
      expect([page, command, code, out.trimEnd()]).toEqual([page, command, 0, text]);
    }
  });
});
