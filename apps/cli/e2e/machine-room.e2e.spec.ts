import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { RegistersView, VmRecord } from '@ringside/protocol';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunningState } from '../src/session/state-file.js';
import { alive, until, User } from './ringside.js';

let user: User;
let state: RunningState;

beforeAll(async () => {
  user = await User.arrives();
  state = await user.json<RunningState>(['up']);
});
afterAll(() => user.leaves());

const show = (vm: string): Promise<VmRecord> => user.json<VmRecord>(['vm', 'show', vm]);

describe('up, status, down', () => {
  test('everything that was started is ready; a second up is refused', async () => {
    expect(state.processes.map(({ name }) => name).sort()).toEqual(['device-model', 'guest-cpu', 'hypervisor', 'nats-server', 'translator']);
    expect(await user.json(['status'])).toMatchObject({ up: true, natsUrl: state.natsUrl });
    const again = await user.run(['up']);
    expect(again).toMatchObject({ code: 1, err: expect.stringContaining('already up') });
  });

  test('down leaves no process behind', async () => {
    const other = await User.arrives();
    const { processes } = await other.json<RunningState>(['up']);
    expect(processes.every(({ pid }) => alive(pid))).toBe(true);
    expect((await other.run(['down'])).code).toBe(0);
    expect(processes.filter(({ pid }) => alive(pid))).toEqual([]);
    expect(await other.run(['status'])).toMatchObject({ code: 1 });
    await other.leaves();
  });
});

describe('a VM through its life', () => {
  test('boots, answers at its console, is paused, looked into, stepped, goes on, powers off, boots again, is deleted', async () => {
    const created = await user.json<VmRecord>(['vm', 'create', '--name', 'life', '--clock', 'virtual']);
    expect(created).toMatchObject({ state: 'created', spec: { id: 'life', path: 'hardware-assisted', mmu: 'nested' }, controls: { nonRoot: true } });
    const first = await user.json<RegistersView>(['vm', 'step', 'life', '10']);
    expect(first).toMatchObject({ state: 'paused', retired: 10 });
    const next = await user.json<RegistersView>(['vm', 'step', 'life', '--to-exit']);
    expect(next.retired).toBeGreaterThanOrEqual(first.retired);
    expect(await user.json<RegistersView>(['vm', 'registers', 'life'])).toEqual(next);
    const address = `0x${next.registers.eip.toString(16)}`;
    expect(await user.must(['disassemble', 'life', address, '--count', '3'])).toMatch(/^ {2}[0-9a-f]{8} {2}[0-9a-f]/);

    await user.must(['vm', 'start', 'life']);
    await until(() => show('life'), ({ state: now }) => now === 'halted');
    expect(await user.must(['vm', 'console', 'life', '--from-start'], 'echo two words\n')).toContain('two words');
    await user.must(['vm', 'pause', 'life']);
    expect(await show('life')).toMatchObject({ state: 'paused' });
    expect(await user.must(['exits', 'life'])).toContain('io-instruction');

    await user.must(['vm', 'start', 'life']);
    await user.must(['vm', 'console', 'life'], 'halt\n');
    const off = await until(() => show('life'), ({ state: now }) => now === 'shutdown');
    expect(off.epoch).toBe(1);
    await user.must(['vm', 'start', 'life']);
    const again = await until(() => show('life'), ({ state: now }) => now === 'halted');
    expect(again.epoch).toBe(2);
    expect(await user.must(['vm', 'list'])).toContain('life');
    await user.must(['vm', 'delete', 'life']);
    expect(await user.run(['vm', 'show', 'life'])).toMatchObject({ code: 1, err: expect.stringMatching(/^ringside: .*life/) });
  });

  test('two at once: each console has its own output only', async () => {
    for (const name of ['one', 'two']) await user.must(['vm', 'create', '--name', name, '--clock', 'virtual', '--start']);
    await Promise.all(['one', 'two'].map((name) => until(() => show(name), ({ state: now }) => now === 'halted')));
    await Promise.all(['one', 'two'].map((name) => user.must(['vm', 'console', name], `echo this is ${name}\n`)));
    const [one, two] = await Promise.all(['one', 'two'].map((name) => user.must(['vm', 'console', name, '--from-start'])));
    expect(one).toContain('this is one');
    expect(one).not.toContain('this is two');
    expect(two).toContain('this is two');
    expect(two).not.toContain('this is one');
    await user.must(['vm', 'delete', 'one', 'two']);
  });
});

describe('bad input: one clear sentence, non-zero exit', () => {
  /** An ELF header of the given class and machine, with one segment of `bytes` at 1 MiB. */
  function elf({ elfClass = 1, machine = 3, memory = 4_096 } = {}): Buffer {
    const file = Buffer.alloc(4_096);
    file.set([0x7f, 0x45, 0x4c, 0x46, elfClass, 1, 1]);
    file.writeUInt16LE(2, 16);
    file.writeUInt16LE(machine, 18);
    file.writeUInt32LE(1, 20);
    file.writeUInt32LE(0x10_0000, 24);
    file.writeUInt32LE(52, 28);
    file.writeUInt16LE(52, 40);
    file.writeUInt16LE(32, 42);
    file.writeUInt16LE(1, 44);
    [1, 0x1000 - 64, 0x10_0000, 0x10_0000, 64, memory, 7, 4].forEach((word, index) => file.writeUInt32LE(word, 52 + 4 * index));
    // Multiboot v1 header: magic, flags, checksum.
    [0x1bad_b002, 0, (0x1_0000_0000 - 0x1bad_b002) >>> 0].forEach((word, index) => file.writeUInt32LE(word, 128 + 4 * index));
    return file;
  }

  test.each([
    ['not an ELF file', Buffer.from('#!/bin/sh\necho no\n'), /ELF/],
    ['a 64-bit ELF file', elf({ elfClass: 2, machine: 62 }), /64-bit/],
    ['an ELF file larger than RAM', elf({ memory: 64 * 1_048_576 }), /RAM|memory/i],
  ])('%s', async (name, bytes, said) => {
    const file = join(user.stateDirectory, 'bad.elf');
    await writeFile(file, bytes);
    const { code, err } = await user.run(['vm', 'create', '--name', 'bad', '--guest', file, '--start']);
    expect(code).toBe(1);
    expect(err.trim().split('\n')).toHaveLength(1);
    expect(err).toMatch(said);
    expect(await user.json<VmRecord[]>(['vm', 'list'])).not.toContainEqual(expect.objectContaining({ state: 'running' }));
    await user.run(['vm', 'delete', 'bad']);
    expect(name).not.toBe('');
  });

  test('an unmodified kernel on paravirt, an unknown VM, an unknown path, an unknown operation', async () => {
    const file = join(user.stateDirectory, 'plain.elf');
    await writeFile(file, elf());
    expect(await user.run(['vm', 'create', '--path', 'paravirt', '--guest', file, '--start'])).toMatchObject({ code: 1, err: expect.stringMatching(/note/i) });
    expect(await user.run(['vm', 'pause', 'nobody'])).toMatchObject({ code: 1, err: expect.stringContaining('nobody') });
    expect(await user.run(['vm', 'create', '--path', 'warp'])).toMatchObject({ code: 2, err: expect.stringContaining('There is no path "warp"') });
    expect(await user.run(['compare', '--ops', 'teleport'])).toMatchObject({ code: 2, err: expect.stringContaining('There is no operation "teleport"') });
  });
});
