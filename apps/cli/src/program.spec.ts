import { describe, expect, test } from '@jest/globals';
import type { Command } from 'commander';
import { mkdtemp, readdir } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildProgram } from './program.js';
import { runInProcess } from './testing/run-in-process.js';
import { Terminal } from './terminal.js';

function everyCommand(command: Command, path: string[] = []): string[][] {
  return [path, ...command.commands.filter((child) => child.name() !== 'help').flatMap((child) => everyCommand(child, [...path, child.name()]))];
}
const program = buildProgram({ terminal: new Terminal(process.stdout, process.stderr, {}), environment: {}, stateDirectory: '/nowhere', appsDirectory: '/nowhere', cleanups: [], exitCode: 0 });

describe('the command line', () => {
  test.each(everyCommand(program).map((path) => [path.join(' '), path] as const))('ringside %s --help explains itself with exit code 0', async (_name, path) => {
    const { code, out, err } = await runInProcess([...path, '--help']);
    expect(code).toBe(0);
    expect(err).toBe('');
    expect(out).toContain(`Usage: ringside${path.map((word) => ` ${word}`).join('')}`);
  });

  test('an unknown command, an unknown option and a bad value are usage errors: exit code 2, one sentence, nothing on stdout', async () => {
    for (const args of [['no-such-command'], ['up', '--no-such-option'], ['up', '--port', '99999']]) {
      const { code, out, err } = await runInProcess(args);
      expect(code).toBe(2);
      expect(out).toBe('');
      expect(err).toMatch(/^ringside: /);
    }
  });

  test('without arguments it prints its help and says no', async () => {
    const { code, out } = await runInProcess([]);
    expect(code).toBe(2);
    expect(out).toContain('./ringside demo');
  });

  test('colour only on a terminal', async () => {
    const { out } = await runInProcess(['status']);
    expect(out).not.toContain('\u001b');
  });
});

describe('what starts services', () => {
  test('no nats-server: one clear sentence, exit code 1, nothing left behind', async () => {
    const { code, err, stateDirectory } = await runInProcess(['up'], { NATS_SERVER: '/no/such/nats-server' });
    expect(code).toBe(1);
    expect(err).toContain('NATS_SERVER is /no/such/nats-server, which is not a program');
    expect(await readdir(stateDirectory)).toEqual(['log']);
  });

  test('a port in use: one clear sentence, exit code 1', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    try {
      const { code, err } = await runInProcess(['up', '--port', String(port)], { NATS_SERVER: process.execPath });
      expect(code).toBe(1);
      expect(err).toContain(`Port ${port} (NATS) is in use`);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });

  test('status and down with nothing running', async () => {
    const state = await mkdtemp(join(tmpdir(), 'ringside-test-'));
    const status = await runInProcess(['status', '--json'], { RINGSIDE_STATE: state });
    expect(status.code).toBe(1);
    expect(JSON.parse(status.out)).toEqual({ up: false, natsUrl: null, startedAt: null, processes: [], services: [] });
    expect(await runInProcess(['down'], { RINGSIDE_STATE: state })).toMatchObject({ code: 0, out: 'nothing was running\n' });
  });
});
