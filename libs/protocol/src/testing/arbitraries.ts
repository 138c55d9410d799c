import { REGISTER_NAMES, SEGMENT_NAMES, STOP_STATES, type BusReply, type BusRequest, type Effect, type Exit, type ExitCost, type ExitReply } from '@ringside/machine';
import { EventType, ExitReason, type BusAccess, type ExecutionControls, type ProcessorEvent } from '@ringside/x86';
import fc from 'fast-check';
import { BUSES } from '../bus-codec.js';
import type { TraceContext } from '../frame-header.js';

/** Every value that a frame can carry, for the round-trip properties. */
export const u8 = fc.integer({ min: 0, max: 0xff });
export const u16 = fc.integer({ min: 0, max: 0xffff });
export const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const i32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const address = fc.integer({ min: 0, max: 2 ** 40 });
const time = fc.oneof(fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }), fc.double({ min: 0, max: 1e15, noNaN: true }).map((value) => value + 0));
const never = fc.oneof(time, fc.constant(Infinity));
const bytes = fc.uint8Array({ maxLength: 300 });
const hex = (digits: number): fc.Arbitrary<string> => fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: digits, maxLength: digits });
const space = fc.constantFrom('guest' as const, 'monitor' as const);
const size = fc.constantFrom(1 as const, 2 as const, 4 as const);

export const traceContext: fc.Arbitrary<TraceContext | null> = fc.option(fc.record({ traceId: hex(32), spanId: hex(16) }), { nil: null });

const bitmap = (length: number): fc.Arbitrary<'all' | 'none' | Uint8Array> =>
  fc.oneof(fc.constant('all' as const), fc.constant('none' as const), u8.map((value) => new Uint8Array(length).fill(value)));

const controls: fc.Arbitrary<ExecutionControls> = fc.record({
  nonRoot: fc.boolean(), hltExiting: fc.boolean(), invlpgExiting: fc.boolean(), rdtscExiting: fc.boolean(), cr3LoadExiting: fc.boolean(), cr3StoreExiting: fc.boolean(),
  movDrExiting: fc.boolean(), descriptorTableExiting: fc.boolean(), wbinvdExiting: fc.boolean(), pauseExiting: fc.boolean(), deprivileged: fc.boolean(),
  ioExiting: bitmap(8192), msrExiting: bitmap(4096), exceptionBitmap: u32, cr0Mask: u32, cr0ReadShadow: u32, cr4Mask: u32, cr4ReadShadow: u32,
  eptRoot: fc.option(address, { nil: null }), shadowRoot: fc.option(address, { nil: null }),
  guestPaging: fc.option(fc.record({ cr3: u32, pae: fc.boolean(), pse: fc.boolean(), words: fc.array(i32, { minLength: 8, maxLength: 8 }) })
    .map(({ cr3, pae, pse, words }) => ({ cr3, pae, pse, pointers: pae ? words : [] })), { nil: null }),
  virtualState: fc.option(fc.record({ flags: u32, cr0: u32, gdtBase: u32, gdtLimit: u32, idtBase: u32, idtLimit: u32, ldtr: u32, tr: u32 }), { nil: null }),
  tscOffset: fc.integer(),
});

export const effect: fc.Arbitrary<Effect> = fc.oneof(
  fc.record({ kind: fc.constant('register' as const), register: fc.constantFrom(...REGISTER_NAMES), value: u32 }),
  fc.record({ kind: fc.constant('segment' as const), segment: fc.constantFrom(...SEGMENT_NAMES), selector: u16, base: u32, limit: u32, rights: u32 }),
  fc.record({ kind: fc.constant('segment' as const), segment: fc.constantFrom(...SEGMENT_NAMES), selector: u16, base: u32, limit: u32, rights: u32, space }),
  fc.record({ kind: fc.constant('table' as const), table: fc.constantFrom('gdtr' as const, 'idtr' as const), base: u32, limit: u32, space }),
  fc.record({ kind: fc.constant('msr' as const), msr: u32, value: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) }),
  fc.record({ kind: fc.constant('memory' as const), space, address, bytes }),
  fc.record({ kind: fc.constant('frame' as const), frame: u32, target: fc.option(fc.record({ space, frame: u32 }), { nil: null }) }),
  fc.record({ kind: fc.constant('flush' as const), scope: fc.constantFrom('all' as const, 'non-global' as const) }),
  fc.record({ kind: fc.constant('flush-page' as const), linear: u32 }),
  fc.record({ kind: fc.constant('controls' as const), controls }),
  fc.record({ kind: fc.constant('boundary' as const), boundary: fc.record({ events: u32, shadow: u8, trap: fc.option(u32, { nil: null }), repUnderWay: fc.boolean(), mark: u32 }) }),
  fc.record({ kind: fc.constant('interrupt' as const), line: fc.boolean(), vector: fc.option(u8, { nil: null }) }),
  fc.record({ kind: fc.constant('deadline' as const), at: never }),
  fc.record({ kind: fc.constant('activity' as const), activity: fc.constantFrom('active' as const, 'halted' as const) }),
  fc.record({ kind: fc.constant('activity' as const), activity: fc.constant('stopped' as const), state: fc.constantFrom(...STOP_STATES), why: fc.string({ unit: 'grapheme', maxLength: 80 }) }),
);
export const effects = fc.array(effect, { maxLength: 12 });

