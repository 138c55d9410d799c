import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { hostileGuest, hostilePvGuest } from '@ringside/guests';
import type { VmRecord } from '@ringside/protocol';
import type { RunningState } from '../src/session/state-file.js';
import { alive, until, User } from './ringside.js';

const SEEDS = process.env['RINGSIDE_LONG'] === '1' ? 100 : 3;
/** A hostile guest may run for ever: after so many instructions it has shown what it does. */
const INSTRUCTIONS = 2_000;
let user: User;
let state: RunningState;

beforeAll(async () => {
  user = await User.arrives();
  state = await user.json<RunningState>(['up']);
  await user.must(['vm', 'create', '--name', 'neighbour', '--clock', 'virtual', '--start']);
});
afterAll(() => user.leaves());

describe('hostile guests over the bus', () => {
  test.each(['native', 'hardware-assisted', 'paravirt', 'binary-translation'])('random code hurts only itself: %s', async (path) => {
    const show = (name: string): Promise<VmRecord> => user.json<VmRecord>(['vm', 'show', name]);
    for (let seed = 1; seed <= SEEDS; seed++) {
      const file = join(user.stateDirectory, `hostile-${seed}.elf`);
      await writeFile(file, (path === 'paravirt' ? hostilePvGuest(seed) : hostileGuest(seed)).image);
      await user.must(['vm', 'create', '--name', 'hostile', '--guest', file, '--path', path, '--memory', '4', '--clock', 'virtual', '--start']);
      const { why } = await until(() => show('hostile'), (record) => record.state !== 'running' || (record.progress?.retired ?? 0) >= INSTRUCTIONS);
      expect(why).not.toBe('');
      await user.must(['vm', 'stop', 'hostile']);
      expect((await show('hostile')).state).not.toBe('unreachable');
      await user.must(['vm', 'delete', 'hostile']);
    }
    expect(state.processes.filter(({ pid }) => !alive(pid))).toEqual([]);
    expect(await user.must(['vm', 'console', 'neighbour'], 'echo still here\n')).toContain('still here');
  });
});
