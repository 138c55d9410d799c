import { GATE_ENTRIES, IRETS } from './event-counters.js';
import { checkReturnTarget, returnOuterLevel, returnSameLevel } from './control-transfer.js';
import type { Cpu } from './cpu.js';
import { Descriptor, INTERRUPT_GATE16, INTERRUPT_GATE32, SELECTOR_RPL, TASK_GATE, TRAP_GATE16, TRAP_GATE32, errorCodeOf, isNull, markAccessed, readDescriptor } from './descriptor.js';
import { ExitReason } from './exit-reason.js';
import { BP, DB, DE, DF, FAULT, GP, NP, OF as OVERFLOW, PF as PAGE_FAULT, TS, raise } from './fault.js';
import { AC, ARITHMETIC_FLAGS, DF as DIRECTION, ID, IF, IOPL, NT, RF, TF, VM, getEflags, setEflags } from './flags.js';
import { UnsupportedMode, interceptException, leaveForEvent, leaveForTripleFault, leaveUnsupported } from './intercepts.js';
import { readTable32 } from './memory.js';
import { observeFlagsLoad } from './sensitive.js';
import { selectorOf, setCodeSegment, setSegment, withinLimit } from './segmentation.js';
import { currentInstructionLength, modeChanged, nextEip } from './slots.js';
import { type ElementSize, StackFrame, peekStack, setStackPointer } from './stack.js';
import {
  ACTIVITY, CPL, CS, CS_SPACE, DR7, EFLAGS_SYSTEM, EIP, ESP, EXTRA_EXECUTED, FAULT_ERROR, FAULT_HAS_ERROR, FAULT_VECTOR, IDTR_BASE, IDTR_LIMIT, IDTR_SPACE, INTERRUPT_SHADOW, NOT_COMPLETED, REP_DONE, SS,
} from './state.js';
import { EventType, type ProcessorEvent } from './step.js';
import { InnerStack, readInnerStack } from './task-state-segment.js';
import type { TranslatedCode } from './translated-code.js';

/*
 * Delivery of interrupts and exceptions, and the return from them (SDM Vol. 3A ch. 6; Vol. 2 INT n, IRET).
 */
const gate = new Descriptor();
const handler = new Descriptor();
const inner = new InnerStack();
const frame = new StackFrame();

/** Error code bits (SDM Vol. 3A 6.13). */
const ERROR_EXT = 1;
const ERROR_IDT = 2;
/** DR7.GD: cleared when a #DB is delivered, so that its handler may read the debug registers (SDM Vol. 3B 17.2.4). */
const DR7_GD = 1 << 13;
/** `int 0x82`: a hypercall of the Xen PV ABI. */
const HYPERCALL_VECTOR = 0x82;

/**
 * Deliver an exception, external interrupt or NMI at the instruction EIP stands at: the run loop calls this for a FAULT it
 * caught and for an interrupt it takes. Ends with the handler's first instruction next, or throws EXIT (nothing but CR2
 * has changed): the exception bitmap or the monitor's IDT wants the event, or a triple fault. Never throws FAULT: a
 * fault during delivery is combined with the event (SDM Vol. 3A 6.15, Table 6-5).
 */
export function interrupt(cpu: Cpu, vector: number, type: EventType, errorCode: number | null): void {
  interceptException(cpu, vector, type, errorCode);
  injectEvent(cpu, vector, type, errorCode);
}

/** As `interrupt`, for an event that ring -1 injects: the exception bitmap does not apply to it, only to faults that its delivery meets (SDM Vol. 3C 26.6.1). */
export function injectEvent(cpu: Cpu, vector: number, type: EventType, errorCode: number | null): void {
  while (!delivered(cpu, vector, type, errorCode)) {
    const second = cpu.i32[FAULT_VECTOR]!;
    const secondError = cpu.i32[FAULT_HAS_ERROR] === 0 ? null : cpu.i32[FAULT_ERROR]!;
    ({ vector, type, errorCode } = combineEvents(cpu, { vector, type }, { vector: second, type: EventType.HardwareException, errorCode: secondError }));
    interceptException(cpu, vector, type, errorCode);
  }
}

