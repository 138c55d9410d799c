import type { Cpu } from './cpu.js';
import { getEflags, IF, IOPL } from './flags.js';
import { peekLinear } from './paging.js';
import { currentInstructionLength } from './slots.js';
import { CPL, CS, CS_SPACE, EIP, RETIRED, SEGMENTS, SEGMENT_BASE, SEGMENT_SELECTOR, SEGMENT_WORDS } from './state.js';

/**
 * Sensitive instructions that do not trap (Robin and Irvine, USENIX Security 2000): outside ring 0 they show, or change, the real processor's state
 * instead of the guest's. This hook compares what one has shown with what ring 0 would have shown; it observes only, and the
 * guest goes on misled.
 */
export interface MisledInstruction {
  mnemonic: string;
  eip: number;
  /** Its bytes, hexadecimal. */
  bytes: string;
  /** Ring it ran in, really. */
  ring: number;
  saw: string;
  shouldHaveSeen: string;
  /** Guest instructions retired in the steps before. */
  retired: number;
}

const hex = (value: number): string => `0x${(value >>> 0).toString(16)}`;

/** An instruction has shown `saw`, or changed state to it; ring 0 has `expected`. The first one that differs is kept, all are counted. */
export function observeSensitive(cpu: Cpu, mnemonic: string, what: string, saw: number, expected: number): void {
  if (saw !== expected) note(cpu, mnemonic, `${what} ${hex(saw)}`, `${what} ${hex(expected)}`);
}

/** A selector with RPL 1 has been accepted in ring 1, of a segment that is not conforming: ring 0 refuses one that asks for less than it has. */
export function observeRequestedLevel(cpu: Cpu, mnemonic: string, selector: number): void {
  if (cpu.controls.virtualState !== null && cpu.i32[CPL] === 1 && (selector & 3) === 1) note(cpu, mnemonic, `selector ${hex(selector)}`, `#GP(${hex(selector & 0xfffc)})`);
}

function note(cpu: Cpu, mnemonic: string, saw: string, shouldHaveSeen: string): void {
  // Added code of a translation knows what is real.
  if (cpu.i32[CS_SPACE] !== 0) return;
  cpu.misledCount++;
  if (cpu.misled !== null) return;
  const eip = (cpu.i32[EIP]! - currentInstructionLength(cpu)) >>> 0;
  cpu.misled = { mnemonic, eip, bytes: bytesAt(cpu, eip, currentInstructionLength(cpu)), ring: cpu.i32[CPL]!, saw, shouldHaveSeen, retired: cpu.f64[RETIRED]! };
}

function bytesAt(cpu: Cpu, eip: number, length: number): string {
  const base = cpu.i32[SEGMENTS + CS * SEGMENT_WORDS + SEGMENT_BASE]!;
  let text = '';
  for (let n = 0; n < length; n++) {
    const at = peekLinear(cpu, (base + eip + n) | 0);
    if (at >= 0) text += cpu.u8[at]!.toString(16).padStart(2, '0');
  }
  return text;
}

/** PUSHF: IF and IOPL are the monitor's. */
export function observePushf(cpu: Cpu): void {
  const state = cpu.controls.virtualState;
  if (state !== null) observeSensitive(cpu, 'PUSHF', 'EFLAGS', getEflags(cpu), (getEflags(cpu) & ~(IF | IOPL)) | state.flags);
}

/** POPF and IRET: the guest means to change IF (and, in ring 0, IOPL), and nothing happens. `image` is what they load. */
export function observeFlagsLoad(cpu: Cpu, mnemonic: string, image: number, kernel: boolean): void {
  const state = cpu.controls.virtualState;
  if (state === null) return;
  const level = kernel ? 0 : 3;
  const mask = (level === 0 ? IOPL : 0) | (level <= (state.flags & IOPL) >>> 12 ? IF : 0);
  observeSensitive(cpu, mnemonic, 'IF and IOPL', state.flags, (state.flags & ~mask) | (image & mask));
}

/** A segment register stored: the kernel's CS and SS have RPL 1 where ring 0 has 0. */
export function observeSelector(cpu: Cpu, mnemonic: string, segment: number): void {
  if (cpu.controls.virtualState === null || cpu.i32[CPL] !== 1) return;
  const selector = cpu.i32[SEGMENTS + segment * SEGMENT_WORDS + SEGMENT_SELECTOR]! & 0xffff;
  observeSensitive(cpu, mnemonic, 'selector', selector, (selector & 3) === 1 ? selector & ~3 : selector);
}
