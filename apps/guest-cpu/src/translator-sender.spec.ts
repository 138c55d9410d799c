import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { VmSpec } from '@ringside/machine';
import { instanceName, NatsClient } from '@ringside/nats-transport';
import { MemoryWire } from '@ringside/nats-transport/testing';
import { decodeExit, decodeTranslationRequest, encodeExitReply, encodeTranslationReply, readAskingVm, readHeader, TRANSLATE_SUBJECT, type MachineReport } from '@ringside/protocol';
import { Telemetry } from '@ringside/telemetry';
import { MONITOR_DATA_BYTES, translate, type TranslationRefused, type TranslationRequest, type TranslationUnit } from '@ringside/translation';
import { HostedMachine } from './hosted-machine.js';

const SPEC: VmSpec = { id: 'a', path: 'binary-translation', mmu: 'shadow', guestKernelRing: 1, memoryMiB: 1, clock: 'virtual', guest: 'test', commandLine: '', disk: null, script: [], grantedPorts: [], hashStates: false };
/** The misses' patience is six times the timeout: a few resends. */
const QUICK = { firstWaitMs: 1, maxWaitMs: 5, timeoutMs: 20, minResends: 8 };
const START = 0x1000;
/** PUSH DS; CLI; JMP +1; INT3; HLT: two units, of which the first is chained to the second. */
const CODE = Uint8Array.of(0x1e, 0xfa, 0xeb, 0x01, 0xcc, 0xf4);
const CACHE = { offset: 0, bytes: MONITOR_DATA_BYTES + 16 * 4096 };

let wire: MemoryWire;
let client: NatsClient;
let telemetry: Telemetry;
let asked: { vmId: string; epoch: number; seq: number; eip: number }[];

beforeEach(() => {
  wire = new MemoryWire();
  // Names are never used twice: what a test's translator still has on its way must not answer the next one's machine.
  client = new NatsClient(wire, instanceName('guest-cpu'), QUICK, QUICK);
  telemetry = new Telemetry({ service: 'guest-cpu', instance: 'guest-cpu-1', warn: () => undefined });
  asked = [];
  // Ring -1 powers the machine off at its HLT.
  wire.subscribe('ringside.vm.a.exit.*', ({ data, reply }) => {
    const exit = decodeExit(data, 'a');
    wire.publish(reply!, encodeExitReply({
      disposition: { kind: 'resume' }, effects: [{ kind: 'activity', activity: 'stopped', state: 'shutdown', why: `${exit.instruction?.name} at ${exit.registers?.eip}` }], cost: { handlerNs: 0, nested: [] },
    }, readHeader(data)));
  });
});
afterEach(() => client.close());

type Answer = (request: TranslationRequest) => TranslationUnit | TranslationRefused;
function translator(answer: Answer): { unsubscribe(): void } {
  return wire.subscribe(TRANSLATE_SUBJECT, ({ data, reply }) => {
    const request = decodeTranslationRequest(data);
    const header = readHeader(data);
    if (asked.at(-1)?.seq !== header.seq) asked.push({ vmId: readAskingVm(data), epoch: header.epoch, seq: header.seq, eip: request.eip });
    wire.publish(reply!, encodeTranslationReply({ unit: answer(request), cost: { handlerNs: 5, nested: [] } }, header));
  }, TRANSLATE_SUBJECT);
}

function machine({ recomputeOneIn = 0, timeoutMs = 10 } = {}): HostedMachine {
  const runtime = { client, telemetry, wallClock: () => performance.now() * 1e6, environment: { tracing: true, timeoutMs }, recomputeOneIn };
  const hosted = new HostedMachine({ spec: SPEC, epoch: 4, monitorBytes: CACHE.bytes, native: false, stateGroups: [], translationCache: CACHE }, runtime, { record: () => undefined }, () => undefined);
  hosted.apply([{ kind: 'memory', space: 'guest', address: START, bytes: CODE }, { kind: 'register', register: 'eip', value: START }, { kind: 'register', register: 'esp', value: 0x8000 }]);
  return hosted;
}

async function end(hosted: HostedMachine): Promise<MachineReport> {
  hosted.run();
  while (hosted.machine.state === 'running' || hosted.machine.state === 'created') await new Promise((resolve) => setImmediate(resolve));
  return hosted.report();
}

