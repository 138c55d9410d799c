import type { Cpu } from './cpu.js';
import { CALL_GATE16, CALL_GATE32, Descriptor, SELECTOR_RPL, TASK_GATE, TSS16_AVAILABLE, TSS32_AVAILABLE, effectiveLevel, errorCodeOf, isNull, markAccessed, readDescriptor } from './descriptor.js';
import { FAR_TRANSFERS } from './event-counters.js';
import { GP, NP, SS_FAULT, raise } from './fault.js';
import { UnsupportedMode, leaveUnsupported } from './intercepts.js';
import { observeRequestedLevel, observeSelector } from './sensitive.js';
import { dropInnerDataSegments, selectorOf, setCodeSegment, setSegment, withinLimit } from './segmentation.js';
import { modeChanged, nextEip } from './slots.js';
import { type ElementSize, StackFrame, peekStack, setStackPointer } from './stack.js';
import { CPL, CS, EIP, ESP, SS } from './state.js';
import { InnerStack, readInnerStack } from './task-state-segment.js';

/*
 * Far JMP, CALL and RET (SDM Vol. 2: CALL, JMP, RET; Vol. 3A 5.8). The order of checks is that of the instruction pages. All
 * checks and probes come before the first change.
 */
const target = new Descriptor();
const code = new Descriptor();
const inner = new InnerStack();
const frame = new StackFrame();
const outerStack = new Descriptor();
/** Parameters on their way from the caller's stack to the callee's: at most 31 (five bits in the gate). */
const parameters = new Int32Array(31);

/** Where a JMP or CALL leads after a call gate has been followed. */
function followCallGate(cpu: Cpu, selector: number): number {
  const error = errorCodeOf(selector);
  if (target.dpl < effectiveLevel(cpu, selector)) raise(cpu, GP, error);
  if (!target.present) raise(cpu, NP, error);
  const codeSelector = target.gateSelector;
  if (isNull(codeSelector)) raise(cpu, GP, 0);
  const codeError = errorCodeOf(codeSelector);
  if (!readDescriptor(cpu, codeSelector, code) || !code.code || code.dpl > cpu.i32[CPL]!) raise(cpu, GP, codeError);
  return codeSelector;
}

/** Checks of a far transfer straight to a code segment, without a gate (SDM Vol. 3A 5.8.1). */
function checkDirectTarget(cpu: Cpu, selector: number): void {
  const cpl = cpu.i32[CPL]!;
  const error = errorCodeOf(selector);
  if (target.conforming ? target.dpl > cpl : target.dpl !== cpl || (selector & SELECTOR_RPL) > cpl) raise(cpu, GP, error);
  if (!target.present) raise(cpu, NP, error);
}

/** A far transfer to a TSS or task gate switches tasks, which is not built: check as the processor does, then stop by name. */
function refuseTask(cpu: Cpu, selector: number): never {
  const error = errorCodeOf(selector);
  const { type } = target;
  if (type !== TASK_GATE && type !== TSS16_AVAILABLE && type !== TSS32_AVAILABLE) raise(cpu, GP, error);
  if (target.dpl < effectiveLevel(cpu, selector)) raise(cpu, GP, error);
  if (!target.present) raise(cpu, NP, error);
  leaveUnsupported(cpu, UnsupportedMode.TaskSwitch);
}

const isCallGate = (descriptor: Descriptor): boolean => descriptor.system && (descriptor.type === CALL_GATE32 || descriptor.type === CALL_GATE16);
const narrow = (offset: number, size: ElementSize): number => (size === 4 ? offset | 0 : offset & 0xffff);

function checkEntryPoint(cpu: Cpu, descriptor: Descriptor, offset: number, errorCode = 0): void {
  if (!withinLimit(descriptor.rights, descriptor.limit, offset, 1)) raise(cpu, GP, errorCode);
}

/** Read the descriptor a far pointer names; #GP as JMP and CALL raise it. */
function readTarget(cpu: Cpu, selector: number): void {
  if (isNull(selector)) raise(cpu, GP, 0);
  if (!readDescriptor(cpu, selector, target)) raise(cpu, GP, errorCodeOf(selector));
}

