import type { SegmentName } from '@ringside/machine';
import type { DeprivilegedExit } from './deprivileged-exit.js';
import { generalProtection } from './deprivileged-exit.js';
import { ECX, EDX, type GuestFrame } from './guest-frame.js';
import { GuestException } from './linear-memory.js';
import { descriptorDpl, DESCRIPTOR_PRESENT, isReturnCode, isStack, type DescriptorWords } from './segment-descriptor.js';
import { EFLAGS_IF, EFLAGS_IOPL, type VirtualCpu } from './virtual-cpu.js';

const NOT_PRESENT = 11, STACK_FAULT = 12;
const S_CODE = 0x1800, S_CODE_READABLE = 0x1a00, CONFORMING = 0x400, S = 0x1000;
const EFLAGS_NT = 1 << 14, EFLAGS_RF = 1 << 16, EFLAGS_VM = 1 << 17;
const SYSENTER_CS = 0x174, SYSENTER_ESP = 0x175, SYSENTER_EIP = 0x176;
const FLAT_CODE_RIGHTS = 0xc09b, FLAT_DATA_RIGHTS = 0xc093;
/** What IRET loads besides IF and IOPL: CF PF AF ZF SF OF, TF, DF, NT, RF, AC, ID. */
const IRET_FLAGS = 0x8d5 | 0x100 | 0x400 | EFLAGS_NT | 0x1_0000 | 0x4_0000 | 0x20_0000;
const DATA_SEGMENTS: readonly SegmentName[] = ['es', 'fs', 'gs', 'ds'];

const errorOf = (selector: number): number => selector & 0xfffc;
const isConforming = ({ high }: DescriptorWords): boolean => (high & (S_CODE | CONFORMING)) === (S_CODE | CONFORMING);

/** Load a data or stack segment register with ring 0's checks on the guest's own descriptors (SDM Vol. 2B, MOV). @throws GuestException */
export async function checkedSegment(exit: DeprivilegedExit, name: SegmentName, selector: number): Promise<void> {
  const level = exit.virtualLevel;
  const error = errorOf(selector);
  if (error === 0) {
    if (name === 'ss') throw generalProtection();
    exit.setNullSegment(name, selector);
    return;
  }
  const descriptor = await exit.descriptor(selector);
  if (descriptor === null) throw generalProtection(error);
  const present = (descriptor.high & DESCRIPTOR_PRESENT) !== 0;
  if (name === 'ss') {
    if ((selector & 3) !== level || (descriptor.high & 0x1a00) !== 0x1200 || descriptorDpl(descriptor) !== level) throw generalProtection(error);
    if (!present) throw new GuestException(STACK_FAULT, error);
  } else {
    const readable = (descriptor.high & S) !== 0 && ((descriptor.high & S_CODE) !== S_CODE || (descriptor.high & S_CODE_READABLE) === S_CODE_READABLE);
    if (!readable || (!isConforming(descriptor) && descriptorDpl(descriptor) < Math.max(level, selector & 3))) throw generalProtection(error);
    if (!present) throw new GuestException(NOT_PRESENT, error);
  }
  exit.setSegment(name, selector, descriptor);
}

/** Far JMP to a code segment. Gates are not built under ring compression: the #GP stays the guest's. @throws GuestException */
export async function emulateFarJump(exit: DeprivilegedExit, selector: number, offset: number): Promise<'jumped' | 'refused'> {
  const level = exit.virtualLevel;
  const code = errorOf(selector) === 0 ? null : await exit.descriptor(selector);
  if (code === null || (code.high & S_CODE) !== S_CODE) return 'refused';
  const fits = isConforming(code) ? descriptorDpl(code) <= level : (selector & 3) <= level && descriptorDpl(code) === level;
  if (!fits) throw generalProtection(errorOf(selector));
  if ((code.high & DESCRIPTOR_PRESENT) === 0) throw new GuestException(NOT_PRESENT, errorOf(selector));
  exit.setSegment('cs', (selector & ~3) | level, code);
  exit.frame.eip = offset;
  return 'jumped';
}

export async function emulateFarReturn(exit: DeprivilegedExit, popBytes: number): Promise<'jumped'> {
  const [eip, cs] = await exit.stack(2);
  await returnTo(exit, cs! & 0xffff, eip!, 8, popBytes);
  return 'jumped';
}