/** What becomes of an event whose delivery met the fault `second` (SDM Vol. 3A Table 6-5): `second` itself, a double fault, or shutdown. */
export function combineEvents(cpu: Cpu, first: { vector: number; type: EventType }, second: ProcessorEvent): ProcessorEvent {
  const one = first.type === EventType.HardwareException ? first.vector : BENIGN;
  const two = second.vector;
  if (one === DF && (isContributory(two) || two === PAGE_FAULT)) leaveForTripleFault(cpu);
  const double = (isContributory(one) && isContributory(two)) || (one === PAGE_FAULT && (isContributory(two) || two === PAGE_FAULT));
  return double ? { vector: DF, type: EventType.HardwareException, errorCode: 0 } : second;
}

/** Stands for any benign event: interrupts and INT n are, whatever their vector (SDM Vol. 3A Table 6-4). */
const BENIGN = -1;
const isContributory = (vector: number): boolean => vector === DE || (vector >= TS && vector <= GP);

/** Try to deliver; false when that raised a fault, which then stands in FAULT_VECTOR. */
function delivered(cpu: Cpu, vector: number, type: EventType, errorCode: number | null): boolean {
  try {
    deliver(cpu, vector, type, errorCode, cpu.i32[EIP]!);
    return true;
  } catch (thrown) {
    if (thrown !== FAULT) throw thrown;
    return false;
  }
}

/**
 * INT n, INT3, INTO and INT1 from the instruction being executed. `type` tells them apart: `SoftwareInterrupt` for INT n,
 * `SoftwareException` for INT3 and INTO, `PrivilegedSoftwareException` for INT1, which no gate's DPL restrains.
 */
export function softwareInterrupt(cpu: Cpu, vector: number, type: EventType = EventType.SoftwareInterrupt): void {
  interceptException(cpu, vector, type, null);
  deliver(cpu, vector, type, null, nextEip(cpu));
}

/** Whether the pushed EFLAGS have RF set, so that the restarted instruction does not meet its breakpoint again (SDM Vol. 3B 17.3.1.1). */
function setsResumeFlag(vector: number, type: EventType): boolean {
  return type === EventType.HardwareException && vector !== DB && vector !== BP && vector !== OVERFLOW && vector !== DF;
}

function deliver(cpu: Cpu, vector: number, type: EventType, errorCode: number | null, returnEip: number): void {
  const software = type === EventType.SoftwareInterrupt || type === EventType.SoftwareException;
  const ext = software ? 0 : ERROR_EXT;
  readGate(cpu, vector, type, errorCode, ext);
  const selector = gate.gateSelector;
  readHandler(cpu, selector, ext);
  const level = handler.conforming ? cpu.i32[CPL]! : handler.dpl;
  if (level === 0 && cpu.controls.deprivileged) leaveForEvent(cpu, vector, type, errorCode);
  if (gate.intoMonitorSpace && cpu.i32[IDTR_SPACE] === 1 && cpu.translatedCode !== null) {
    // Other events of its vector are the monitor's, as they are without such a gate.
    if (!software || cpu.i32[CPL] !== 3) leaveForEvent(cpu, vector, type, errorCode);
    enterTranslationCache(cpu, cpu.translatedCode, selector, { vector, type, errorCode }, returnEip);
    return;
  }
  const size: ElementSize = gate.type === INTERRUPT_GATE32 || gate.type === TRAP_GATE32 ? 4 : 2;
  const flags = getEflags(cpu);
  const image = setsResumeFlag(vector, type) ? flags | RF : flags;
  if (level < cpu.i32[CPL]!) pushOnInnerStack(cpu, level, size, ext, image, returnEip, errorCode);
  else pushOnSameStack(cpu, size, ext, image, returnEip, errorCode);
  cpu.f64[GATE_ENTRIES]! += 1;
  setCodeSegment(cpu, selector, level, handler);
  cpu.i32[EIP] = gate.gateOffset;
  const masks = gate.type === INTERRUPT_GATE32 || gate.type === INTERRUPT_GATE16;
  setEflags(cpu, flags & ~(TF | NT | RF | VM | (masks ? IF : 0)));
  if (vector === DB) cpu.i32[DR7]! &= ~DR7_GD;
  cpu.i32[INTERRUPT_SHADOW] = 0;
  cpu.i32[ACTIVITY] = 0;
  modeChanged(cpu);
}

