import type { Cpu } from './cpu.js';
import { CARRY_BITS } from './flags.js';
import { FLAG_CARRIES, FLAG_RESULT } from './state.js';

/**
 * Integer arithmetic with its flags (layout: flags.ts). 8- and 16-bit operands come zero-extended; results are to be cut to their width by
 * whoever stores them.
 *
 * The carry out of every bit of a + b is (a & b) | ((a | b) & ~sum); of a - b, the borrow, (~a & b) | ((~a | b) & difference). For narrow
 * operands the top two carries move up to bits 31 and 30.
 */

export function add32(cpu: Cpu, a: number, b: number): number {
  const sum = (a + b) | 0;
  cpu.i32[FLAG_RESULT] = sum;
  cpu.i32[FLAG_CARRIES] = ((a & b) | ((a | b) & ~sum)) & CARRY_BITS;
  return sum;
}
export function adc32(cpu: Cpu, a: number, b: number): number {
  const sum = (a + b + (cpu.i32[FLAG_CARRIES]! >>> 31)) | 0;
  cpu.i32[FLAG_RESULT] = sum;
  cpu.i32[FLAG_CARRIES] = ((a & b) | ((a | b) & ~sum)) & CARRY_BITS;
  return sum;
}
export function sub32(cpu: Cpu, a: number, b: number): number {
  const difference = (a - b) | 0;
  cpu.i32[FLAG_RESULT] = difference;
  cpu.i32[FLAG_CARRIES] = ((~a & b) | ((~a | b) & difference)) & CARRY_BITS;
  return difference;
}
export function sbb32(cpu: Cpu, a: number, b: number): number {
  const difference = (a - b - (cpu.i32[FLAG_CARRIES]! >>> 31)) | 0;
  cpu.i32[FLAG_RESULT] = difference;
  cpu.i32[FLAG_CARRIES] = ((~a & b) | ((~a | b) & difference)) & CARRY_BITS;
  return difference;
}
function logic32(cpu: Cpu, result: number): number {
  cpu.i32[FLAG_RESULT] = result;
  cpu.i32[FLAG_CARRIES] = 0;
  return result;
}
export const and32 = (cpu: Cpu, a: number, b: number): number => logic32(cpu, a & b);
export const or32 = (cpu: Cpu, a: number, b: number): number => logic32(cpu, a | b);
export const xor32 = (cpu: Cpu, a: number, b: number): number => logic32(cpu, a ^ b);

/** INC and DEC keep CF. */
export function inc32(cpu: Cpu, a: number): number {
  const sum = (a + 1) | 0;
  keepCarry(cpu, sum, a ^ sum, sum === -0x8000_0000);
  return sum;
}
export function dec32(cpu: Cpu, a: number): number {
  const difference = (a - 1) | 0;
  keepCarry(cpu, difference, a ^ difference, difference === 0x7fff_ffff);
  return difference;
}
function keepCarry(cpu: Cpu, result: number, changed: number, overflow: boolean): void {
  const carry = cpu.i32[FLAG_CARRIES]! >>> 31;
  cpu.i32[FLAG_RESULT] = result;
  cpu.i32[FLAG_CARRIES] = (carry << 31) | ((carry ^ (overflow ? 1 : 0)) << 30) | ((changed & 0x10) >> 1);
}

function flags8(cpu: Cpu, result: number, carries: number): number {
  cpu.i32[FLAG_RESULT] = (result << 24) >> 24;
  cpu.i32[FLAG_CARRIES] = ((carries << 24) & 0xc0000000) | (carries & 8);
  return result & 0xff;
}
export function add8(cpu: Cpu, a: number, b: number): number {
  const sum = a + b;
  return flags8(cpu, sum, (a & b) | ((a | b) & ~sum));
}
export function adc8(cpu: Cpu, a: number, b: number): number {
  const sum = a + b + (cpu.i32[FLAG_CARRIES]! >>> 31);
  return flags8(cpu, sum, (a & b) | ((a | b) & ~sum));
}
export function sub8(cpu: Cpu, a: number, b: number): number {
  const difference = a - b;
  return flags8(cpu, difference, (~a & b) | ((~a | b) & difference));
}
export function sbb8(cpu: Cpu, a: number, b: number): number {
  const difference = a - b - (cpu.i32[FLAG_CARRIES]! >>> 31);
  return flags8(cpu, difference, (~a & b) | ((~a | b) & difference));
}
export const and8 = (cpu: Cpu, a: number, b: number): number => flags8(cpu, a & b, 0);
export const or8 = (cpu: Cpu, a: number, b: number): number => flags8(cpu, a | b, 0);
export const xor8 = (cpu: Cpu, a: number, b: number): number => flags8(cpu, a ^ b, 0);
export function inc8(cpu: Cpu, a: number): number {
  const sum = (a + 1) & 0xff;
  keepCarry(cpu, (sum << 24) >> 24, a ^ sum, sum === 0x80);
  return sum;
}
export function dec8(cpu: Cpu, a: number): number {
  const difference = (a - 1) & 0xff;
  keepCarry(cpu, (difference << 24) >> 24, a ^ difference, difference === 0x7f);
  return difference;
}

function flags16(cpu: Cpu, result: number, carries: number): number {
  cpu.i32[FLAG_RESULT] = (result << 16) >> 16;
  cpu.i32[FLAG_CARRIES] = ((carries << 16) & 0xc0000000) | (carries & 8);
  return result & 0xffff;
}
export function add16(cpu: Cpu, a: number, b: number): number {
  const sum = a + b;
  return flags16(cpu, sum, (a & b) | ((a | b) & ~sum));
}
export function adc16(cpu: Cpu, a: number, b: number): number {
  const sum = a + b + (cpu.i32[FLAG_CARRIES]! >>> 31);
  return flags16(cpu, sum, (a & b) | ((a | b) & ~sum));
}
export function sub16(cpu: Cpu, a: number, b: number): number {
  const difference = a - b;
  return flags16(cpu, difference, (~a & b) | ((~a | b) & difference));
}
export function sbb16(cpu: Cpu, a: number, b: number): number {
  const difference = a - b - (cpu.i32[FLAG_CARRIES]! >>> 31);
  return flags16(cpu, difference, (~a & b) | ((~a | b) & difference));
}
export const and16 = (cpu: Cpu, a: number, b: number): number => flags16(cpu, a & b, 0);
export const or16 = (cpu: Cpu, a: number, b: number): number => flags16(cpu, a | b, 0);
export const xor16 = (cpu: Cpu, a: number, b: number): number => flags16(cpu, a ^ b, 0);
export function inc16(cpu: Cpu, a: number): number {
  const sum = (a + 1) & 0xffff;
  keepCarry(cpu, (sum << 16) >> 16, a ^ sum, sum === 0x8000);
  return sum;
}
export function dec16(cpu: Cpu, a: number): number {
  const difference = (a - 1) & 0xffff;
  keepCarry(cpu, (difference << 16) >> 16, a ^ difference, difference === 0x7fff);
  return difference;
}
