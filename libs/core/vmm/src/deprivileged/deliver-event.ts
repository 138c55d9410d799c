import { EventType } from '@ringside/x86';
import type { DeprivilegedExit } from './deprivileged-exit.js';
import { generalProtection } from './deprivileged-exit.js';
import { GuestException } from './linear-memory.js';
import { descriptorDpl, DESCRIPTOR_PRESENT } from './segment-descriptor.js';
import { EFLAGS_IF, EFLAGS_IOPL } from './virtual-cpu.js';

const DOUBLE_FAULT = 8, NOT_PRESENT = 11, PAGE_FAULT = 14, DEBUG = 1, BREAKPOINT = 3, OVERFLOW = 4;
const ERROR_EXT = 1, ERROR_IDT = 2;
const TASK_GATE = 5, TRAP_GATE16 = 7, INTERRUPT_GATE16 = 6, INTERRUPT_GATE32 = 14, TRAP_GATE32 = 15;
const EFLAGS_TF = 1 << 8, EFLAGS_NT = 1 << 14, EFLAGS_RF = 1 << 16, EFLAGS_VM = 1 << 17;
const TSS_ESP0 = 4;
const CODE = 0x1800, CONFORMING = 0x400;

/** `restartAt`: EIP of the instruction that asked for the event (INT n), to which a fault of the delivery returns. */
export interface VirtualEvent { readonly vector: number; readonly type: EventType; readonly errorCode: number | null; readonly restartAt?: number }

/**
 * Deliver an event to the guest through its own IDT and TSS, as its ring 0 processor would (SDM Vol. 3A 6.12): the frame goes to its
 * stack, with the EFLAGS and the selectors that it believes in. A fault on the way is combined with the event (Table 6-5); a triple
 * fault stops the machine. True if the event itself was delivered.
 */
export async function deliverEvent(exit: DeprivilegedExit, first: VirtualEvent): Promise<boolean> {
  let event = first;
  for (;;) {
    try {
      await deliver(exit, event);
      return event === first;
    } catch (error) {
      if (!(error instanceof GuestException)) throw error;
      if (first.restartAt !== undefined) exit.frame.eip = first.restartAt;
      if (error.cr2 !== null) setCr2(exit, error.cr2);
      const one = event.type === EventType.HardwareException ? event.vector : -1;
      const two = error.vector;
      if (one === DOUBLE_FAULT && (isContributory(two) || two === PAGE_FAULT)) {
        exit.machine.stop(exit.transaction, 'triple-fault', 'the guest raised an exception while delivering a double fault (SDM Vol. 3A 6.15)');
        return false;
      }
      const double = (isContributory(one) && isContributory(two)) || (one === PAGE_FAULT && (isContributory(two) || two === PAGE_FAULT));
      event = { vector: double ? DOUBLE_FAULT : two, type: EventType.HardwareException, errorCode: double ? 0 : error.errorCode };
    }
  }
}

export function setCr2(exit: DeprivilegedExit, linear: number): void {
  exit.transaction.add({ kind: 'register', register: 'cr2', value: linear >>> 0 });
}

const isContributory = (vector: number): boolean => vector === 0 || (vector >= 10 && vector <= 13);

