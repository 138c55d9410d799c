import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { VmSpec } from '@ringside/machine';
import { NatsClient } from '@ringside/nats-transport';
import { MemoryWire } from '@ringside/nats-transport/testing';
import { decodeBusRequest, encodeBusReply, parseVmSubject, readHeader, type MachineReport } from '@ringside/protocol';
import { Telemetry } from '@ringside/telemetry';
import { HostedMachine } from './hosted-machine.js';

const SPEC: VmSpec = { id: 'a', path: 'native', mmu: 'none', guestKernelRing: 0, memoryMiB: 1, clock: 'virtual', guest: 'test', commandLine: '', disk: null, script: [], grantedPorts: [], hashStates: false };
const QUICK = { firstWaitMs: 1, maxWaitMs: 5, timeoutMs: 20, minResends: 8 };
const START = 0x1000;
/** STI; HLT; JMP to the HLT: sleeps until something wakes it. */
const SLEEPER = Uint8Array.of(0xfb, 0xf4, 0xeb, 0xfd);
/** MOV DX, 0x80; OUT DX, AL; CLI; HLT. */
const ONE_OUT = Uint8Array.of(0x66, 0xba, 0x80, 0x00, 0xee, 0xfa, 0xf4);

let wire: MemoryWire;
let client: NatsClient;
let cycles: string[];
let reports: MachineReport[];

beforeEach(() => {
  wire = new MemoryWire();
  client = new NatsClient(wire, 'guest-cpu-1', QUICK, QUICK);
  cycles = [];
  reports = [];
});
afterEach(() => client.close());

/** A board that reads zeros and never interrupts. */
function board(): void {
  // This test's: a request sent again may still be on its way when the next one begins.
  const seen = cycles;
  wire.subscribe('ringside.vm.a.io.*', ({ subject, data, reply }) => {
    const request = decodeBusRequest(data, 'a');
    const cycle = `${parseVmSubject(subject)!.last} ${request.seq}`;
    // On a busy machine the answer may come after the first resend: the same seq is the same cycle.
    if (seen.at(-1) !== cycle) seen.push(cycle);
    wire.publish(reply!, encodeBusReply({ data: new Uint8Array(request.write ? 0 : request.size), lines: 0, rose: 0, deadline: Infinity, effects: [] }, readHeader(data)));
  });
}

function machine(code: Uint8Array): HostedMachine {
  const telemetry = new Telemetry({ service: 'guest-cpu', instance: 'guest-cpu-1', warn: () => undefined });
  const runtime = { client, telemetry, wallClock: () => performance.now() * 1e6, environment: { tracing: true, timeoutMs: 20 }, recomputeOneIn: 100 };
  const hosted = new HostedMachine({ spec: SPEC, epoch: 1, monitorBytes: 0, native: true, stateGroups: [], translationCache: null }, runtime, { record: () => undefined }, (report) => reports.push(report));
  hosted.apply([{ kind: 'memory', space: 'guest', address: START, bytes: code }, { kind: 'register', register: 'eip', value: START }]);
  return hosted;
}

const state = async (wanted: MachineReport['state']): Promise<MachineReport> => {
  for (;;) {
    const report = reports.findLast((each) => each.state === wanted);
    if (report !== undefined) return report;
    await new Promise((resolve) => setImmediate(resolve));
  }
};

describe('HostedMachine', () => {
  it('sends a port access to the board and tells of every change of state, in order', async () => {
    board();
    const hosted = machine(ONE_OUT);
    hosted.run();
    await state('halted');
    expect(cycles).toEqual(['port 1']);
    expect(reports.map((report) => report.state)).toEqual(['running', 'halted']);
    expect(reports.map(({ revision }) => revision)).toEqual([1, 2]);
    expect(hosted.registers().registers.eip).toBe(START + ONE_OUT.length);
    expect(hosted.disassemble(START, 2).map(({ text }) => text.split(' ')[0])).toEqual(['mov', 'out']);
  });

  it('parks without a message, goes on when kicked, and loses no kick that meets it parking', async () => {
    board();
    const hosted = machine(SLEEPER);
    hosted.run();
    await state('halted');
    expect(cycles).toEqual([]);
    reports.length = 0;
    hosted.kick();
    await state('halted');
    expect(cycles).toEqual(['input 1']);
    // A kick in every turn of the event loop: some meet the machine asking, some as it parks. None may be left lying.
    for (let i = 0; i < 50; i++) {
      const before = cycles.length;
      hosted.kick();
      await new Promise((resolve) => setImmediate(resolve));
      hosted.kick();
      while (cycles.length === before || hosted.machine.state !== 'halted') await new Promise((resolve) => setImmediate(resolve));
    }
    expect(cycles.length).toBeGreaterThan(50);
  });

  it('ends unreachable, with the reason, when the board does not answer', async () => {
    const hosted = machine(ONE_OUT);
    hosted.run();
    const { why } = await state('unreachable');
    expect(why).toContain('ringside.vm.a.io.port: nobody listens there');
    // It can still be looked at: it stands before the OUT.
    expect(hosted.registers().registers.eip).toBe(START + 4);
  });

  it('reads memory for others: RAM, the empty bus beyond it, linear addresses', () => {
    const hosted = machine(SLEEPER);
    expect(hosted.read({ space: 'guest', address: START, length: 4 })).toEqual(SLEEPER);
    expect(hosted.read({ space: 'guest', address: 1_048_574, length: 4 })).toEqual(Uint8Array.of(0, 0, 0xff, 0xff));
    expect(hosted.read({ space: 'linear', address: START, length: 4 })).toEqual(SLEEPER);
  });
});