describe('a translation miss', () => {
  it('asks any translator, once for each unit, and is counted as a message', async () => {
    translator(translate);
    const hosted = machine();
    expect(await end(hosted)).toMatchObject({ state: 'shutdown', why: `HLT at ${START + 5}` });
    expect(asked).toEqual([{ vmId: 'a', epoch: 4, seq: 1, eip: START }, { vmId: 'a', epoch: 4, seq: 2, eip: START + 5 }]);
    const { messages, exits, translation } = hosted.statistics();
    expect([messages['translate'], exits['translation-miss']?.count]).toEqual([2, 2]);
    expect(translation).toMatchObject({ misses: 2, installed: 2, guestBytes: 5, recomputed: 0 });
  });

  it('sends as much code as a unit can be made of, and gets the unit of the whole page', async () => {
    let sent = 0;
    translator((request) => {
      sent = Math.max(sent, request.bytes.length);
      return translate(request);
    });
    // Twelve of the longest instructions that there are (MOV [disp32], imm32 with eight prefixes, 15 bytes), then HLT.
    const long = [0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0xc7, 0x05, 0x00, 0x40, 0x00, 0x00, 1, 2, 3, 4];
    const hosted = machine({ recomputeOneIn: 1 });
    hosted.apply([{ kind: 'memory', space: 'guest', address: START, bytes: Uint8Array.from([...Array.from({ length: 12 }, () => long).flat(), 0xf4]) }]);
    expect(await end(hosted)).toMatchObject({ state: 'shutdown', why: `HLT at ${START + 180}` });
    expect(sent).toBe(180);
    expect(hosted.statistics().translation).toMatchObject({ installed: 2, guestBytes: 181, recomputed: 2 });
  });

  it('leaves a machine that is stepped with registers of the guest, wherever its translation stands, and observed changes nothing', async () => {
    translator(translate);
    const hosted = machine();
    // PUSHF works with ECX, EDX and ESP on its way; NOPs behind.
    hosted.apply([{ kind: 'memory', space: 'guest', address: START, bytes: Uint8Array.of(0x9c, 0x90, 0xfb, 0x90, 0x90, 0xf4) }, { kind: 'register', register: 'ecx', value: 5 }, { kind: 'register', register: 'edx', value: 6 }]);
    const IF = 1 << 9;
    for (const [steps, interrupts] of [0, 0, IF, IF].entries()) {
      await hosted.step({ instructions: 1 });
      const { registers, retired } = hosted.registers();
      expect([retired, registers.eip, registers.ecx, registers.edx, registers.esp, registers.eflags & IF]).toEqual([steps + 1, START + steps + 1, 5, 6, 0x7ffc, interrupts]);
    }
    expect(asked).toHaveLength(1);
    expect(await end(hosted)).toMatchObject({ state: 'shutdown' });
    expect(asked).toHaveLength(1);
  });

  it('is a span that says where, what and how large, with the message under it, in the operation\'s trace', async () => {
    translator(translate);
    const hosted = machine();
    await end(hosted);
    const { traceId } = hosted.statistics().operations[0]!;
    const spans = telemetry.store.trace(traceId!);
    const [first] = spans.filter(({ name, kind }) => name === 'translate' && kind === 'internal');
    expect(first).toMatchObject({
      error: null, parentSpanId: spans.find(({ parentSpanId }) => parentSpanId === null)!.spanId,
      attributes: { 'ringside.vm.id': 'a', 'ringside.guest.eip': '0x1000', 'ringside.unit.guest_bytes': 4, 'ringside.unit.instructions': 3, 'ringside.unit.exits': 'direct', 'ringside.unit.hash': expect.stringMatching(/^[0-9a-f]{16}$/) },
    });
    expect(spans.filter(({ kind, parentSpanId }) => kind === 'client' && parentSpanId === first!.spanId)).toMatchObject([{ name: 'translate', attributes: { 'ringside.seq': 1, 'ringside.epoch': 4 } }]);
  });

  it('waits for a translator, and goes on when one comes', async () => {
    const hosted = machine({ timeoutMs: 5_000 });
    const ended = end(hosted);
    while (hosted.report().why !== 'waits for a translator') await new Promise((resolve) => setTimeout(resolve, 1));
    expect(hosted.report().state).toBe('running');
    translator(translate);
    expect(await ended).toMatchObject({ state: 'shutdown' });
    expect(hosted.statistics().messages['translate']).toBe(2);
  });

  it('ends the machine as unreachable, with the reason, when none comes', async () => {
    expect(await end(machine())).toMatchObject({ state: 'unreachable', why: expect.stringContaining('ringside.translate: nobody listens there') });
  });

  it('does not keep a machine from standing: it pauses before the miss, and asks again when it goes on', async () => {
    const hosted = machine({ timeoutMs: 60_000 });
    hosted.run();
    while (client.mux.counts.resends < 3) await new Promise((resolve) => setTimeout(resolve, 1));
    await hosted.pause();
    expect(hosted.report()).toMatchObject({ state: 'paused' });
    expect([hosted.registers().registers.eip, hosted.registers().retired]).toEqual([START, 0]);
    translator(translate);
    expect(await end(hosted)).toMatchObject({ state: 'shutdown' });
    expect(asked.map(({ seq }) => seq)).toEqual([2, 3]);
  });
});

