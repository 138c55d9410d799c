import { DR6_BS, DR7_GD, EventType } from '@ringside/x86';
import { PAGE_BYTES } from '../monitor-space.js';
import type { DeprivilegedExit } from './deprivileged-exit.js';
import { GuestException } from './linear-memory.js';
import { descriptorDpl, isFlat, type DescriptorWords } from './segment-descriptor.js';
import { EFLAGS_IF, EFLAGS_IOPL } from './virtual-cpu.js';

const DEBUG = 1, BREAKPOINT = 3, OVERFLOW = 4, DOUBLE_FAULT = 8;
/** Gates: present, S = 0, and the 32-bit types. */
const GATE_BITS = 0x9f00, INTERRUPT_GATE32 = 0x8e00, TRAP_GATE32 = 0x8f00;
const EFLAGS_TF = 1 << 8, EFLAGS_NT = 1 << 14, EFLAGS_RF = 1 << 16, EFLAGS_VM = 1 << 17;
const TSS_ESP0 = 4, TSS_END_OF_SS0 = 9;
/** Access rights: type of a busy 32-bit TSS. */
const TYPE = 0xf, TSS32_BUSY = 0xb;
/** Descriptors: present, S, code not conforming, accessed; writable data, expand-up, accessed. */
const CODE_BITS = 0x9d00, PLAIN_CODE = 0x9900, DATA_BITS = 0x9f00, PLAIN_STACK = 0x9300;

export interface VirtualEvent { readonly vector: number; readonly type: EventType; readonly errorCode: number | null }

/**
 * Deliver an event to the guest through its own IDT and TSS, as its processor would (SDM Vol. 3A 6.12): the frame goes to its
 * stack, with the EFLAGS and the selectors that it believes in. What is not a 32-bit gate to flat code of ring 0, or meets a fault, is the interpreter's; that may
 * end in another event, or stop the machine.
 */
export async function deliverEvent(exit: DeprivilegedExit, event: VirtualEvent): Promise<void> {
  const { machine, boundary, frame } = exit;
  if (event.vector === DEBUG && event.type === EventType.HardwareException) noteDebugTrap(exit);
  const before = boundary?.events ?? 0;
  if (await deliverPlainly(exit, event, frame.eip)) {
    exit.boundary = { events: before + 1, shadow: 0, trap: boundary?.trap ?? null, repUnderWay: boundary?.repUnderWay ?? false, mark: boundary?.mark ?? 0 };
    return;
  }
  await machine.interpreter.deliver(exit, event);
  if (before > 0 && exit.boundary !== null) exit.boundary = { ...exit.boundary, events: exit.boundary.events + before };
}

/** INT n, INT3, INT1, INTO that traps: true if it is done; else the interpreter executes it. The frame returns behind it. */
export async function deliverSoftware(exit: DeprivilegedExit, event: VirtualEvent, length: number): Promise<boolean> {
  if (!await deliverPlainly(exit, event, (exit.frame.eip + length) >>> 0)) return false;
  // No single-step trap behind it: TF is 0 in the handler (SDM Vol. 3A 6.12.1.3).
  exit.boundary = { events: 0, shadow: 0, trap: 0, repUnderWay: false, mark: 0 };
  return true;
}

/** DR6 of the guest: what ring -1 has told the processor of, else a single step. */
function noteDebugTrap({ vcpu }: DeprivilegedExit): void {
  vcpu.debug[6]! |= vcpu.trapTold === 0 ? DR6_BS : vcpu.trapTold;
  vcpu.trapTold = 0;
}

async function deliverPlainly(exit: DeprivilegedExit, event: VirtualEvent, returnEip: number): Promise<boolean> {
  try {
    return await deliver(exit, event, returnEip);
  } catch (error) {
    if (!(error instanceof GuestException)) throw error;
    return false;
  }
}

