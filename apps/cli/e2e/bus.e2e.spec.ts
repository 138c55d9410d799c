import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import type { VmRecord } from '@ringside/protocol';
import type { RunningState } from '../src/session/state-file.js';
import { alive, until, User } from './ringside.js';

let user: User;
let state: RunningState;
let bus: NatsConnection;

beforeAll(async () => {
  user = await User.arrives();
  state = await user.json<RunningState>(['up']);
  bus = await connect({ servers: state.natsUrl });
});
afterAll(async () => {
  await bus.close();
  await user.leaves();
});

const show = (vm: string): Promise<VmRecord> => user.json<VmRecord>(['vm', 'show', vm]);

/**
 * Distinct requests by subject, told apart by bytes 3 to 13 of a frame: hop, epoch, seq, ordinal. On `ringside.translate`, which all VMs share, the name of the
 * one that asks begins the body at byte 40, behind its length. Nothing of ours decodes them.
 */
function listen(vm: string): { counts: () => Record<string, number>; stop: () => Promise<void> } {
  const seen = new Map<string, Set<string>>();
  const subscription = bus.subscribe(`ringside.vm.${vm}.>`, {
    callback: (_error, { subject, reply, data }) => {
      const last = subject.slice(`ringside.vm.${vm}.`.length);
      if (!reply || !/^(exit|io)\./.test(last)) return;
      const requests = seen.get(last) ?? new Set();
      seen.set(last, requests.add(Buffer.from(data.subarray(3, 14)).toString('hex')));
    },
  });
  const translations = new Set<string>();
  const shared = bus.subscribe('ringside.translate', {
    callback: (_error, { data }) => {
      if (Buffer.from(data.subarray(42, 42 + data[40]!)).toString() !== vm) return;
      seen.set('translate', translations.add(Buffer.from(data.subarray(3, 14)).toString('hex')));
    },
  });
  return {
    counts: () => Object.fromEntries([...seen].map(([subject, requests]) => [subject, requests.size]).sort()),
    stop: async () => { await subscription.drain(); await shared.drain(); },
  };
}

describe('an independent subscriber', () => {
  test.each(['native', 'hardware-assisted', 'paravirt', 'binary-translation'])('counts the same requests by subject as `exits` says: %s', async (path) => {
    const vm = `counted-${path}`;
    const heard = listen(vm);
    await bus.flush();
    await user.must(['vm', 'create', '--name', vm, '--path', path, '--clock', 'virtual', '--start']);
    await until(() => show(vm), ({ state: now }) => now === 'halted');
    await user.must(['vm', 'console', vm], 'bench in 3\nbench disk-read 2\n');
    await user.must(['vm', 'console', vm], 'halt\n');
    await until(() => show(vm), ({ state: now }) => now === 'shutdown');
    await bus.flush();
    const { messages, exits } = await user.json<{ messages: Record<string, number>; exits: Record<string, { count: number }> }>(['exits', vm]);
    const requests = Object.fromEntries(Object.entries(messages).filter(([subject]) => /^(exit|io)\.|^translate$/.test(subject)).sort());
    expect(heard.counts()).toEqual(requests);
    expect(requests['io.port']).toBeGreaterThan(3);
    expect((requests['translate'] ?? 0) > 100).toBe(path === 'binary-translation');
    for (const [reason, { count }] of Object.entries(exits)) {
      // Natively a bus cycle stands for itself. Elsewhere ring -1 asks the board as well: those are in `messages` alone.
      if (reason === 'translation-miss') expect(heard.counts()['translate']).toBe(count);
      else if (reason.startsWith('io.')) expect(path === 'native' ? heard.counts()[reason] : count).toBe(count);
      else expect(heard.counts()[`exit.${reason}`]).toBe(count);
    }
    await heard.stop();
    await user.must(['vm', 'delete', vm]);
  });
});

describe('the device model dies in the middle of an operation', () => {
  test('the VM reaches a named state that says why, nothing hangs, and after `up` it boots again', async () => {
    await user.must(['vm', 'create', '--name', 'orphan', '--clock', 'virtual', '--start']);
    await until(() => show('orphan'), ({ state: now }) => now === 'halted');
    const typing = user.run(['vm', 'console', 'orphan'], { input: 'bench print 200\n' });
    await until(() => show('orphan'), ({ state: now }) => now === 'running');
    process.kill(state.processes.find(({ name }) => name === 'device-model')!.pid, 'SIGKILL');
    const record = await until(() => show('orphan'), ({ state: now }) => now !== 'running');
    expect(record.state).toBe('unreachable');
    expect(record.why).toMatch(/io\.port: (nobody listens|no answer)/);
    await typing;
    expect((await user.run(['status'])).code).toBe(1);

    const { processes } = await user.json<RunningState>(['up']);
    expect(processes).toHaveLength(5);
    expect(processes.filter(({ pid }) => !alive(pid))).toEqual([]);
    await user.must(['vm', 'start', 'orphan']);
    await until(() => show('orphan'), ({ state: now }) => now === 'halted');
    expect(await user.must(['vm', 'console', 'orphan'], 'echo alive again\n')).toContain('alive again');
  });
});