/** IRET: where ring 0 loads IF and IOPL, the virtual ones are loaded. @throws GuestException */
export async function emulateIret(exit: DeprivilegedExit): Promise<'jumped' | 'refused'> {
  const { frame, vcpu, machine, transaction } = exit;
  const level = exit.virtualLevel;
  if ((frame.eflags & EFLAGS_NT) !== 0) {
    machine.stop(transaction, 'unsupported-mode', 'the guest entered a mode that is not built (unsupported-mode, qualification 3)');
    return 'jumped';
  }
  const [eip, cs, image] = await exit.stack(3);
  if ((image! & EFLAGS_VM) !== 0 && level === 0) {
    machine.stop(transaction, 'unsupported-mode', 'the guest entered a mode that is not built (unsupported-mode, qualification 2)');
    return 'jumped';
  }
  await returnTo(exit, cs! & 0xffff, eip!, 12, 0);
  frame.eflags = ((frame.eflags & ~IRET_FLAGS) | (image! & IRET_FLAGS) | EFLAGS_IF) >>> 0;
  const mask = (level <= vcpu.iopl ? EFLAGS_IF : 0) | (level === 0 ? EFLAGS_IOPL : 0);
  vcpu.flags = (vcpu.flags & ~mask) | (image! & mask);
  return 'jumped';
}

/** SYSENTER (SDM Vol. 2B): the flat segments are made up from IA32_SYSENTER_CS, which the guest has written to its own. @throws GuestException */
export function emulateSysenter({ vcpu, frame }: DeprivilegedExit): 'jumped' {
  const base = sysenterBase(vcpu);
  setFlat(frame, base | 1, base + 8 | 1, 1);
  vcpu.interruptFlag = false;
  frame.eflags = (frame.eflags & ~(EFLAGS_RF | EFLAGS_VM)) >>> 0;
  frame.esp = Number(vcpu.msrs.get(SYSENTER_ESP)! & 0xffff_ffffn);
  frame.eip = Number(vcpu.msrs.get(SYSENTER_EIP)! & 0xffff_ffffn);
  return 'jumped';
}

/** SYSEXIT: EIP from EDX, ESP from ECX. @throws GuestException */
export function emulateSysexit(exit: DeprivilegedExit): 'jumped' | 'refused' {
  const { vcpu, frame } = exit;
  if (exit.virtualLevel !== 0) return 'refused';
  const base = sysenterBase(vcpu);
  setFlat(frame, base + 16 | 3, base + 24 | 3, 3);
  frame.esp = frame.general[ECX]!;
  frame.eip = frame.general[EDX]!;
  return 'jumped';
}

function sysenterBase(vcpu: VirtualCpu): number {
  const base = Number(vcpu.msrs.get(SYSENTER_CS)! & 0xfffcn);
  if (base === 0) throw generalProtection();
  return base;
}

function setFlat(frame: GuestFrame, cs: number, ss: number, level: 1 | 3): void {
  frame.setSegment('cs', { selector: cs, base: 0, limit: 0xffff_ffff, rights: FLAT_CODE_RIGHTS | (level << 5) });
  frame.setSegment('ss', { selector: ss, base: 0, limit: 0xffff_ffff, rights: FLAT_DATA_RIGHTS | (level << 5) });
  frame.cpl = level;
}

/** To the same ring, or outwards with the stack behind the `bytes` of the frame and the parameters. */
async function returnTo(exit: DeprivilegedExit, selector: number, eip: number, bytes: number, popBytes: number): Promise<void> {
  const { frame, memory } = exit;
  const level = exit.virtualLevel;
  const target = selector & 3;
  if (errorOf(selector) === 0) throw generalProtection();
  const code = await exit.descriptor(selector);
  if (code === null || target < level) throw generalProtection(errorOf(selector));
  if (!isReturnCode({ low: code.low, high: code.high | DESCRIPTOR_PRESENT }, target)) throw generalProtection(errorOf(selector));
  if ((code.high & DESCRIPTOR_PRESENT) === 0) throw new GuestException(NOT_PRESENT, errorOf(selector));
  if (target === level) {
    frame.esp = (frame.esp + bytes + popBytes) >>> 0;
    exit.setSegment('cs', selector, code);
    frame.eip = eip;
    return;
  }
  if (target !== 3) {
    exit.machine.stop(exit.transaction, 'unsupported-mode', `the guest returned to ring ${target}: ring compression has room for rings 0 and 3`);
    return;
  }
  const outer = await memory.read32(exit.stackLinear((frame.esp + bytes + popBytes) >>> 0), 2, frame.cpl === 3);
  const stackSelector = outer[1]! & 0xffff;
  const stack = errorOf(stackSelector) === 0 ? null : await exit.descriptor(stackSelector);
  if (stack === null || (stackSelector & 3) !== target || !isStack({ low: stack.low, high: stack.high | DESCRIPTOR_PRESENT }, target)) throw generalProtection(errorOf(stackSelector));
  if ((stack.high & DESCRIPTOR_PRESENT) === 0) throw new GuestException(STACK_FAULT, errorOf(stackSelector));
  exit.setSegment('cs', selector, code);
  exit.setSegment('ss', stackSelector, stack);
  frame.cpl = target;
  frame.esp = (outer[0]! + popBytes) >>> 0;
  frame.eip = eip;
  for (const name of DATA_SEGMENTS) {
    const { rights } = frame.segment(name);
    const conforming = (rights & 0xc) === 0xc;
    if ((rights & 0x1_0000) === 0 && !conforming && ((rights >>> 5) & 3) < target) exit.setNullSegment(name, 0);
  }
}
