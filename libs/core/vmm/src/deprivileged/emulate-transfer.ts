import type { SegmentName } from '@ringside/machine';
import type { DeprivilegedExit } from './deprivileged-exit.js';
import { readOnward } from './descriptor-tables.js';
import { ECX, EDX, type GuestFrame } from './guest-frame.js';
import { descriptorDpl, isFlat, type DescriptorWords } from './segment-descriptor.js';
import { EFLAGS_IF, type VirtualCpu } from './virtual-cpu.js';

/** Descriptors: present and accessed; flat code that is not conforming; a writable stack. */
const PRESENT_ACCESSED = 0x8100, CODE_BITS = 0x9d00, PLAIN_CODE = 0x9900, DATA_BITS = 0x9f00, PLAIN_STACK = 0x9300;
const S_CODE = 0x1800, S_CODE_READABLE = 0x1a00, CONFORMING = 0x400, S = 0x1000;
const EFLAGS_NT = 1 << 14, EFLAGS_RF = 1 << 16, EFLAGS_VM = 1 << 17;
const SYSENTER_CS = 0x174, SYSENTER_ESP = 0x175, SYSENTER_EIP = 0x176;
const FLAT_CODE_RIGHTS = 0xc09b, FLAT_DATA_RIGHTS = 0xc093;
/** What IRET loads besides IF and IOPL: CF PF AF ZF SF OF, TF, DF, NT, RF, AC, ID. */
const IRET_FLAGS = 0x8d5 | 0x100 | 0x400 | EFLAGS_NT | 0x1_0000 | 0x4_0000 | 0x20_0000;
const DATA_SEGMENTS: readonly SegmentName[] = ['es', 'fs', 'gs', 'ds'];

const errorOf = (selector: number): number => selector & 0xfffc;
const isConforming = ({ high }: DescriptorWords): boolean => (high & (S_CODE | CONFORMING)) === (S_CODE | CONFORMING);

/**
 * Load a data or stack segment register with ring 0's checks on the guest's own descriptors (SDM Vol. 2B, MOV). False: the interpreter raises the
 * fault, or sets the descriptor's accessed bit. @throws GuestException
 */
export async function checkedSegment(exit: DeprivilegedExit, name: SegmentName, selector: number): Promise<boolean> {
  const level = exit.virtualLevel;
  if (errorOf(selector) === 0) {
    if (name !== 'ss') exit.setNullSegment(name, selector);
    return name !== 'ss';
  }
  const descriptor = await exit.descriptor(selector);
  if (descriptor === null || (descriptor.high & PRESENT_ACCESSED) !== PRESENT_ACCESSED) return false;
  if (name === 'ss') {
    if ((selector & 3) !== level || (descriptor.high & 0x1a00) !== 0x1200 || descriptorDpl(descriptor) !== level) return false;
  } else {
    const readable = (descriptor.high & S) !== 0 && ((descriptor.high & S_CODE) !== S_CODE || (descriptor.high & S_CODE_READABLE) === S_CODE_READABLE);
    if (!readable || (!isConforming(descriptor) && descriptorDpl(descriptor) < Math.max(level, selector & 3))) return false;
  }
  exit.setSegment(name, selector, descriptor, level);
  await readOnward(exit);
  return true;
}

/** IRET to flat code of rings 0 and 3, where ring 0 loads IF and IOPL, the virtual ones are loaded; all other returns are the interpreter's. @throws GuestException */
export async function emulateIret(exit: DeprivilegedExit): Promise<'jumped' | 'refused'> {
  const { frame, vcpu, memory } = exit;
  const level = exit.virtualLevel;
  if (level !== 0 || (frame.eflags & EFLAGS_NT) !== 0 || !exit.flatStack) return 'refused';
  const [eip, selector, image] = await memory.read32(frame.esp, 3, false) as unknown as [number, number, number];
  const target = selector & 3;
  if ((image & EFLAGS_VM) !== 0 || (target !== 0 && target !== 3) || errorOf(selector) === 0) return 'refused';
  const code = await exit.descriptor(selector & 0xffff);
  if (code === null || (code.high & CODE_BITS) !== PLAIN_CODE || !isFlat(code) || descriptorDpl(code) !== target) return 'refused';
  if (target === 3) {
    const [esp, ss] = await memory.read32((frame.esp + 12) >>> 0, 2, false) as unknown as [number, number];
    const stack = errorOf(ss) === 0 || (ss & 3) !== 3 ? null : await exit.descriptor(ss & 0xffff);
    if (stack === null || (stack.high & DATA_BITS) !== PLAIN_STACK || !isFlat(stack) || descriptorDpl(stack) !== 3) return 'refused';
    exit.setSegment('ss', ss & 0xffff, stack, 3);
    frame.esp = esp;
  } else frame.esp = (frame.esp + 12) >>> 0;
  exit.setSegment('cs', selector & 0xffff, code, target);
  frame.cpl = target === 3 ? 3 : 1;
  frame.eip = eip;
  frame.loadsFlags = true;
  frame.eflags = ((frame.eflags & ~IRET_FLAGS) | (image & IRET_FLAGS) | EFLAGS_IF) >>> 0;
  vcpu.flags = image;
  if (target === 3) dropInnerSegments(exit);
  return 'jumped';
}

/** Data segments that ring 3 may not use become null (SDM Vol. 3A 5.8.6). */
function dropInnerSegments(exit: DeprivilegedExit): void {
  for (const name of DATA_SEGMENTS) {
    const { rights } = exit.frame.segment(name);
    const conforming = (rights & 0xc) === 0xc;
    if ((rights & 0x1_0000) === 0 && !conforming && ((rights >>> 5) & 3) < 3) exit.setNullSegment(name, 0);
  }
}

/** SYSENTER (SDM Vol. 2B): the flat segments are made up from IA32_SYSENTER_CS, which the guest has written to its own. */
export function emulateSysenter({ vcpu, frame }: DeprivilegedExit): 'jumped' | 'refused' {
  const base = sysenterBase(vcpu);
  if (base === 0) return 'refused';
  setFlat(frame, base | 1, base + 8 | 1, 1);
  vcpu.interruptFlag = false;
  frame.eflags = (frame.eflags & ~(EFLAGS_RF | EFLAGS_VM)) >>> 0;
  frame.esp = Number(vcpu.msrs.get(SYSENTER_ESP)! & 0xffff_ffffn);
  frame.eip = Number(vcpu.msrs.get(SYSENTER_EIP)! & 0xffff_ffffn);
  return 'jumped';
}

/** SYSEXIT: EIP from EDX, ESP from ECX. */
export function emulateSysexit(exit: DeprivilegedExit): 'jumped' | 'refused' {
  const { vcpu, frame } = exit;
  const base = sysenterBase(vcpu);
  if (base === 0 || exit.virtualLevel !== 0) return 'refused';
  setFlat(frame, base + 16 | 3, base + 24 | 3, 3);
  frame.esp = frame.general[ECX]!;
  frame.eip = frame.general[EDX]!;
  return 'jumped';
}

function sysenterBase(vcpu: VirtualCpu): number {
  return Number(vcpu.msrs.get(SYSENTER_CS)! & 0xfffcn);
}

function setFlat(frame: GuestFrame, cs: number, ss: number, level: 1 | 3): void {
  frame.setSegment('cs', { selector: cs, base: 0, limit: 0xffff_ffff, rights: FLAT_CODE_RIGHTS | (level << 5) });
  frame.setSegment('ss', { selector: ss, base: 0, limit: 0xffff_ffff, rights: FLAT_DATA_RIGHTS | (level << 5) });
  frame.cpl = level;
}