/** Far JMP. `operandSize` 2 cuts the offset to 16 bits. */
export function farJump(cpu: Cpu, selector: number, offset: number, operandSize: ElementSize): void {
  selector &= 0xffff;
  readTarget(cpu, selector);
  if (target.code) {
    checkDirectTarget(cpu, selector);
    if (!target.conforming) observeRequestedLevel(cpu, 'JMP', selector);
    enter(cpu, selector, target, narrow(offset, operandSize));
  } else if (isCallGate(target)) {
    const codeSelector = followCallGate(cpu, selector);
    // A JMP does not change the privilege level.
    if (!code.conforming && code.dpl !== cpu.i32[CPL]) raise(cpu, GP, errorCodeOf(codeSelector));
    if (!code.present) raise(cpu, NP, errorCodeOf(codeSelector));
    enter(cpu, codeSelector, code, target.gateOffset);
  } else if (target.system) {
    refuseTask(cpu, selector);
  } else {
    raise(cpu, GP, errorCodeOf(selector));
  }
  cpu.f64[FAR_TRANSFERS]! += 1;
}

function enter(cpu: Cpu, selector: number, descriptor: Descriptor, offset: number): void {
  checkEntryPoint(cpu, descriptor, offset);
  markAccessed(cpu, descriptor);
  setCodeSegment(cpu, selector, cpu.i32[CPL]!, descriptor);
  cpu.i32[EIP] = offset;
  modeChanged(cpu);
}

/** Far CALL: pushes CS and the next EIP, on the stack of the new level when a gate leads inward. */
export function farCall(cpu: Cpu, selector: number, offset: number, operandSize: ElementSize): void {
  selector &= 0xffff;
  readTarget(cpu, selector);
  if (target.code) {
    checkDirectTarget(cpu, selector);
    if (!target.conforming) observeRequestedLevel(cpu, 'CALL', selector);
    callSameLevel(cpu, selector, target, narrow(offset, operandSize), operandSize);
  } else if (isCallGate(target)) {
    const codeSelector = followCallGate(cpu, selector);
    if (!code.present) raise(cpu, NP, errorCodeOf(codeSelector));
    const size: ElementSize = target.type === CALL_GATE32 ? 4 : 2;
    if (!code.conforming && code.dpl < cpu.i32[CPL]!) callInnerLevel(cpu, codeSelector, target.gateOffset, size, target.parameterCount);
    else callSameLevel(cpu, codeSelector, code, target.gateOffset, size);
  } else if (target.system) {
    refuseTask(cpu, selector);
  } else {
    raise(cpu, GP, errorCodeOf(selector));
  }
  cpu.f64[FAR_TRANSFERS]! += 1;
}

function callSameLevel(cpu: Cpu, selector: number, descriptor: Descriptor, offset: number, size: ElementSize): void {
  const returnEip = nextEip(cpu);
  frame.onCurrent(cpu, size).checkRoom(cpu, 2, 0);
  checkEntryPoint(cpu, descriptor, offset);
  frame.probe(cpu, 2);
  markAccessed(cpu, descriptor);
  frame.push(cpu, selectorOf(cpu, CS));
  frame.push(cpu, returnEip);
  observeSelector(cpu, 'CALL', CS);
  setStackPointer(cpu, frame.pointer);
  setCodeSegment(cpu, selector, cpu.i32[CPL]!, descriptor);
  cpu.i32[EIP] = offset;
  modeChanged(cpu);
}

