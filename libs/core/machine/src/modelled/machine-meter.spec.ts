import { ExitReason } from '@ringside/x86';
import type { Exit, ExitReply, SegmentState } from '../exit.js';
import { SEGMENT_NAMES } from '../effect.js';
import { MachineMeter, primitivesBetween } from './machine-meter.js';

const NO_EVENTS = { gateEntries: 0, irets: 0, pageWalkReads: 0, nestedWalkReads: 0, controlRegisterWrites: 0, segmentLoads: 0, divisions: 0, serializing: 0, timeStamps: 0, lookupJumps: 0, translationGates: 0, translationEntries: 0, farTransfers: 0, fastSystemCalls: 0 };
const NOTHING: SegmentState = { selector: 0, base: 0, limit: 0, rights: 0 };

const exitWith = (change: Partial<Exit>): Exit => ({
  vmId: 'a', epoch: 1, seq: 1, reason: ExitReason.Cpuid, qualification: 0, instructionLength: 2, guestLinear: 0, guestPhysical: 0, now: 0, retired: 0, executed: 0,
  interruptible: false, access: null, event: null, registers: null, segments: null, ...change,
});
const registers = { general: new Uint32Array(8), eip: 0, eflags: 2, cr0: 0x11, cr2: 0, cr3: 0, cr4: 0, cpl: 0 };
const segments = Object.fromEntries(SEGMENT_NAMES.map((name) => [name, NOTHING])) as unknown as NonNullable<Exit['segments']>;
const replyWith = (change: Partial<ExitReply>): ExitReply => ({ disposition: { kind: 'resume' }, effects: [], cost: { handlerNs: 0, nested: [] }, ...change });
const totals = (meter: MachineMeter): unknown => primitivesBetween({}, meter.total(0, NO_EVENTS));

describe('leaving a guest and returning to it', () => {
  it('in non-root operation is a VM exit, a VM entry, and the fields that the handler asked for or changed', () => {
    const meter = new MachineMeter();
    meter.left(exitWith({ registers }), false);
    meter.returned(replyWith({ disposition: { kind: 'retire', data: null }, effects: [{ kind: 'register', register: 'eax', value: 1 }, { kind: 'register', register: 'cr3', value: 0 }] }), false);
    // Read: reason, qualification, length, six registers. Written: EIP of the next instruction, CR3; EAX is no field.
    expect(totals(meter)).toEqual({ 'vm-exit': 1, 'vm-entry': 1, 'vmcs-read': 9, 'vmcs-write': 2 });
  });

  it('reads no register for a handler that asked for none', () => {
    const meter = new MachineMeter();
    meter.left(exitWith({ reason: ExitReason.EptViolation, instructionLength: 0, guestPhysical: 0x1000 }), false);
    meter.returned(replyWith({}), false);
    expect(totals(meter)).toEqual({ 'vm-exit': 1, 'vm-entry': 1, 'vmcs-read': 3 });
  });

  it('reads four fields for a segment and writes as many', () => {
    const meter = new MachineMeter();
    meter.left(exitWith({ segments }), false);
    meter.returned(replyWith({ effects: [{ kind: 'segment', segment: 'ss', ...NOTHING }, { kind: 'interrupt', line: false, vector: 0x20 }] }), false);
    expect(totals(meter)).toEqual({ 'vm-exit': 1, 'vm-entry': 1, 'vmcs-read': 3 + 4 * SEGMENT_NAMES.length, 'vmcs-write': 5 });
  });

  it('deprivileged is a gate entry and an IRET, never a VM exit', () => {
    const meter = new MachineMeter();
    meter.left(exitWith({ reason: ExitReason.Hypercall, registers, segments }), true);
    meter.returned(replyWith({ effects: [{ kind: 'register', register: 'cr3', value: 0 }], cost: { handlerNs: 0, nested: [], work: { 'guest-word': 4 } } }), true);
    expect(totals(meter)).toEqual({ 'gate-entry': 1, 'iret': 1, 'guest-word': 4 });
  });
});

test('a cycle to a port counts each element, one to memory none', () => {
  const meter = new MachineMeter();
  meter.cycle({ space: 'port', address: 0x1f0, size: 2, write: false, count: 256, data: new Uint8Array(0) });
  meter.cycle({ space: 'memory', address: 0xb8000, size: 2, write: true, count: 1, data: new Uint8Array(2) });
  expect(totals(meter)).toEqual({ 'port-cycle': 256 });
});

test('instructions with a class of their own are no plain ones, and the processor\'s events join the transitions', () => {
  const meter = new MachineMeter();
  meter.left(exitWith({}), true);
  const total = meter.total(100, { ...NO_EVENTS, divisions: 3, timeStamps: 2, farTransfers: 7, fastSystemCalls: 8, irets: 4, gateEntries: 5, pageWalkReads: 6 });
  expect(primitivesBetween({}, total)).toEqual({ 'instruction': 76, 'division': 3, 'time-stamp': 2, 'far-transfer': 7, 'fast-system-call': 8, 'iret': 4, 'gate-entry': 6, 'page-walk-read': 6 });
  expect(primitivesBetween(total, total)).toEqual({});
});

test('translated code that asks the monitor where to go on costs a gate, a look-up and the way back; a new unit its translation', () => {
  const meter = new MachineMeter();
  meter.translated(12);
  expect(primitivesBetween({}, meter.total(50, { ...NO_EVENTS, lookupJumps: 4, translationGates: 2, translationEntries: 3 }))).toEqual({
    'instruction': 46, 'lookup-jump': 4, 'gate-entry': 3, 'iret': 3, 'monitor-dispatch': 3, 'code-lookup': 5, 'translation': 12,
  });
  // One of the gates led to a known place: with the miss that is two visits which the same code does not make again.
  expect(primitivesBetween({}, meter.once(1))).toEqual({ 'gate-entry': 2, 'iret': 2, 'monitor-dispatch': 2, 'code-lookup': 2, 'translation': 12 });
});
