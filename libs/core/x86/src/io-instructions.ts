import { noteAccess, notePortAccess } from './breakpoints.js';
import { META_REP, META_REPNE } from './slot-layout.js';
import type { Cpu } from './cpu.js';
import { TYPE_CODE, TYPE_EXPAND_DOWN } from './descriptor.js';
import { ExitReason } from './exit-reason.js';
import { leave } from './fault.js';
import { DF, TF } from './flags.js';
import type { InstructionSet } from './instruction.js';
import { checkIo } from './io.js';
import { ioIntercepted, IoQualification, ioQualification } from './intercepts.js';
import { immediate, segmentLinear, segmentOf } from './operands.js';
import { traceWrite } from './memory.js';
import { READ, translate, WRITE } from './paging.js';
import { codeWritten } from './code-cache.js';
import { currentInstructionLength } from './slots.js';
import { EAX, ECX, EDI, EDX, EFLAGS_SYSTEM, EIP, ES, ESI, NOT_COMPLETED, REP_DONE, SEGMENTS, SEGMENT_BASE, SEGMENT_LIMIT, SEGMENT_RIGHTS, SEGMENT_WORDS } from './state.js';
import { StepResult } from './step.js';
import { advance } from './string-instructions.js';

/**
 * IN OUT INS OUTS (SDM Vol. 2). They always leave the processor: a VM exit where the execution controls say so, else a bus cycle. `completePort`
 * finishes the instruction with the answer. A REP INS or OUTS leaves once for the elements that lie in one page.
 */

const { floor } = Math;

type Size = 1 | 2 | 4;

/** What `completePort` needs to know of the access under way. */
export interface PortAccess {
  string: boolean;
  repeated: boolean;
  narrow: boolean;
  length: number;
  linear: number;
}

function access(cpu: Cpu, slot: number, port: number, size: Size, write: boolean, count: number, data: Uint8Array, form: number, linear: number): void {
  const { exit, portAccess } = cpu;
  const repeated = (form & IoQualification.Rep) !== 0;
  portAccess.string = (form & IoQualification.String) !== 0;
  portAccess.repeated = repeated;
  portAccess.narrow = (cpu.code.slots[slot + 4]! & 0x1000) !== 0;
  portAccess.length = currentInstructionLength(cpu);
  portAccess.linear = linear;
  exit.access = { space: 'port', address: port, size, write, count, data };
  exit.instructionLength = portAccess.length;
  exit.event = null;
  exit.guestLinear = linear >>> 0;
  exit.guestPhysical = 0;
  // Nothing has changed, so the instruction can just return: port accesses are too frequent to throw.
  if (ioIntercepted(cpu, port, size)) {
    exit.reason = ExitReason.IoInstruction;
    exit.qualification = ioQualification(port, size, form | (write ? 0 : IoQualification.In));
    cpu.stepResult = StepResult.Exit;
  } else cpu.stepResult = StepResult.BusCycle;
  cpu.i32[REP_DONE] = NOT_COMPLETED;
  cpu.i32[EIP] = cpu.i32[EIP]! - portAccess.length;
}

function value(cpu: Cpu, size: Size): Uint8Array {
  return cpu.u8.slice(EAX * 4, EAX * 4 + size);
}
const NOTHING = new Uint8Array(0);

function input(cpu: Cpu, slot: number, port: number, size: Size, form: number): void {
  checkIo(cpu, port, size);
  access(cpu, slot, port, size, false, 1, NOTHING, form, 0);
}
function output(cpu: Cpu, slot: number, port: number, size: Size, form: number): void {
  checkIo(cpu, port, size);
  access(cpu, slot, port, size, true, 1, value(cpu, size), form, 0);
}

const port = (cpu: Cpu): number => cpu.i32[EDX]! & 0xffff;

/**
 * INS and OUTS: how many elements go in this access: to the end of the page, whatever budget is left. (It leaves the processor anyway, and where a slice happens
 * to end must not show in the number of accesses.)
 */