async function deliver(exit: DeprivilegedExit, { vector, type, errorCode }: VirtualEvent): Promise<void> {
  const { vcpu, frame, machine, transaction, memory } = exit;
  const software = type === EventType.SoftwareInterrupt || type === EventType.SoftwareException;
  const ext = software ? 0 : ERROR_EXT;
  const error = (vector << 3) | ERROR_IDT | ext;
  if (vector * 8 + 7 > vcpu.idtr.limit) throw generalProtection(error);
  const gate = await memory.read32((vcpu.idtr.base + vector * 8) >>> 0, 2, false);
  transaction.charge('descriptor-check');
  const gateType = (gate[1]! >>> 8) & 0x1f;
  if (gateType === TASK_GATE) {
    machine.stop(transaction, 'unsupported-mode', 'the guest entered a mode that is not built (unsupported-mode, qualification 3)');
    return;
  }
  const wide = gateType === INTERRUPT_GATE32 || gateType === TRAP_GATE32;
  if (!wide && gateType !== INTERRUPT_GATE16 && gateType !== TRAP_GATE16) throw generalProtection(error);
  if (software && ((gate[1]! >>> 13) & 3) < exit.virtualLevel) throw generalProtection(error);
  if ((gate[1]! & DESCRIPTOR_PRESENT) === 0) throw new GuestException(NOT_PRESENT, error);
  const selector = gate[0]! >>> 16;
  if ((selector & 0xfffc) === 0) throw generalProtection(ext);
  const code = await exit.descriptor(selector);
  const codeError = (selector & 0xfffc) | ext;
  if (code === null || (code.high & CODE) !== CODE || descriptorDpl(code) > exit.virtualLevel) throw generalProtection(codeError);
  if ((code.high & DESCRIPTOR_PRESENT) === 0) throw new GuestException(NOT_PRESENT, codeError);
  const level = (code.high & CONFORMING) !== 0 ? exit.virtualLevel : descriptorDpl(code);
  if ((level !== 0 && level !== 3) || !wide) {
    machine.stop(transaction, 'unsupported-mode', `the guest's gate of vector ${vector} leads to ring ${level}${wide ? '' : ' with 16 bits'}: only 32-bit gates to ring 0 are built under ring compression`);
    return;
  }
  const resume = type === EventType.HardwareException && vector !== DEBUG && vector !== BREAKPOINT && vector !== OVERFLOW && vector !== DOUBLE_FAULT;
  const image = ((frame.eflags & ~(EFLAGS_IF | EFLAGS_IOPL)) | vcpu.flags | (resume ? EFLAGS_RF : 0)) >>> 0;
  const words = [...errorCode === null ? [] : [errorCode], frame.eip, exit.virtualSelector('cs'), image];
  if (level < exit.virtualLevel) await pushOnInnerStack(exit, words, ext);
  else await pushWords(exit, frame.segment('ss').base, frame.esp, words, frame.cpl === 3);
  exit.setSegment('cs', (selector & ~3) | level, code);
  frame.cpl = level === 0 ? 1 : 3;
  frame.eip = ((gate[0]! & 0xffff) | (gate[1]! & 0xffff_0000)) >>> 0;
  frame.eflags = ((frame.eflags & ~(EFLAGS_TF | EFLAGS_NT | EFLAGS_RF | EFLAGS_VM)) | EFLAGS_IF) >>> 0;
  if (gateType === INTERRUPT_GATE32) vcpu.interruptFlag = false;
  if (vcpu.halted) {
    vcpu.halted = false;
    transaction.add({ kind: 'activity', activity: 'active' });
  }
}

/** SS0:ESP0 come from the guest's TSS, read when they are needed: whatever the guest has written there counts. */
async function pushOnInnerStack(exit: DeprivilegedExit, words: readonly number[], ext: number): Promise<void> {
  const { vcpu, memory, frame } = exit;
  const [esp, ss] = await memory.read32((vcpu.tr.base + TSS_ESP0) >>> 0, 2, false);
  const selector = ss! & 0xffff;
  const stack = (selector & 0xfffc) === 0 ? null : await exit.descriptor(selector);
  if (stack === null || (stack.high & 0x1a00) !== 0x1200 || descriptorDpl(stack) !== 0 || (selector & 3) !== 0) throw new GuestException(10, (selector & 0xfffc) | ext);
  if ((stack.high & DESCRIPTOR_PRESENT) === 0) throw new GuestException(12, (selector & 0xfffc) | ext);
  const base = ((stack.high & 0xff00_0000) | ((stack.high & 0xff) << 16) | (stack.low >>> 16)) >>> 0;
  await pushWords(exit, base, esp!, [...words, frame.esp, frame.segment('ss').selector], false);
  exit.setSegment('ss', selector, stack);
}

async function pushWords(exit: DeprivilegedExit, base: number, esp: number, words: readonly number[], user: boolean): Promise<void> {
  const top = (esp - words.length * 4) >>> 0;
  await exit.memory.write32((base + top) >>> 0, user, ...words);
  exit.frame.esp = top;
}
