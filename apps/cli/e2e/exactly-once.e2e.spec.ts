import { afterAll, describe, expect, test } from '@jest/globals';
import type { NatsConnection } from '@nats-io/transport-node';
import { diskOf } from '@ringside/devices';
import { diskImage, guestImage } from '@ringside/guests';
import type { VmSpec } from '@ringside/machine';
import { connectNats, FaultyWire, instanceName, NatsClient, NatsWire } from '@ringside/nats-transport';
import { SERVICES_SUBJECT, type ServiceStatus, type VmRecord, type VmStatistics } from '@ringside/protocol';
// eslint-disable-next-line @nx/enforce-module-boundaries -- no app uses the machine in one process; a test may compare with it
import { SingleProcess } from '@ringside/single-process';
import type { RunningState } from '../src/session/state-file.js';
import { until, User } from './ringside.js';

/** Of every hundred frames that anybody publishes, on every subject, so many are dropped, doubled, delayed or overtaken. */
const PERCENT = 5;
const PROMPT = 'ringlet$ ';
const COMMANDS = ['bench disk-read 1', 'print welcome.txt'];
const PATHS = [['native', 'none', 0], ['hardware-assisted', 'nested', 0], ['paravirt', 'direct', 1], ['binary-translation', 'shadow', 1]] as const;
const users: User[] = [];
const connections: NatsConnection[] = [];

afterAll(async () => {
  for (const connection of connections) await connection.close();
  for (const user of users) await user.leaves();
});

interface Run { retired: number; executed: number; virtualNs: number; exits: Record<string, number>; messages: Record<string, number>; operations: unknown; why: string; console: string; disk: string | null; documents: string[] }

/** A guest on each path, which does its commands and then waits for somebody to type. */
const SPECS = PATHS.map(([path, mmu, guestKernelRing]): VmSpec => ({
  id: `once-${path}`, path, mmu, guestKernelRing, memoryMiB: 32, clock: 'virtual', guest: path === 'paravirt' ? 'ringlet-pv' : 'ringlet', commandLine: '', disk: 'ringlet', grantedPorts: [], hashStates: false,
  script: COMMANDS.map((command) => ({ expect: PROMPT, send: `${command}\n` })),
}));

/** No network at all: the machine in one process, joined by plain calls. */
async function undisturbed(spec: VmSpec): Promise<Run> {
  const whole = await SingleProcess.create({ spec, image: await guestImage(spec.guest as 'ringlet'), disk: await diskImage('ringlet') });
  await whole.machine.run();
  whole.type('halt\n');
  await whole.machine.run();
  return {
    ...counts(whole.machine.statistics()), why: whole.machine.why, console: whole.console, disk: diskOf(whole.board)?.digest() ?? null,
    documents: whole.documents.map(({ bytes }) => Buffer.from(bytes).toString()),
  };
}

/** Boots the guests over services whose network is so bad; a client behind the same network drives them. */
async function disturbed(seed: number): Promise<{ runs: Run[]; misdelivered: number; answeredAgain: number }> {
  const user = await User.arrives({ RINGSIDE_TEST_FAULTS: `${PERCENT}:${seed}` });
  users.push(user);
  const { natsUrl } = await user.json<RunningState>(['up']);
  const connection = await connectNats(natsUrl, instanceName('person'));
  connections.push(connection);
  const plain = new NatsWire(connection);
  const faulty = new FaultyWire(plain, PERCENT, seed);
  const client = new NatsClient(faulty, instanceName('person'));
  // All at once: what one loses must not reach another either.
  const runs = await Promise.all(SPECS.map(async (spec) => {
    const vmId = spec.id;
    await client.control('vm.create', { spec, start: true });
    const state = (): Promise<VmRecord> => client.control('vm.show', { vmId });
    await until(state, (record) => record.state === 'halted');
    // The last command is typed by a person: it must arrive once, and only when the guest waits for it does the moment not matter.
    await client.console(vmId, 'in', { data: Buffer.from('halt\n').toString('base64') });
    const ended = await until(state, (record) => record.state === 'shutdown');
    return outcome(client, user, vmId, ended.why);
  }));
  const services = await new NatsClient(plain, instanceName('observer')).broadcast<ServiceStatus>(SERVICES_SUBJECT, {}, 600);
  const answeredAgain = services.reduce((sum, { counters }) => sum + (counters['repeatedFrames'] ?? 0) + (counters['ignoredFrames'] ?? 0), 0);
  client.close();
  const { dropped, duplicated, delayed, reordered } = faulty.counts;
  return { runs, misdelivered: dropped + duplicated + delayed + reordered, answeredAgain };
}

async function outcome(client: NatsClient, user: User, vmId: string, why: string): Promise<Run> {
  const statistics: VmStatistics = await client.control('vm.stats', { vmId });
  const documents = await client.control('document.list', { vmId });
  const contents = await Promise.all(documents.map(async ({ name }) => Buffer.from((await client.control('document.fetch', { vmId, name, offset: 0 })).data, 'base64').toString()));
  return { ...counts(statistics), why, documents: contents, disk: (await client.control('board.digest', { vmId })).disk, console: await user.must(['vm', 'console', vmId, '--from-start']) };
}

/** All but times, and which units the sample drew that guest-cpu translates again by itself (another one for each VM's name). */
function counts({ retired, executed, virtualNs, exits, messages, operations }: VmStatistics): Pick<Run, 'retired' | 'executed' | 'virtualNs' | 'exits' | 'messages' | 'operations'> {
  return {
    retired, executed, virtualNs, messages, exits: Object.fromEntries(Object.entries(exits).map(([reason, { count }]) => [reason, count])),
    operations: operations.map(({ wall: _wall, traceId: _traceId, translation, ...rest }) => ({ ...rest, translation: translation && { ...translation, recomputed: undefined } })),
  };
}

describe('exactly once', () => {
  test('a network that drops, doubles, delays and reorders leaves no trace in what the guests did', async () => {
    const expected = await Promise.all(SPECS.map(undisturbed));
    for (const each of expected) {
      expect(each.console).toContain('bench disk-read 1: done');
      expect(each.documents).toHaveLength(1);
      expect(each.documents[0]!.length).toBeGreaterThan(20);
    }
    for (const seed of [1, 2, 3]) {
      const { runs, misdelivered, answeredAgain } = await disturbed(seed);
      expect(runs).toEqual(expected);
      expect(misdelivered).toBeGreaterThan(0);
      expect(answeredAgain).toBeGreaterThan(50);
    }
  });
});
