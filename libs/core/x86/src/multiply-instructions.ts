import type { Cpu } from './cpu.js';
import { DIVISIONS } from './event-counters.js';
import { DE, raise } from './fault.js';
import { AF, carryFlag, CF, getEflags, parity, PF, setArithmeticFlags, SF, ZF } from './flags.js';
import type { InstructionSet } from './instruction.js';
import { immediate, readE16, readE32, readE8, readG16, readG32, writeG16, writeG32 } from './operands.js';
import { EAX, EDX, FLAG_CARRIES, FLAG_RESULT } from './state.js';

/** MUL IMUL DIV IDIV, and the decimal adjustments (SDM Vol. 2). */

const { imul, floor } = Math;

/** CF = OF = `overflow`; the others are undefined: they follow the low half of the product. */
function setProductFlags(cpu: Cpu, low: number, overflow: boolean): void {
  cpu.i32[FLAG_RESULT] = low;
  cpu.i32[FLAG_CARRIES] = overflow ? 0x80000000 | 0 : 0;
}

/** Upper 32 bits of the unsigned product. */
export function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const middle2 = aLow * bHigh + (middle % 0x10000);
  return (aHigh * bHigh + floor(middle / 0x10000) + floor(middle2 / 0x10000)) | 0;
}

function mul32(cpu: Cpu, slot: number): void {
  const a = cpu.i32[EAX]!;
  const b = readE32(cpu, slot);
  const high = multiplyHigh(a, b);
  const low = imul(a, b);
  cpu.i32[EAX] = low;
  cpu.i32[EDX] = high;
  setProductFlags(cpu, low, high !== 0);
}
function mul16(cpu: Cpu, slot: number): void {
  const product = (cpu.i32[EAX]! & 0xffff) * readE16(cpu, slot);
  cpu.u16[EAX << 1] = product;
  cpu.u16[EDX << 1] = product >>> 16;
  setProductFlags(cpu, (product << 16) >> 16, product >>> 16 !== 0);
}
function mul8(cpu: Cpu, slot: number): void {
  const product = cpu.u8[0]! * readE8(cpu, slot);
  cpu.u16[EAX << 1] = product;
  setProductFlags(cpu, (product << 24) >> 24, product > 0xff);
}
function imul32(cpu: Cpu, slot: number): void {
  const a = cpu.i32[EAX]!;
  const b = readE32(cpu, slot);
  const low = imul(a, b);
  // Signed from unsigned: subtract each operand where the other is negative.
  const high = (multiplyHigh(a, b) - (a < 0 ? b : 0) - (b < 0 ? a : 0)) | 0;
  cpu.i32[EAX] = low;
  cpu.i32[EDX] = high;
  setProductFlags(cpu, low, high !== low >> 31);
}
function imul16(cpu: Cpu, slot: number): void {
  const product = ((cpu.i32[EAX]! << 16) >> 16) * ((readE16(cpu, slot) << 16) >> 16);
  cpu.u16[EAX << 1] = product;
  cpu.u16[EDX << 1] = product >> 16;
  setProductFlags(cpu, (product << 16) >> 16, product !== (product << 16) >> 16);
}
function imul8(cpu: Cpu, slot: number): void {
  const product = ((cpu.u8[0]! << 24) >> 24) * ((readE8(cpu, slot) << 24) >> 24);
  cpu.u16[EAX << 1] = product;
  setProductFlags(cpu, (product << 24) >> 24, product !== (product << 24) >> 24);
}
/** Two- and three-operand IMUL. A double holds the product exactly where it fits, and differs from the truncated one where not. */
function product32(cpu: Cpu, a: number, b: number): number {
  const low = imul(a, b);
  setProductFlags(cpu, low, a * b !== low);
  return low;
}
function product16(cpu: Cpu, a: number, b: number): number {
  const product = ((a << 16) >> 16) * ((b << 16) >> 16);
  setProductFlags(cpu, (product << 16) >> 16, product !== (product << 16) >> 16);
  return product;
}