function elements(cpu: Cpu, slot: number, size: Size, register: number, segment: number): number {
  const { i32 } = cpu;
  if (!isRepeated(cpu, slot)) return 1;
  const narrow = (cpu.code.slots[slot + 4]! & 0x1000) !== 0;
  const left = narrow ? i32[ECX]! & 0xffff : i32[ECX]! >>> 0;
  if (narrow || cpu.debugging || (i32[EFLAGS_SYSTEM]! & (DF | TF)) !== 0) return 1;
  const offset = i32[register]!;
  const inPage = (4096 - ((offset + i32[SEGMENTS + segment * SEGMENT_WORDS + SEGMENT_BASE]!) & 0xfff)) >> (size >> 1);
  const count = left < inPage ? left : inPage;
  if (count < 1) return 1;
  // What the segment still holds; expand-down segments go one element at a time.
  const at = SEGMENTS + segment * SEGMENT_WORDS;
  if ((i32[at + SEGMENT_RIGHTS]! & (TYPE_CODE | TYPE_EXPAND_DOWN)) === TYPE_EXPAND_DOWN) return 1;
  const inSegment = floor(((i32[at + SEGMENT_LIMIT]! >>> 0) - (offset >>> 0) + 1) / size);
  return inSegment < count ? inSegment : count;
}
const isRepeated = (cpu: Cpu, slot: number): boolean => (cpu.code.slots[slot + 7]! & (META_REP | META_REPNE)) !== 0;

/** A REP with nothing left does nothing, once it is permitted: processors check that first (found on the host processor). */
function isDone(cpu: Cpu, slot: number): boolean {
  if (!isRepeated(cpu, slot)) return false;
  return ((cpu.code.slots[slot + 4]! & 0x1000) !== 0 ? cpu.i32[ECX]! & 0xffff : cpu.i32[ECX]!) === 0;
}
const stringForm = (cpu: Cpu, slot: number): number => IoQualification.String | (isRepeated(cpu, slot) ? IoQualification.Rep : 0);

const offsetOf = (cpu: Cpu, slot: number, register: number): number => ((cpu.code.slots[slot + 4]! & 0x1000) !== 0 ? cpu.i32[register]! & 0xffff : cpu.i32[register]!);

/** Memory side of a string access: the pages must be there before the device is touched. */
function tryMemory(cpu: Cpu, linear: number, bytes: number, toWrite: boolean): void {
  const user = cpu.user !== 0;
  const kind = toWrite ? WRITE : READ;
  const last = (linear + bytes - 1) | 0;
  if (translate(cpu, linear, kind, user) < 0 && cpu.eptViolated) leave(cpu, ExitReason.EptViolation, cpu.exit.qualification);
  if (((linear ^ last) & 0xfffff000) !== 0 && translate(cpu, last, kind, user) < 0 && cpu.eptViolated) leave(cpu, ExitReason.EptViolation, cpu.exit.qualification);
}

function ins(cpu: Cpu, slot: number, size: Size): void {
  checkIo(cpu, port(cpu), size);
  if (isDone(cpu, slot)) return;
  cpu.exit.access = null;
  const linear = segmentLinear(cpu, ES, offsetOf(cpu, slot, EDI), size, true);
  tryMemory(cpu, linear, size, true);
  const count = elements(cpu, slot, size, EDI, ES);
  // What will be read is not known yet: ring -1 hears where it goes before the device is asked.
  if (cpu.controls.shadowRoot !== null) traceWrite(cpu, linear, size * count, cpu.user !== 0);
  access(cpu, slot, port(cpu), size, false, count, NOTHING, stringForm(cpu, slot), linear);
}

function outs(cpu: Cpu, slot: number, size: Size): void {
  checkIo(cpu, port(cpu), size);
  if (isDone(cpu, slot)) return;
  cpu.exit.access = null;
  const segment = segmentOf(cpu, slot);
  const linear = segmentLinear(cpu, segment, offsetOf(cpu, slot, ESI), size, false);
  tryMemory(cpu, linear, size, false);
  const count = elements(cpu, slot, size, ESI, segment);
  const data = new Uint8Array(count * size).fill(0xff);
  copyLinear(cpu, linear, data, false);
  access(cpu, slot, port(cpu), size, true, count, data, stringForm(cpu, slot), linear);
}