/**
 * A gate of the monitor's IDT that leads into the translation cache (translated-code.ts): its offset is one in monitor space, and the frame goes on the monitor's stack, which lies there too. Added
 * code then does the guest's own delivery; its last instruction, not this one, completes the INT.
 */
function enterTranslationCache(cpu: Cpu, translated: TranslatedCode, selector: number, event: ProcessorEvent, returnEip: number): void {
  const { i32 } = cpu;
  readInnerStack(cpu, handler.dpl, 0, inner);
  translated.enterGate(cpu, event, returnEip, currentInstructionLength(cpu));
  setSegment(cpu, SS, inner.selector, inner.descriptor);
  setCodeSegment(cpu, selector, handler.dpl, handler);
  i32[CS_SPACE] = 1;
  i32[EIP] = gate.gateOffset;
  i32[EFLAGS_SYSTEM]! &= ~(TF | NT | RF | VM);
  i32[INTERRUPT_SHADOW] = 0;
  cpu.f64[GATE_ENTRIES]! += 1;
  i32[REP_DONE] = NOT_COMPLETED;
  i32[EXTRA_EXECUTED]! += 1;
  modeChanged(cpu);
}

/** Find the gate and check it (SDM Vol. 3A 6.11, 6.12.1.1). Events that only the monitor of a deprivileged guest can take leave here. */
function readGate(cpu: Cpu, vector: number, type: EventType, errorCode: number | null, ext: number): void {
  const { deprivileged } = cpu.controls;
  const error = (vector << 3) | ERROR_IDT | ext;
  const exists = readIdt(cpu, vector);
  const restrained = type === EventType.SoftwareInterrupt || type === EventType.SoftwareException;
  // The monitor needs no gate for an event it takes itself; but INT n of the guest through no gate is #GP, as with any IDT.
  if (deprivileged && type !== EventType.SoftwareInterrupt && (!exists || !gate.present)) leaveForEvent(cpu, vector, type, errorCode);
  if (!exists) raise(cpu, GP, error);
  if (restrained && gate.dpl < cpu.i32[CPL]!) raise(cpu, GP, error);
  if (!gate.present) raise(cpu, NP, error);
  if (gate.type === TASK_GATE) leaveUnsupported(cpu, UnsupportedMode.TaskSwitch);
  if (deprivileged && vector === HYPERCALL_VECTOR && type === EventType.SoftwareInterrupt) leaveForEvent(cpu, vector, type, null, ExitReason.Hypercall);
}

/** Read IDT entry `vector`; false when it lies beyond the limit or is no gate that the IDT may hold. */
function readIdt(cpu: Cpu, vector: number): boolean {
  const { i32 } = cpu;
  const offset = vector << 3;
  if (offset + 7 > i32[IDTR_LIMIT]!) return false;
  gate.low = readTable32(cpu, i32[IDTR_SPACE]!, i32[IDTR_BASE]!, offset);
  gate.high = readTable32(cpu, i32[IDTR_SPACE]!, i32[IDTR_BASE]!, offset + 4);
  return gate.system && (IDT_TYPES >>> gate.type & 1) !== 0;
}
const IDT_TYPES = (1 << TASK_GATE) | (1 << INTERRUPT_GATE16) | (1 << TRAP_GATE16) | (1 << INTERRUPT_GATE32) | (1 << TRAP_GATE32);

/** Read and check the code segment that the gate names. */
function readHandler(cpu: Cpu, selector: number, ext: number): void {
  if (isNull(selector)) raise(cpu, GP, ext);
  const error = errorCodeOf(selector) | ext;
  if (!readDescriptor(cpu, selector, handler) || !handler.code || handler.dpl > cpu.i32[CPL]!) raise(cpu, GP, error);
  if (!handler.present) raise(cpu, NP, error);
}