/** Divide the 64-bit `high:low` by `divisor`, all unsigned, in steps of 16 bits that stay exact in a double. Quotient and remainder. */
let quotient = 0;
let remainder = 0;
function divide64(high: number, low: number, divisor: number): void {
  const first = high * 0x10000 + (low >>> 16);
  const upper = floor(first / divisor);
  const second = (first % divisor) * 0x10000 + (low & 0xffff);
  quotient = upper * 0x10000 + floor(second / divisor);
  remainder = second % divisor;
}

function div32(cpu: Cpu, slot: number): void {
  const divisor = readE32(cpu, slot) >>> 0;
  const high = cpu.i32[EDX]! >>> 0;
  if (divisor <= high) raise(cpu, DE); // includes divisor 0
  divide64(high, cpu.i32[EAX]!, divisor);
  cpu.f64[DIVISIONS]! += 1;
  cpu.i32[EAX] = quotient | 0;
  cpu.i32[EDX] = remainder | 0;
}
function div16(cpu: Cpu, slot: number): void {
  const divisor = readE16(cpu, slot);
  const dividend = ((cpu.i32[EDX]! << 16) | (cpu.i32[EAX]! & 0xffff)) >>> 0;
  if (divisor === 0) raise(cpu, DE);
  const result = floor(dividend / divisor);
  if (result > 0xffff) raise(cpu, DE);
  cpu.f64[DIVISIONS]! += 1;
  cpu.u16[EAX << 1] = result;
  cpu.u16[EDX << 1] = dividend % divisor;
}
function div8(cpu: Cpu, slot: number): void {
  const divisor = readE8(cpu, slot);
  const dividend = cpu.i32[EAX]! & 0xffff;
  if (divisor === 0) raise(cpu, DE);
  const result = floor(dividend / divisor);
  if (result > 0xff) raise(cpu, DE);
  cpu.f64[DIVISIONS]! += 1;
  cpu.u8[0] = result;
  cpu.u8[1] = dividend % divisor;
}
function idiv32(cpu: Cpu, slot: number): void {
  const divisor = readE32(cpu, slot);
  let high = cpu.i32[EDX]!;
  let low = cpu.i32[EAX]!;
  const negative = high < 0;
  if (negative) {
    low = -low | 0;
    high = (~high + (low === 0 ? 1 : 0)) | 0;
  }
  const magnitude = divisor < 0 ? -divisor : divisor;
  if (magnitude <= high >>> 0) raise(cpu, DE);
  divide64(high >>> 0, low, magnitude);
  const signed = negative === divisor < 0 ? quotient : -quotient;
  if (signed > 0x7fffffff || signed < -0x80000000) raise(cpu, DE);
  cpu.f64[DIVISIONS]! += 1;
  cpu.i32[EAX] = signed;
  cpu.i32[EDX] = negative ? -remainder : remainder;
}
function idiv16(cpu: Cpu, slot: number): void {
  const divisor = (readE16(cpu, slot) << 16) >> 16;
  const dividend = (cpu.i32[EDX]! << 16) | (cpu.i32[EAX]! & 0xffff);
  if (divisor === 0) raise(cpu, DE);
  const result = dividend / divisor;
  const whole = result < 0 ? -floor(-result) : floor(result);
  if (whole > 0x7fff || whole < -0x8000) raise(cpu, DE);
  cpu.f64[DIVISIONS]! += 1;
  cpu.u16[EAX << 1] = whole;
  cpu.u16[EDX << 1] = dividend - whole * divisor;
}
function idiv8(cpu: Cpu, slot: number): void {
  const divisor = (readE8(cpu, slot) << 24) >> 24;
  const dividend = (cpu.i32[EAX]! << 16) >> 16;
  if (divisor === 0) raise(cpu, DE);
  const result = dividend / divisor;
  const whole = result < 0 ? -floor(-result) : floor(result);
  if (whole > 0x7f || whole < -0x80) raise(cpu, DE);
  cpu.f64[DIVISIONS]! += 1;
  cpu.u8[0] = whole;
  cpu.u8[1] = dividend - whole * divisor;
}