async function deliver(exit: DeprivilegedExit, { vector, type, errorCode }: VirtualEvent, returnEip: number): Promise<boolean> {
  const { vcpu, frame, transaction, memory } = exit;
  const level = exit.virtualLevel;
  if ((level !== 0 && level !== 3) || vector * 8 + 7 > vcpu.idtr.limit) return false;
  const [low, high] = await memory.read32((vcpu.idtr.base + vector * 8) >>> 0, 2, false) as unknown as [number, number];
  transaction.charge('descriptor-check');
  const gate = high & GATE_BITS & ~0x6000;
  if (gate !== INTERRUPT_GATE32 && gate !== TRAP_GATE32) return false;
  const restrained = type === EventType.SoftwareInterrupt || type === EventType.SoftwareException;
  if (restrained && ((high >>> 13) & 3) < level) return false;
  const selector = low >>> 16;
  const code = (selector & 0xfffc) === 0 ? null : await exit.descriptor(selector);
  if (code === null || (code.high & CODE_BITS) !== PLAIN_CODE || !isFlat(code) || descriptorDpl(code) !== 0) return false;
  const resume = type === EventType.HardwareException && vector !== DEBUG && vector !== BREAKPOINT && vector !== OVERFLOW && vector !== DOUBLE_FAULT;
  const image = ((frame.eflags & ~(EFLAGS_IF | EFLAGS_IOPL)) | vcpu.flags | (resume ? EFLAGS_RF : 0)) >>> 0;
  const words = [...errorCode === null ? [] : [errorCode], returnEip, exit.virtualSelector('cs'), image];
  if (level === 3) {
    if (!await pushOnInnerStack(exit, words)) return false;
  } else {
    if (!exit.flatStack) return false;
    if (!await pushWords(exit, frame.segment('ss').base, frame.esp, words)) return false;
  }
  exit.setSegment('cs', selector & ~3, code, 0);
  frame.cpl = 1;
  frame.eip = ((low & 0xffff) | (high & 0xffff_0000)) >>> 0;
  frame.eflags = ((frame.eflags & ~(EFLAGS_TF | EFLAGS_NT | EFLAGS_RF | EFLAGS_VM)) | EFLAGS_IF) >>> 0;
  if (gate === INTERRUPT_GATE32) vcpu.interruptFlag = false;
  if (vector === DEBUG) vcpu.debug[7]! &= ~DR7_GD;
  if (vcpu.halted) {
    vcpu.halted = false;
    transaction.add({ kind: 'activity', activity: 'active' });
  }
  return true;
}

/** SS0:ESP0 come from the guest's TSS, read when they are needed: whatever the guest has written there counts. */
async function pushOnInnerStack(exit: DeprivilegedExit, words: readonly number[]): Promise<boolean> {
  const { vcpu, memory, frame } = exit;
  if ((vcpu.tr.rights & TYPE) !== TSS32_BUSY || vcpu.tr.limit < TSS_END_OF_SS0) return false;
  const [esp, ss] = await memory.read32((vcpu.tr.base + TSS_ESP0) >>> 0, 2, false);
  const selector = ss! & 0xffff;
  const stack: DescriptorWords | null = (selector & 0xfffc) === 0 ? null : await exit.descriptor(selector);
  if (stack === null || (stack.high & DATA_BITS) !== PLAIN_STACK || !isFlat(stack) || descriptorDpl(stack) !== 0 || (selector & 3) !== 0) return false;
  if (!await pushWords(exit, 0, esp!, [...words, frame.esp, frame.segment('ss').selector])) return false;
  exit.setSegment('ss', selector, stack, 0);
  return true;
}

/** False for a frame in two pages: which of them faults first, and what is marked accessed by then, is the interpreter's to find. */
async function pushWords(exit: DeprivilegedExit, base: number, esp: number, words: readonly number[]): Promise<boolean> {
  const top = (esp - words.length * 4) >>> 0;
  const first = (base + top) >>> 0, last = (base + esp - 1) >>> 0;
  if (first - (first % PAGE_BYTES) !== last - (last % PAGE_BYTES)) return false;
  await exit.memory.write32(first, false, ...words);
  exit.frame.esp = top;
  return true;
}
