import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import type { NatsConnection } from '@nats-io/transport-node';
import { connectNats, instanceName } from '@ringside/nats-transport';
import { decodeTranslationRequest, encodeTranslationReply, readAskingVm, readHeader, TRANSLATE_SUBJECT, type RegistersView, type ServiceStatus, type VmRecord, type VmStatistics } from '@ringside/protocol';
import { isRefused, translate, type TranslationRequest, type TranslationUnit } from '@ringside/translation';
import { repositoryRoot } from '../src/context.js';
import type { RunningState } from '../src/session/state-file.js';
import { until, User } from './ringside.js';

let user: User;
let state: RunningState;
const processes: ChildProcess[] = [];
beforeAll(async () => {
  // Every unit is translated again: what the verifier lets pass must not.
  user = await User.arrives({ RINGSIDE_RECOMPUTE_ONE_IN: '1' });
  state = await user.json<RunningState>(['up']);
});
afterAll(async () => {
  for (const one of processes) one.kill();
  await user.leaves();
});

const show = (vm: string): Promise<VmRecord> => user.json<VmRecord>(['vm', 'show', vm]);
const stats = (vm: string): Promise<VmStatistics> => user.json<VmStatistics>(['exits', vm]);
const killTranslator = async (): Promise<void> => {
  const { processes: running } = await user.json<RunningState>(['status']).catch(() => state);
  process.kill(running.find(({ name }) => name === 'translator')!.pid, 'SIGKILL');
};

describe('two translators', () => {
  test('share the work, as `status` shows', async () => {
    const second = spawn(process.execPath, [join(repositoryRoot(), 'dist/apps/translator.mjs')], { env: { ...process.env, NATS_URL: state.natsUrl, HOST: '127.0.0.1', PORT: '0' }, stdio: 'ignore' });
    processes.push(second);
    const translators = async (): Promise<ServiceStatus[]> => (await user.json<{ services: ServiceStatus[] }>(['status'])).services.filter(({ service }) => service === 'translator');
    expect(await until(translators, (found) => found.length === 2)).toHaveLength(2);
    for (const vm of ['one', 'two']) await user.must(['vm', 'create', '--name', vm, '--path', 'binary-translation', '--clock', 'virtual', '--start']);
    for (const vm of ['one', 'two']) await until(() => show(vm), (record) => record.state === 'halted');
    const { registers, segments } = await user.json<RegistersView>(['vm', 'registers', 'one']);
    const listing = await user.must(['disassemble', '--translated', 'one', `0x${((segments.cs.base + registers.eip) >>> 0).toString(16)}`, '--count', '8']);
    expect(listing).toMatch(/^unit [0-9a-f]{8}: \d+ bytes? became \d+, at 0x[0-9a-f]+ of monitor space$/m);
    expect(listing).toMatch(/← commits$/m);
    const served = await translators();
    for (const { counters } of served) expect(counters['translations']).toBeGreaterThan(50);
    // The second machine's code is the first's: what the same translator has answered before is not translated again.
    expect(served.reduce((sum, { counters }) => sum + counters['fromCache']!, 0)).toBeGreaterThan(50);
    expect(await user.must(['status'])).toMatch(/translator +\d+ .* [\d,]+ translations, [\d,]+ of them from memory/);
    second.kill();
    await until(translators, (found) => found.length === 1);
  });
});

describe('the translator dies', () => {
  test('its VMs wait and go on when it is back; others do not notice', async () => {
    await user.must(['vm', 'create', '--name', 'translated', '--path', 'binary-translation', '--clock', 'virtual', '--start']);
    await user.must(['vm', 'create', '--name', 'other', '--path', 'hardware-assisted', '--clock', 'virtual', '--start']);
    for (const vm of ['translated', 'other']) await until(() => show(vm), (record) => record.state === 'halted');
    await killTranslator();
    const before = await stats('translated');
    // Its shell reads the line in code that has been translated, and starts in code that has not.
    const typing = user.run(['vm', 'console', 'translated'], { input: 'bench call-ret 3\n' });
    await until(() => stats('translated'), ({ messages }) => messages['translate']! > before.messages['translate']!);
    expect(await user.must(['vm', 'console', 'other'], 'echo not noticed\n')).toContain('not noticed');
    expect(await until(() => show('translated'), ({ why }) => why !== 'running')).toMatchObject({ state: 'running', why: 'waits for a translator' });
    expect((await user.run(['status'])).code).toBe(1);
    await user.must(['up']);
    await until(() => show('translated'), (record) => record.state === 'halted');
    await typing;
    expect(await user.must(['vm', 'console', 'translated', '--from-start'])).toContain('bench call-ret 3: done');
    expect((await user.run(['status'])).code).toBe(0);

    // Nobody is stopped from standing still meanwhile.
    await killTranslator();
    const waiting = user.run(['vm', 'console', 'translated'], { input: 'bench fork 3\n' });
    await until(() => show('translated'), (record) => record.state === 'running');
    await user.must(['vm', 'pause', 'translated']);
    expect(await show('translated')).toMatchObject({ state: 'paused' });
    await user.must(['vm', 'delete', 'translated']);
    await waiting;
  });
});