function checkHandlerEip(cpu: Cpu, ext: number): void {
  if (!withinLimit(handler.rights, handler.limit, gate.gateOffset, 1)) raise(cpu, GP, ext);
}

function pushOnInnerStack(cpu: Cpu, level: number, size: ElementSize, ext: number, image: number, returnEip: number, errorCode: number | null): void {
  readInnerStack(cpu, level, ext, inner);
  const count = errorCode === null ? 5 : 6;
  frame.onInner(inner, size).checkRoom(cpu, count, errorCodeOf(inner.selector) | ext);
  checkHandlerEip(cpu, ext);
  frame.probe(cpu, count);
  markAccessed(cpu, handler);
  markAccessed(cpu, inner.descriptor);
  frame.push(cpu, selectorOf(cpu, SS));
  frame.push(cpu, cpu.i32[ESP]!);
  pushReturn(cpu, image, returnEip, errorCode);
  setSegment(cpu, SS, inner.selector, inner.descriptor);
  cpu.i32[ESP] = frame.pointer;
}

function pushOnSameStack(cpu: Cpu, size: ElementSize, ext: number, image: number, returnEip: number, errorCode: number | null): void {
  const count = errorCode === null ? 3 : 4;
  frame.onCurrent(cpu, size).checkRoom(cpu, count, ext);
  checkHandlerEip(cpu, ext);
  frame.probe(cpu, count);
  markAccessed(cpu, handler);
  pushReturn(cpu, image, returnEip, errorCode);
  setStackPointer(cpu, frame.pointer);
}

function pushReturn(cpu: Cpu, image: number, returnEip: number, errorCode: number | null): void {
  frame.push(cpu, image);
  frame.push(cpu, selectorOf(cpu, CS));
  frame.push(cpu, returnEip);
  if (errorCode !== null) frame.push(cpu, errorCode);
}

/** IRET (SDM Vol. 2A IRET, protected mode). A return to virtual-8086 mode or to the previous task stops the machine by name. */
export function iret(cpu: Cpu, operandSize: ElementSize): void {
  const flags = getEflags(cpu);
  if ((flags & NT) !== 0) leaveUnsupported(cpu, UnsupportedMode.TaskSwitch);
  const eip = peekStack(cpu, 0, operandSize);
  const selector = peekStack(cpu, 1, operandSize) & 0xffff;
  const image = peekStack(cpu, 2, operandSize);
  const level = cpu.i32[CPL]!;
  if (operandSize === 4 && (image & VM) !== 0 && level === 0) leaveUnsupported(cpu, UnsupportedMode.Virtual8086);
  checkReturnTarget(cpu, selector);
  // What IRET may change depends on the level it runs at, not the one it returns to.
  const mask = iretMask(level, flags, operandSize);
  if ((selector & SELECTOR_RPL) === level) returnSameLevel(cpu, selector, eip, 3 * operandSize);
  else returnOuterLevel(cpu, selector, eip, 3, operandSize, 0);
  if (operandSize === 4) observeFlagsLoad(cpu, 'IRET', image, level !== 3);
  setEflags(cpu, (flags & ~mask) | (image & mask));
  // Out of translated code the way leads to an application (return-sequence.ts of the translator), which runs as it is.
  cpu.i32[CS_SPACE] = 0;
  cpu.f64[IRETS]! += 1;
}

/** EFLAGS bits that IRET loads: IF where CPL ≤ IOPL, IOPL at level 0, the upper half with 32-bit operands. */
function iretMask(cpl: number, flags: number, size: ElementSize): number {
  let mask = ARITHMETIC_FLAGS | TF | DIRECTION | NT;
  if (size === 4) mask |= RF | AC | ID;
  if (cpl <= ((flags & IOPL) >>> 12)) mask |= IF;
  if (cpl === 0) mask |= IOPL;
  return mask;
}
