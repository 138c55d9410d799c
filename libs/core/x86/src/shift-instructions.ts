import { storing } from './alu-instructions.js';
import type { Cpu } from './cpu.js';
import type { InstructionSet } from './instruction.js';
import { immediate, modifyE16, modifyE32, modifyE8, readG16, readG32, writeE16, writeE32, writeE8 } from './operands.js';
import { ECX, FLAG_CARRIES, FLAG_RESULT } from './state.js';

/**
 * Shifts and rotates (SDM Vol. 2B, SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR). Counts are taken modulo 32; a count of 0 changes nothing. OF, defined
 * for a count of 1 only, is computed alike for any.
 */

type Width = 8 | 16 | 32;

function setAll(cpu: Cpu, width: Width, result: number, carry: number, overflow: number): void {
  cpu.i32[FLAG_RESULT] = width === 32 ? result : (result << (32 - width)) >> (32 - width);
  cpu.i32[FLAG_CARRIES] = (carry << 31) | ((carry ^ overflow) << 30);
}

/** Rotates change CF and OF only. */
function setCarryOverflow(cpu: Cpu, carry: number, overflow: number): void {
  cpu.i32[FLAG_CARRIES] = (cpu.i32[FLAG_CARRIES]! & 0x3fffffff) | (carry << 31) | ((carry ^ overflow) << 30);
}

/** Bit `bit` of `value`. */
const bitOf = (value: number, bit: number): number => (value >>> bit) & 1;

type Shift = (cpu: Cpu, value: number, count: number, width: Width) => number;

/** Values come zero-extended for widths 8 and 16, and their upper bits are cut off by the store. */
const shl: Shift = (cpu, value, count, width) => {
  const n = count & 31;
  if (n === 0) return value;
  const result = value << n;
  const carry = n <= width ? bitOf(value, width - n) : 0;
  setAll(cpu, width, result, carry, bitOf(result, width - 1) ^ carry);
  return result;
};
const shr: Shift = (cpu, value, count, width) => {
  const n = count & 31;
  if (n === 0) return value;
  const result = value >>> n;
  setAll(cpu, width, result | 0, bitOf(value, n - 1), bitOf(value, width - 1));
  return result;
};
const sar: Shift = (cpu, value, count, width) => {
  const n = count & 31;
  if (n === 0) return value;
  const signed = (value << (32 - width)) >> (32 - width);
  const result = signed >> n;
  setAll(cpu, width, result, (signed >> (n - 1)) & 1, 0);
  return result;
};
const rol: Shift = (cpu, value, count, width) => {
  if ((count & 31) === 0) return value;
  const n = count & (width - 1);
  const result = n === 0 ? value : (value << n) | (value >>> (width - n));
  setCarryOverflow(cpu, result & 1, bitOf(result, width - 1) ^ (result & 1));
  return result;
};
const ror: Shift = (cpu, value, count, width) => {
  if ((count & 31) === 0) return value;
  const n = count & (width - 1);
  const result = n === 0 ? value : (value >>> n) | (value << (width - n));
  setCarryOverflow(cpu, bitOf(result, width - 1), bitOf(result, width - 1) ^ bitOf(result, width - 2));
  return result;
};
const rcl: Shift = (cpu, value, count, width) => {
  let result = value;
  let carry = cpu.i32[FLAG_CARRIES]! >>> 31;
  const n = (count & 31) % (width + 1);
  if (n === 0) return value;
  for (let step = 0; step < n; step++) {
    const out = bitOf(result, width - 1);
    result = (result << 1) | carry;
    carry = out;
  }
  setCarryOverflow(cpu, carry, bitOf(result, width - 1) ^ carry);
  return result;
};
const rcr: Shift = (cpu, value, count, width) => {
  let result = value;
  let carry = cpu.i32[FLAG_CARRIES]! >>> 31;
  const n = (count & 31) % (width + 1);
  if (n === 0) return value;
  for (let step = 0; step < n; step++) {
    const out = result & 1;
    result = (result >>> 1) | (carry << (width - 1));
    carry = out;
  }
  setCarryOverflow(cpu, carry, bitOf(result, width - 1) ^ bitOf(result, width - 2));
  return result;
};

