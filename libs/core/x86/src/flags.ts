import type { Cpu } from './cpu.js';
import { EFLAGS_SYSTEM, FLAG_CARRIES, FLAG_RESULT } from './state.js';

/**
 * EFLAGS (SDM Vol. 1 3.4.3) and how the six arithmetic flags are kept between instructions.
 *
 * FLAG_RESULT   the result, sign-extended from the operation's width to 32 bits: ZF = (result == 0), SF = its sign,
 *               PF = parity of its low byte.
 * FLAG_CARRIES  what the result does not tell:
 *
 *    31   30  29      16 15            8 7   4   3  2  1   0
 *   ┌────┬────┬─────────┬───────────────┬─────┬────┬─────┬────┐
 *   │ CF │ PO │    0    │ parity delta  │  0  │ AF │  0  │ SD │
 *   └────┴────┴─────────┴───────────────┴─────┴────┴─────┴────┘
 *
 *   PO is the carry into the most significant bit, so OF = CF xor PO. SD flips SF, and the parity delta is xored to the
 *   low byte before its parity is taken: both are 0 but after POPF and the like, where any combination of flags can stand.
 *
 * So an addition or subtraction stores two words, and every condition is one or two operations on them, whatever
 * instruction set the flags.
 */
export const CF = 1 << 0;
export const PF = 1 << 2;
export const AF = 1 << 4;
export const ZF = 1 << 6;
export const SF = 1 << 7;
export const TF = 1 << 8;
export const IF = 1 << 9;
export const DF = 1 << 10;
export const OF = 1 << 11;
export const IOPL = 3 << 12;
export const NT = 1 << 14;
export const RF = 1 << 16;
export const VM = 1 << 17;
export const AC = 1 << 18;
export const VIF = 1 << 19;
export const VIP = 1 << 20;
export const ID = 1 << 21;
export const ARITHMETIC_FLAGS = CF | PF | AF | ZF | SF | OF;
/** Bits that exist; bit 1 is always 1, all others always 0. */
export const EFLAGS_BITS = ARITHMETIC_FLAGS | TF | IF | DF | IOPL | NT | RF | VM | AC | VIF | VIP | ID;

/** Bits of FLAG_CARRIES that an addition or subtraction leaves. */
export const CARRY_BITS = 0xc0000008 | 0;

/** 1 if the low byte of `value` has an even number of ones. */
export function parity(value: number): number {
  const folded = value ^ (value >> 4);
  return (0x9669 >> (folded & 15)) & 1;
}

/** The whole register, arithmetic flags made concrete. */
export function getEflags(cpu: Cpu): number {
  const result = cpu.i32[FLAG_RESULT]!;
  const carries = cpu.i32[FLAG_CARRIES]!;
  return cpu.i32[EFLAGS_SYSTEM]!
    | (carries >>> 31)
    | (parity(result ^ (carries >> 8)) << 2)
    | ((carries & 8) << 1)
    | (result === 0 ? ZF : 0)
    | (((result ^ (carries << 31)) >>> 31) << 7)
    | (((carries ^ (carries << 1)) >>> 31) << 11);
}

/** Set the whole register, without any privilege rule. */
export function setEflags(cpu: Cpu, value: number): void {
  cpu.i32[EFLAGS_SYSTEM] = (value & EFLAGS_BITS & ~ARITHMETIC_FLAGS) | 2;
  setArithmeticFlags(cpu, value);
}

/** Set CF PF AF ZF SF OF from `value`, leave the rest. */
export function setArithmeticFlags(cpu: Cpu, value: number): void {
  const sign = (value >>> 7) & 1;
  const zero = (value >>> 6) & 1;
  const carry = value & 1;
  const overflow = (value >>> 11) & 1;
  // Low byte 0 has even parity in each of the three results.
  cpu.i32[FLAG_RESULT] = zero ? 0 : sign ? -0x8000_0000 : 0x100;
  cpu.i32[FLAG_CARRIES] = (carry << 31) | ((carry ^ overflow) << 30) | ((value & AF) >>> 1) | (zero & sign) | (value & PF ? 0 : 0x100);
}

export function carryFlag(cpu: Cpu): number {
  return cpu.i32[FLAG_CARRIES]! >>> 31;
}

/** Replace CF, keep the other five (OF = CF xor PO, so PO moves with it). */
export function setCarryFlag(cpu: Cpu, carry: number): void {
  const carries = cpu.i32[FLAG_CARRIES]!;
  if (carries >>> 31 !== carry) cpu.i32[FLAG_CARRIES] = carries ^ (0xc0000000 | 0);
}

/** Replace ZF, keep the other five (CMPXCHG8B, ARPL, LAR, LSL, VERR, VERW). */
export function setZeroFlag(cpu: Cpu, zero: boolean): void {
  const flags = getEflags(cpu);
  setArithmeticFlags(cpu, zero ? flags | ZF : flags & ~ZF);
}

/** Condition code `cc` (0–15) of Jcc, SETcc, CMOVcc (SDM Vol. 1 Appendix B). */
export function condition(cpu: Cpu, cc: number): boolean {
  const result = cpu.i32[FLAG_RESULT]!;
  const carries = cpu.i32[FLAG_CARRIES]!;
  let holds: boolean;
  switch (cc >> 1) {
    case 0: holds = ((carries ^ (carries << 1)) | 0) < 0; break; // O
    case 1: holds = carries < 0; break; // B
    case 2: holds = result === 0; break; // E
    case 3: holds = carries < 0 || result === 0; break; // BE
    case 4: holds = (result ^ (carries << 31)) < 0; break; // S
    case 5: holds = parity(result ^ (carries >> 8)) === 1; break; // P
    case 6: holds = (result ^ (carries << 31) ^ carries ^ (carries << 1)) < 0; break; // L
    default: holds = result === 0 || (result ^ (carries << 31) ^ carries ^ (carries << 1)) < 0; break; // LE
  }
  return (cc & 1) === 0 ? holds : !holds;
}