/** Copy between `data` and linear memory that has been tried; bytes without RAM read all ones and are not written. */
function copyLinear(cpu: Cpu, linear: number, data: Uint8Array, toMemory: boolean): void {
  const user = cpu.user !== 0;
  for (let done = 0; done < data.length;) {
    const from = (linear + done) | 0;
    const inPage = 4096 - (from & 0xfff);
    const count = data.length - done < inPage ? data.length - done : inPage;
    const found = translate(cpu, from, toMemory ? WRITE : READ, user);
    if (cpu.debugging) noteAccess(cpu, from, count, toMemory);
    // A write to a traced page has been announced by `ins`.
    const at = found < 0 && toMemory ? cpu.tracedHost : found;
    if (at >= 0 && toMemory) {
      cpu.u8.set(data.subarray(done, done + count), at);
      codeWritten(cpu, at, count);
    } else if (at >= 0) data.set(cpu.u8.subarray(at, at + count), done);
    done += count;
  }
}

/**
 * Finish the port access that the processor left with: `data` is what was read (missing bytes read as ones). Returns the iterations done.
 * EIP moves behind the instruction, unless a REP has more to do.
 */
export function completePort(cpu: Cpu, data: Uint8Array | null): number {
  const { i32, portAccess } = cpu;
  const { address, size, write, count } = cpu.exit.access!;
  if (cpu.debugging) notePortAccess(cpu, address, size);
  const read = new Uint8Array(write ? 0 : size * count).fill(0xff);
  if (!write && data !== null) read.set(data.subarray(0, read.length));
  if (!portAccess.string) {
    if (!write) cpu.u8.set(read, EAX * 4);
    i32[EIP] = i32[EIP]! + portAccess.length;
    return 1;
  }
  if (!write) copyLinear(cpu, portAccess.linear, read, true);
  advance(cpu, portAccess.narrow, write ? ESI : EDI, size * count);
  let finished = true;
  if (portAccess.repeated) {
    const left = (portAccess.narrow ? i32[ECX]! & 0xffff : i32[ECX]! >>> 0) - count;
    if (portAccess.narrow) cpu.u16[ECX << 1] = left;
    else i32[ECX] = left;
    finished = left === 0;
  }
  if (finished) i32[EIP] = i32[EIP]! + portAccess.length;
  return count;
}

export const IO_INSTRUCTIONS: InstructionSet = {
  'IN AL,Ib': (cpu, slot) => input(cpu, slot, immediate(cpu, slot), 1, IoQualification.Immediate),
  'IN eAX,Ib': [(cpu, slot) => input(cpu, slot, immediate(cpu, slot), 2, IoQualification.Immediate), (cpu, slot) => input(cpu, slot, immediate(cpu, slot), 4, IoQualification.Immediate)],
  'IN AL,DX': (cpu, slot) => input(cpu, slot, port(cpu), 1, 0),
  'IN eAX,DX': [(cpu, slot) => input(cpu, slot, port(cpu), 2, 0), (cpu, slot) => input(cpu, slot, port(cpu), 4, 0)],
  'OUT Ib,AL': (cpu, slot) => output(cpu, slot, immediate(cpu, slot), 1, IoQualification.Immediate),
  'OUT Ib,eAX': [(cpu, slot) => output(cpu, slot, immediate(cpu, slot), 2, IoQualification.Immediate), (cpu, slot) => output(cpu, slot, immediate(cpu, slot), 4, IoQualification.Immediate)],
  'OUT DX,AL': (cpu, slot) => output(cpu, slot, port(cpu), 1, 0),
  'OUT DX,eAX': [(cpu, slot) => output(cpu, slot, port(cpu), 2, 0), (cpu, slot) => output(cpu, slot, port(cpu), 4, 0)],
  'INS Yb,DX': (cpu, slot) => ins(cpu, slot, 1),
  'INS Yv,DX': [(cpu, slot) => ins(cpu, slot, 2), (cpu, slot) => ins(cpu, slot, 4)],
  'OUTS DX,Xb': (cpu, slot) => outs(cpu, slot, 1),
  'OUTS DX,Xv': [(cpu, slot) => outs(cpu, slot, 2), (cpu, slot) => outs(cpu, slot, 4)],
};