function shifts(mnemonic: string, shift: Shift): InstructionSet {
  const by8 = (cpu: Cpu, a: number, b: number): number => shift(cpu, a, b, 8);
  const by16 = (cpu: Cpu, a: number, b: number): number => shift(cpu, a, b, 16);
  const by32 = (cpu: Cpu, a: number, b: number): number => shift(cpu, a, b, 32);
  const forms = (operands: string, count: (cpu: Cpu, slot: number) => number): InstructionSet => ({
    [`${mnemonic} Eb,${operands}`]: (cpu, slot) => storing(cpu, slot, writeE8, by8, modifyE8(cpu, slot), count(cpu, slot)),
    [`${mnemonic} Ev,${operands}`]: [
      (cpu, slot) => storing(cpu, slot, writeE16, by16, modifyE16(cpu, slot), count(cpu, slot)),
      (cpu, slot) => storing(cpu, slot, writeE32, by32, modifyE32(cpu, slot), count(cpu, slot)),
    ],
  });
  return { ...forms('Ib', immediate), ...forms('1', () => 1), ...forms('CL', (cpu) => cpu.u8[ECX * 4]!) };
}

/** Double shifts: bits of `source` move into `value`. A 16-bit count above 16 goes on with bits of `value`, as processors do (undefined in the SDM). */
function shld(cpu: Cpu, value: number, source: number, count: number, width: 16 | 32): number {
  const n = count & 31;
  if (n === 0) return value;
  let result: number;
  let carry: number;
  if (width === 32) {
    result = (value << n) | (source >>> (32 - n));
    carry = bitOf(value, 32 - n);
  } else {
    const line = (value << 16) | source; // value:source:value
    result = n <= 16 ? (line >>> (16 - n)) & 0xffff : ((source << (n - 16)) | (value >>> (32 - n))) & 0xffff;
    carry = bitOf(line, 32 - n);
  }
  setAll(cpu, width, result, carry, bitOf(result ^ value, width - 1));
  return result;
}
function shrd(cpu: Cpu, value: number, source: number, count: number, width: 16 | 32): number {
  const n = count & 31;
  if (n === 0) return value;
  let result: number;
  let carry: number;
  if (width === 32) {
    result = (value >>> n) | (source << (32 - n));
    carry = bitOf(value, n - 1);
  } else {
    const line = (source << 16) | value; // value:source:value, read from the right
    result = n <= 16 ? (line >>> n) & 0xffff : ((line >>> n) | (value << (32 - n))) & 0xffff;
    carry = bitOf(line, n - 1);
  }
  setAll(cpu, width, result, carry, bitOf(result ^ value, width - 1));
  return result;
}

function doubleShifts(mnemonic: string, shift: typeof shld): InstructionSet {
  const forms = (operands: string, count: (cpu: Cpu, slot: number) => number): InstructionSet => ({
    [`${mnemonic} Ev,Gv,${operands}`]: [
      (cpu, slot) => storing(cpu, slot, writeE16, (c, a, b) => shift(c, a, b, count(c, slot), 16), modifyE16(cpu, slot), readG16(cpu, slot)),
      (cpu, slot) => storing(cpu, slot, writeE32, (c, a, b) => shift(c, a, b, count(c, slot), 32), modifyE32(cpu, slot), readG32(cpu, slot)),
    ],
  });
  return { ...forms('Ib', immediate), ...forms('CL', (cpu) => cpu.u8[ECX * 4]!) };
}

export const SHIFT_INSTRUCTIONS: InstructionSet = {
  ...shifts('SHL', shl), ...shifts('SHR', shr), ...shifts('SAR', sar), ...shifts('ROL', rol), ...shifts('ROR', ror), ...shifts('RCL', rcl), ...shifts('RCR', rcr),
  ...doubleShifts('SHLD', shld), ...doubleShifts('SHRD', shrd),
};