/** What a translator might send instead of a unit; null where this unit has no room for the lie. */
type Lie = (unit: TranslationUnit) => TranslationUnit | null;
const withCode = (unit: TranslationUnit, at: number, byte: number): TranslationUnit => ({ ...unit, code: unit.code.map((value, index) => index === at ? byte : value) });
const GS = 0x65;
const lies: [string, Lie, RegExp][] = [
  ['cli-as-it-is', (unit) => {
    const index = unit.instructions.findIndex(({ at, length }) => length === 1 && unit.guest[at] === 0xfa);
    return index < 0 ? null : { ...withCode(unit, unit.instructions[index]!.from, 0xfa), instructions: unit.instructions.map((one, n) => n === index ? { ...one, treatment: 'ident' } : one) };
  }, /a copy|side table|host code/],
  ['branch-elsewhere', (unit) => {
    const exit = unit.exits.find(({ kind }) => kind === 'lookup');
    return exit === undefined ? null : withCode(unit, exit.at + 1, 0x40);
  }, /no jump to the lookup stub/],
  ['write-elsewhere', (unit) => {
    // C6 /0 disp32 imm8 with GS: a store of one byte to monitor data.
    const at = unit.code.findIndex((byte, index) => byte === GS && unit.code[index + 1] === 0xc6 && unit.code[index + 2] === 0x05);
    return at < 0 ? null : withCode(unit, at + 3, unit.code[at + 3]! ^ 4);
  }, /not listed/],
  ['side-table-with-a-hole', (unit) => ({ ...unit, sideTable: unit.sideTable.slice(0, -3) }), /side table/],
  ['other-selector', (unit) => {
    // FF /6 disp32 with GS: a push of one of the guest's selectors; the field of the segment before it.
    const at = unit.code.findIndex((byte, index) => byte === GS && unit.code[index + 1] === 0xff && unit.code[index + 2] === 0x35);
    return at < 0 ? null : withCode(unit, at + 3, unit.code[at + 3]! - 4);
  }, /not what the translator here makes of it/],
];

describe('a lying translator', () => {
  let bus: NatsConnection;

  beforeAll(async () => {
    // The real one is gone.
    bus = await connectNats(state.natsUrl, instanceName('liar'));
    bus.subscribe(TRANSLATE_SUBJECT, {
      queue: TRANSLATE_SUBJECT,
      callback: (_error, message) => {
        const unit = answer(decodeTranslationRequest(message.data), readAskingVm(message.data));
        message.respond(encodeTranslationReply({ unit, cost: { handlerNs: 0, nested: [] } }, readHeader(message.data)));
      },
    });
    await bus.flush();
  });
  afterAll(() => bus.close());

  /** By the VM's name: honest for `honest`. The eip of the unit that was lied about. */
  const lied = new Map<string, number>();
  function answer(request: TranslationRequest, vmId: string): ReturnType<typeof translate> {
    const unit = translate(request);
    const lie = lies.find(([name]) => name === vmId)?.[1];
    if (isRefused(unit) || lie === undefined) return unit;
    const wrong = lie(unit);
    if (wrong === null) return unit;
    lied.set(vmId, request.eip);
    return wrong;
  }

  test('is believed while it says what is so, under the eyes of the recomputation', async () => {
    await user.must(['vm', 'create', '--name', 'honest', '--path', 'binary-translation', '--clock', 'virtual', '--start']);
    expect(await until(() => show('honest'), (record) => record.state !== 'running')).toMatchObject({ state: 'halted' });
  });

  test.each(lies)('%s: the VM ends by a name that says which unit and why', async (name, _lie, why) => {
    await user.must(['vm', 'create', '--name', name, '--path', 'binary-translation', '--clock', 'virtual', '--start']);
    const record = await until(() => show(name), (record) => record.state !== 'running');
    expect(record.state).toBe('translation-refused');
    expect(record.why).toContain(`0x${lied.get(name)!.toString(16)}: `);
    expect(record.why).toMatch(why);
    expect(await show('honest')).toMatchObject({ state: 'halted' });
  });
});