function callInnerLevel(cpu: Cpu, selector: number, offset: number, size: ElementSize, count: number): void {
  const returnEip = nextEip(cpu);
  const level = code.dpl;
  readInnerStack(cpu, level, 0, inner);
  frame.onInner(inner, size).checkRoom(cpu, 4 + count, errorCodeOf(inner.selector));
  checkEntryPoint(cpu, code, offset);
  for (let index = 0; index < count; index++) parameters[index] = peekStack(cpu, index, size);
  frame.probe(cpu, 4 + count);
  markAccessed(cpu, code);
  markAccessed(cpu, inner.descriptor);
  frame.push(cpu, selectorOf(cpu, SS));
  frame.push(cpu, cpu.i32[ESP]!);
  for (let index = count - 1; index >= 0; index--) frame.push(cpu, parameters[index]!);
  frame.push(cpu, selectorOf(cpu, CS));
  frame.push(cpu, returnEip);
  setSegment(cpu, SS, inner.selector, inner.descriptor);
  cpu.i32[ESP] = frame.pointer;
  setCodeSegment(cpu, selector, level, code);
  cpu.i32[EIP] = offset;
  modeChanged(cpu);
}

/** Far RET. `popBytes` is its imm16: parameters released behind the return address, from both stacks when the level changes. */
export function farReturn(cpu: Cpu, operandSize: ElementSize, popBytes: number): void {
  const eip = peekStack(cpu, 0, operandSize);
  const selector = peekStack(cpu, 1, operandSize) & 0xffff;
  checkReturnTarget(cpu, selector);
  if (!code.conforming) observeRequestedLevel(cpu, 'RETF', selector);
  if ((selector & SELECTOR_RPL) === cpu.i32[CPL]) returnSameLevel(cpu, selector, eip, 2 * operandSize + popBytes);
  else returnOuterLevel(cpu, selector, eip, 2, operandSize, popBytes);
  cpu.f64[FAR_TRANSFERS]! += 1;
}

/** Checks that far RET and IRET make of the code segment they return to; leaves its descriptor in `code`. */
export function checkReturnTarget(cpu: Cpu, selector: number): void {
  const error = errorCodeOf(selector);
  const level = selector & SELECTOR_RPL;
  if (isNull(selector)) raise(cpu, GP, 0);
  if (!readDescriptor(cpu, selector, code) || !code.code || level < cpu.i32[CPL]!) raise(cpu, GP, error);
  if (code.conforming ? code.dpl > level : code.dpl !== level) raise(cpu, GP, error);
  if (!code.present) raise(cpu, NP, error);
}

/** Return to the segment in `code`, releasing `bytes` of the stack. */
export function returnSameLevel(cpu: Cpu, selector: number, eip: number, bytes: number): void {
  checkEntryPoint(cpu, code, eip);
  markAccessed(cpu, code);
  setStackPointer(cpu, cpu.i32[ESP]! + bytes);
  setCodeSegment(cpu, selector, selector & SELECTOR_RPL, code);
  cpu.i32[EIP] = eip;
  modeChanged(cpu);
}

/** Return to the segment in `code` at an outer level; ESP and SS follow `elements` elements and the `popBytes` of parameters. */
export function returnOuterLevel(cpu: Cpu, selector: number, eip: number, elements: number, size: ElementSize, popBytes: number): void {
  const level = selector & SELECTOR_RPL;
  const stackPointer = peekStack(cpu, elements, size, popBytes);
  const stackSelector = peekStack(cpu, elements + 1, size, popBytes) & 0xffff;
  const error = errorCodeOf(stackSelector);
  if (isNull(stackSelector)) raise(cpu, GP, 0);
  if (!readDescriptor(cpu, stackSelector, outerStack)) raise(cpu, GP, error);
  if ((stackSelector & SELECTOR_RPL) !== level || !outerStack.writableData || outerStack.dpl !== level) raise(cpu, GP, error);
  if (!outerStack.present) raise(cpu, SS_FAULT, error);
  checkEntryPoint(cpu, code, eip);
  markAccessed(cpu, code);
  markAccessed(cpu, outerStack);
  setCodeSegment(cpu, selector, level, code);
  setSegment(cpu, SS, stackSelector, outerStack);
  setStackPointer(cpu, stackPointer + popBytes);
  cpu.i32[EIP] = eip;
  dropInnerDataSegments(cpu);
  modeChanged(cpu);
}
