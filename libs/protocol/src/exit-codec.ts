import { SEGMENT_NAMES, type Disposition, type Exit, type ExitReply, type RegisterState, type SegmentName, type SegmentState } from '@ringside/machine';
import { EventType, ExitReason, type BusAccess, type GuestWalk, type InstructionAssist, type ProcessorEvent } from '@ringside/x86';
import type { ByteReader } from './byte-reader.js';
import type { ByteWriter } from './byte-writer.js';
import { readCost, writeCost } from './cost-codec.js';
import { readEffects, writeEffects } from './effect-codec.js';
import { FrameKind, Hop, beginFrame, readBody, type FrameHeader, type TraceContext } from './frame-header.js';
import { ProtocolError } from './protocol-error.js';

/** Which groups follow the fixed part of an exit; only those present travel. */
const Present = { Interruptible: 1, Access: 2, Event: 4, Registers: 8, Segments: 16, Walk: 32, Instruction: 64, TimeStamp: 128 } as const;
const REASONS: ReadonlySet<number> = new Set(Object.values(ExitReason));
const EVENT_TYPES: ReadonlySet<number> = new Set(Object.values(EventType));

export function encodeExit(exit: Exit, trace: TraceContext | null): Uint8Array {
  const w = beginFrame(FrameKind.Exit, Hop.GuestCpu, exit.epoch, exit.seq, 0, trace);
  const { access, event, registers, segments } = exit;
  const walk = exit.walk ?? null;
  const instruction = exit.instruction ?? null;
  w.u8((exit.interruptible ? Present.Interruptible : 0) | (access === null ? 0 : Present.Access) | (event === null ? 0 : Present.Event)
    | (registers === null ? 0 : Present.Registers) | (segments === null ? 0 : Present.Segments) | (walk === null ? 0 : Present.Walk) | (instruction === null ? 0 : Present.Instruction)
    | (exit.timeStamp === undefined ? 0 : Present.TimeStamp));
  w.u16(exit.reason);
  w.u32(exit.qualification);
  w.u8(exit.instructionLength);
  w.u32(exit.guestLinear);
  w.f64(exit.guestPhysical);
  w.f64(exit.now);
  w.f64(exit.retired);
  w.f64(exit.executed);
  if (exit.timeStamp !== undefined) w.f64(exit.timeStamp);
  if (access !== null) writeAccess(w, access);
  if (event !== null) writeEvent(w, event);
  if (registers !== null) writeRegisters(w, registers);
  if (segments !== null) writeSegments(w, segments);
  if (walk !== null) writeWalk(w, walk);
  if (instruction !== null) writeInstruction(w, instruction);
  return w.finish();
}

/**
 * @param vmId from the subject: a frame does not repeat it
 * @throws ProtocolError
 */
export function decodeExit(bytes: Uint8Array, vmId: string): Exit {
  const { header, body: r } = readBody(bytes, FrameKind.Exit);
  const present = r.u8();
  const reason = r.u16();
  if (!REASONS.has(reason)) throw new ProtocolError('value', `exit reason ${reason}`);
  const exit: Exit = {
    vmId, epoch: header.epoch, seq: header.seq, reason: reason as ExitReason, qualification: r.u32(), instructionLength: r.u8(), guestLinear: r.u32(),
    guestPhysical: r.quantity(), now: r.quantity(), retired: r.quantity(), executed: r.quantity(), interruptible: (present & Present.Interruptible) !== 0,
    access: null, event: null, registers: null, segments: null, walk: null, instruction: null,
  };
  if ((present & Present.TimeStamp) !== 0) exit.timeStamp = r.quantity();
  if ((present & Present.Access) !== 0) exit.access = readAccess(r);
  if ((present & Present.Event) !== 0) exit.event = readEvent(r);
  if ((present & Present.Registers) !== 0) exit.registers = readRegisters(r);
  if ((present & Present.Segments) !== 0) exit.segments = readSegments(r);
  if ((present & Present.Walk) !== 0) exit.walk = readWalk(r);
  if ((present & Present.Instruction) !== 0) exit.instruction = readInstruction(r);
  r.end();
  return exit;
}

const DISPOSITIONS = ['retire', 'resume', 'inject'] as const satisfies readonly Disposition['kind'][];

export function encodeExitReply(reply: ExitReply, request: FrameHeader): Uint8Array {
  const w = beginFrame(FrameKind.ExitReply, Hop.Hypervisor, request.epoch, request.seq, request.ordinal, null);
  const { disposition } = reply;
  w.u8(DISPOSITIONS.indexOf(disposition.kind));
  if (disposition.kind === 'retire') {
    w.u8(disposition.data === null ? 0 : 1);
    if (disposition.data !== null) w.blob(disposition.data);
    w.u32(disposition.count ?? 1);
  } else if (disposition.kind === 'inject') {
    writeEvent(w, disposition.event);
    w.u8(disposition.cr2 === null ? 0 : 1);
    w.u32(disposition.cr2 ?? 0);
  }
  writeEffects(w, reply.effects);
  writeCost(w, reply.cost);
  return w.finish();
}

/** @throws ProtocolError */
export function decodeExitReply(bytes: Uint8Array): ExitReply {
  const { body: r } = readBody(bytes, FrameKind.ExitReply);
  const reply: ExitReply = { disposition: readDisposition(r), effects: readEffects(r), cost: readCost(r) };
  r.end();
  return reply;
}