describe('what disassemble --translated asks', () => {
  it('shows units as they stand in the cache, chained by now, each instruction with what became of it; goes on behind the last', async () => {
    translator(translate);
    const hosted = machine();
    // The jump leaves by its gate before it is chained: twice through the code.
    hosted.apply([{ kind: 'memory', space: 'guest', address: START + 5, bytes: Uint8Array.of(0x49, 0x75, 0xf8, 0xf4) }, { kind: 'register', register: 'ecx', value: 3 }]);
    await end(hosted);
    const { eip, units } = hosted.translated(START, 4);
    expect(eip).toBe(START);
    expect(units.map((unit) => [unit.eip, unit.guestBytes])).toEqual([[START, 4], [START + 4, 1]]);
    const [first] = units;
    expect(first!.at).toBeGreaterThan(0);
    expect(first!.rows.map(({ guest, treatment }) => [guest?.text.split(' ')[0], treatment])).toEqual([['push', 'in-cache'], ['cli', 'in-cache'], ['jmp', 'direct']]);
    expect(first!.exits).toEqual([{ at: expect.any(Number), kind: 'direct', target: START + 5, chainedTo: START + 5 }]);
    expect(first!.rows[1]).toMatchObject({ why: expect.stringContaining('virtual IF'), host: [{ commits: true }] });
  });

  it('translates for the reader what the machine has not come to, and changes nothing by it', async () => {
    translator(translate);
    const hosted = machine();
    await end(hosted);
    const before = hosted.statistics().translation;
    const { units } = hosted.translated(START + 4, 1);
    expect(units).toMatchObject([{ eip: START + 4, at: null, guestBytes: 1, rows: [{ treatment: 'callout', why: expect.stringContaining('INT3') }] }]);
    expect(hosted.statistics().translation).toEqual(before);
    expect(asked).toHaveLength(2);
    expect(hosted.translated(0xf000_0000, 4)).toEqual({ eip: 0xf000_0000, units: [] });
  });
});

describe('an answer that is not taken', () => {
  const honest = (request: TranslationRequest): TranslationUnit => translate(request) as TranslationUnit;
  const code = (edit: (code: Uint8Array) => void): Answer => (request) => {
    const unit = honest(request);
    const changed = unit.code.slice();
    edit(changed);
    return { ...unit, code: changed };
  };

  it.each<[string, Answer, RegExp]>([
    ['a copy of a privileged instruction', (request) => {
      const unit = honest(request);
      return { ...unit, code: Uint8Array.from(unit.code, (byte, at) => at === unit.instructions[1]!.from ? 0xfa : byte), instructions: unit.instructions.map((one, n) => n === 1 ? { ...one, treatment: 'ident' } : one) };
    }, /0x1000: (?:a copy|side table)/],
    ['a write elsewhere in monitor data', code((bytes) => { bytes[bytes.findIndex((byte, at) => byte === 0xc6 && bytes[at - 1] === 0x65) + 2] = 0x70; }), /0x1000: .*not listed/],
    ['a branch that is no exit', (request) => ({ ...honest(request), exits: [] }), /0x1000: .*(?:no exit|nowhere)/],
    ['a side table with a hole', (request) => ({ ...honest(request), sideTable: honest(request).sideTable.slice(3) }), /0x1000: side table/],
    ['another layout', (request) => ({ ...honest(request), layout: request.layout + 1 }), /0x1000: another key/],
    ['a refusal of code that can be translated', () => ({ refused: 'mode' }), /0x1000: the translator refuses: mode/],
  ])('%s: the machine ends by name, and says which unit and why', async (_name, answer, why) => {
    translator(answer);
    const hosted = machine();
    expect(await end(hosted)).toMatchObject({ state: 'translation-refused', why: expect.stringMatching(why) });
    const [miss] = telemetry.store.trace(hosted.statistics().operations[0]!.traceId!).filter(({ name, kind }) => name === 'translate' && kind === 'internal');
    expect(hosted.report().why).toContain(miss!.error);
  });

  it('bytes that are no answer', async () => {
    wire.subscribe(TRANSLATE_SUBJECT, ({ reply }) => wire.publish(reply!, Uint8Array.of(1, 2, 3)));
    expect(await end(machine())).toMatchObject({ state: 'translation-refused', why: expect.stringMatching(/0x1000: a frame has at least 40 bytes/) });
  });

  it('what the verifier cannot see is found by recomputing, where the sample draws it', async () => {
    // PUSH of another selector's field.
    const liar = code((bytes) => { bytes[3]! -= 12; });
    translator((request) => request.eip === START ? liar(request) : translate(request));
    expect(await end(machine({ recomputeOneIn: 1 }))).toMatchObject({ state: 'translation-refused', why: expect.stringContaining('0x1000: not what the translator here makes of it') });
    expect(await end(machine({ recomputeOneIn: 0 }))).toMatchObject({ state: 'shutdown' });
  });
});