// Decimal adjustment (SDM Vol. 2A, AAA … DAS).
function setDecimalFlags(cpu: Cpu, result: number, adjusted: boolean, carry: boolean): void {
  const low = result & 0xff;
  setArithmeticFlags(cpu, (carry ? CF : 0) | (adjusted ? AF : 0) | (low === 0 ? ZF : 0) | (low & 0x80 ? SF : 0) | (parity(low) ? PF : 0));
}

function decimalAdjust(cpu: Cpu, sign: 1 | -1): void {
  const al = cpu.u8[0]!;
  const carry = carryFlag(cpu) === 1;
  let result = al;
  let carryOut = false;
  const adjusted = (al & 15) > 9 || (getEflags(cpu) & AF) !== 0;
  if (adjusted) {
    result = al + 6 * sign;
    carryOut = carry || result > 0xff || result < 0;
  }
  if (al > 0x99 || carry) {
    result += 0x60 * sign;
    carryOut = true;
  } else if (sign > 0) carryOut = false;
  cpu.u8[0] = result;
  setDecimalFlags(cpu, result, adjusted, carryOut);
}

function asciiAdjust(cpu: Cpu, sign: 1 | -1): void {
  const ax = cpu.i32[EAX]! & 0xffff;
  const adjusted = (ax & 15) > 9 || (getEflags(cpu) & AF) !== 0;
  let result = ax;
  if (adjusted) result = sign > 0 ? ax + 0x106 : ((ax - 6) & 0xffff) - 0x100;
  result &= 0xff0f;
  cpu.u16[EAX << 1] = result;
  setDecimalFlags(cpu, result, adjusted, adjusted);
}

export const MULTIPLY_INSTRUCTIONS: InstructionSet = {
  'MUL Eb': mul8, 'MUL Ev': [mul16, mul32],
  'IMUL Eb': imul8, 'IMUL Ev': [imul16, imul32],
  'IMUL Gv,Ev': [
    (cpu, slot) => writeG16(cpu, slot, product16(cpu, readG16(cpu, slot), readE16(cpu, slot))),
    (cpu, slot) => writeG32(cpu, slot, product32(cpu, readG32(cpu, slot), readE32(cpu, slot))),
  ],
  'IMUL Gv,Ev,Iv': [
    (cpu, slot) => writeG16(cpu, slot, product16(cpu, readE16(cpu, slot), immediate(cpu, slot))),
    (cpu, slot) => writeG32(cpu, slot, product32(cpu, readE32(cpu, slot), immediate(cpu, slot))),
  ],
  'DIV Eb': div8, 'DIV Ev': [div16, div32],
  'IDIV Eb': idiv8, 'IDIV Ev': [idiv16, idiv32],
  'DAA': (cpu) => decimalAdjust(cpu, 1),
  'DAS': (cpu) => decimalAdjust(cpu, -1),
  'AAA': (cpu) => asciiAdjust(cpu, 1),
  'AAS': (cpu) => asciiAdjust(cpu, -1),
  'AAM Ib': (cpu, slot) => {
    const base = immediate(cpu, slot);
    if (base === 0) raise(cpu, DE);
    const al = cpu.u8[0]!;
    cpu.u8[1] = floor(al / base);
    cpu.u8[0] = al % base;
    setDecimalFlags(cpu, al % base, false, false);
  },
  'AAD Ib': (cpu, slot) => {
    const al = (cpu.u8[0]! + cpu.u8[1]! * immediate(cpu, slot)) & 0xff;
    cpu.u16[EAX << 1] = al;
    setDecimalFlags(cpu, al, false, false);
  },
};