const access: fc.Arbitrary<BusAccess> = fc.record({ space: fc.constantFrom('port' as const, 'memory' as const), address, size, write: fc.boolean(), count: u32, data: bytes });
const event: fc.Arbitrary<ProcessorEvent> = fc.record({ vector: u8, type: fc.constantFrom(...Object.values(EventType)), errorCode: fc.option(u32, { nil: null }) });
const cost: fc.Arbitrary<ExitCost> = fc.record({ handlerNs: time, nested: fc.array(fc.record({ bus: fc.string({ maxLength: 12 }), count: u32, waitNs: time }), { maxLength: 4 }) });
const segment = fc.record({ selector: u16, base: u32, limit: u32, rights: u32 });

const exitWithoutTimeStamp: fc.Arbitrary<Exit> = fc.record({
  vmId: fc.constant('vm1'), epoch: u32, seq: u32, reason: fc.constantFrom(...Object.values(ExitReason)), qualification: u32, instructionLength: u8, guestLinear: u32,
  guestPhysical: address, now: time, retired: time, executed: time, interruptible: fc.boolean(),
  access: fc.option(access, { nil: null }), event: fc.option(event, { nil: null }),
  registers: fc.option(fc.record({ general: fc.array(u32, { minLength: 8, maxLength: 8 }).map((words) => Uint32Array.from(words)), eip: u32, eflags: u32, cr0: u32, cr2: u32, cr3: u32, cr4: u32, cpl: u8 }), { nil: null }),
  segments: fc.option(fc.record(Object.fromEntries(SEGMENT_NAMES.map((name) => [name, segment])) as Record<(typeof SEGMENT_NAMES)[number], typeof segment>, { requiredKeys: [], noNullPrototype: true }), { nil: null }),
  walk: fc.option(fc.record({ entries: fc.array(fc.record({ address, low: i32, high: i32 }), { maxLength: 2 }), lineAddress: address, line: bytes }), { nil: null }),
  instruction: fc.option(fc.record({
    name: fc.string({ maxLength: 20 }), length: u8, operandSize: fc.constantFrom(2 as const, 4 as const), repeated: fc.boolean(), address16: fc.boolean(), a: i32, b: i32, immediate: i32, segment: u8,
    linear: fc.option(u32, { nil: null }),
  }), { nil: null }),
});
export const exit: fc.Arbitrary<Exit> = fc.tuple(exitWithoutTimeStamp, fc.option(time, { nil: null })).map(([value, timeStamp]) => (timeStamp === null ? value : { ...value, timeStamp }));

export const exitReply: fc.Arbitrary<ExitReply> = fc.record({
  disposition: fc.oneof(
    fc.record({ kind: fc.constant('retire' as const), data: fc.option(bytes, { nil: null }) }),
    fc.record({ kind: fc.constant('retire' as const), data: fc.option(bytes, { nil: null }), count: fc.integer({ min: 2, max: 0xffff_ffff }) }),
    fc.record({ kind: fc.constant('resume' as const) }),
    fc.record({ kind: fc.constant('inject' as const), event, cr2: fc.option(u32, { nil: null }) }),
  ),
  effects, cost,
});

export const busRequest: fc.Arbitrary<BusRequest> = fc.record({
  vmId: fc.constant('vm1'), epoch: u32, seq: u32, ordinal: u16, bus: fc.constantFrom(...BUSES), now: time, address, size, write: fc.boolean(), count: u32, data: bytes, interruptible: fc.boolean(),
});

export const busReply: fc.Arbitrary<BusReply> = fc.oneof(
  fc.record({ data: bytes, lines: u16, rose: u16, deadline: never, effects }),
  fc.record({ data: bytes, lines: u16, rose: u16, deadline: never, effects, cost }),
);