function readDisposition(r: ByteReader): Disposition {
  const kind = r.oneOf(DISPOSITIONS);
  if (kind === 'resume') return { kind };
  if (kind === 'retire') {
    const data = r.flag() ? r.blob() : null;
    const count = r.u32();
    return count === 1 ? { kind, data } : { kind, data, count };
  }
  const event = readEvent(r);
  const hasCr2 = r.flag();
  const cr2 = r.u32();
  return { kind, event, cr2: hasCr2 ? cr2 : null };
}

function writeAccess(w: ByteWriter, access: BusAccess): void {
  w.u8((access.space === 'memory' ? 1 : 0) | (access.write ? 2 : 0));
  w.u8(access.size);
  w.u32(access.count);
  w.f64(access.address);
  w.blob(access.data);
}

function readAccess(r: ByteReader): BusAccess {
  const flags = r.u8();
  if (flags > 3) throw new ProtocolError('value', `access flags ${flags}`);
  return { space: (flags & 1) === 0 ? 'port' : 'memory', write: (flags & 2) !== 0, size: readSize(r), count: r.u32(), address: r.quantity(), data: r.blob() };
}

export function readSize(r: ByteReader): 1 | 2 | 4 {
  const size = r.u8();
  if (size !== 1 && size !== 2 && size !== 4) throw new ProtocolError('value', `access size ${size}`);
  return size;
}

function writeEvent(w: ByteWriter, event: ProcessorEvent): void {
  w.u8(event.vector);
  w.u8(event.type);
  w.u8(event.errorCode === null ? 0 : 1);
  w.u32(event.errorCode ?? 0);
}

function readEvent(r: ByteReader): ProcessorEvent {
  const vector = r.u8();
  const type = r.u8();
  if (!EVENT_TYPES.has(type)) throw new ProtocolError('value', `event type ${type}`);
  const hasError = r.flag();
  const errorCode = r.u32();
  return { vector, type: type as EventType, errorCode: hasError ? errorCode : null };
}

function writeRegisters(w: ByteWriter, state: RegisterState): void {
  for (let i = 0; i < 8; i++) w.u32(state.general[i] ?? 0);
  w.u32(state.eip);
  w.u32(state.eflags);
  w.u32(state.cr0);
  w.u32(state.cr2);
  w.u32(state.cr3);
  w.u32(state.cr4);
  w.u8(state.cpl);
}

function readRegisters(r: ByteReader): RegisterState {
  const general = new Uint32Array(8);
  for (let i = 0; i < 8; i++) general[i] = r.u32();
  return { general, eip: r.u32(), eflags: r.u32(), cr0: r.u32(), cr2: r.u32(), cr3: r.u32(), cr4: r.u32(), cpl: r.u8() };
}

function writeInstruction(w: ByteWriter, assist: InstructionAssist): void {
  w.text(assist.name);
  w.u8(assist.length);
  w.u8((assist.operandSize === 2 ? 1 : 0) | (assist.repeated ? 2 : 0) | (assist.address16 ? 4 : 0) | (assist.linear === null ? 0 : 8));
  w.u32(assist.a >>> 0);
  w.u32(assist.b >>> 0);
  w.u32(assist.immediate >>> 0);
  w.u8(assist.segment);
  w.u32(assist.linear ?? 0);
}

function readInstruction(r: ByteReader): InstructionAssist {
  const name = r.text();
  const length = r.u8();
  const flags = r.u8();
  if (flags > 15) throw new ProtocolError('value', `instruction flags ${flags}`);
  const numbers = { a: r.u32() | 0, b: r.u32() | 0, immediate: r.u32() | 0, segment: r.u8() };
  const linear = r.u32();
  return { name, length, operandSize: (flags & 1) === 0 ? 4 : 2, repeated: (flags & 2) !== 0, address16: (flags & 4) !== 0, ...numbers, linear: (flags & 8) === 0 ? null : linear };
}

/** At most two levels below the registers (PAE: directory and table), and a line of 64 bytes. */
function writeWalk(w: ByteWriter, walk: GuestWalk): void {
  w.u8(walk.entries.length);
  for (const { address, low, high } of walk.entries) {
    w.f64(address);
    w.u32(low >>> 0);
    w.u32(high >>> 0);
  }
  w.f64(walk.lineAddress);
  w.blob(walk.line);
}

function readWalk(r: ByteReader): GuestWalk {
  const count = r.u8();
  if (count > 2) throw new ProtocolError('value', `a walk of ${count} entries`);
  const entries = Array.from({ length: count }, () => ({ address: r.quantity(), low: r.u32() | 0, high: r.u32() | 0 }));
  return { entries, lineAddress: r.quantity(), line: r.blob() };
}

function writeSegments(w: ByteWriter, segments: Partial<Record<SegmentName, SegmentState>>): void {
  let mask = 0;
  SEGMENT_NAMES.forEach((name, bit) => { if (segments[name] !== undefined) mask |= 1 << bit; });
  w.u8(mask);
  for (const name of SEGMENT_NAMES) {
    const segment = segments[name];
    if (segment === undefined) continue;
    w.u16(segment.selector);
    w.u32(segment.base);
    w.u32(segment.limit);
    w.u32(segment.rights);
  }
}

function readSegments(r: ByteReader): Partial<Record<SegmentName, SegmentState>> {
  const mask = r.u8();
  const segments: Partial<Record<SegmentName, SegmentState>> = {};
  SEGMENT_NAMES.forEach((name, bit) => {
    if ((mask & (1 << bit)) !== 0) segments[name] = { selector: r.u16(), base: r.u32(), limit: r.u32(), rights: r.u32() };
  });
  return segments;
}
