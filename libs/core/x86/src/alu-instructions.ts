import * as arithmetic from './arithmetic.js';
import type { Cpu } from './cpu.js';
import { carryFlag, setCarryFlag } from './flags.js';
import type { InstructionSet } from './instruction.js';
import {
  immediate, modifyE16, modifyE32, modifyE8, readE16, readE32, readE8, readG16, readG32, readG8, writeE16, writeE32, writeE8, writeG16, writeG32, writeG8,
} from './operands.js';
import { EAX, FLAG_CARRIES, FLAG_RESULT } from './state.js';

/**
 * ADD OR ADC SBB AND SUB XOR CMP TEST INC DEC NEG NOT, XADD, CMPXCHG, and the carry instructions.
 *
 * A memory destination is read with `modifyE…`, which has raised whatever the write could raise before flags change. Only a write that leaves
 * for the bus can still throw: `storing` then puts the flags back.
 */

type Binary = (cpu: Cpu, a: number, b: number) => number;
type Unary = (cpu: Cpu, a: number) => number;
type Write = (cpu: Cpu, slot: number, value: number) => void;

/** Store a result whose flags are computed; when the store leaves the guest, flags are as before. */
export function storing(cpu: Cpu, slot: number, write: Write, operation: Binary, a: number, b: number): void {
  if (cpu.code.slots[slot + 2]! >= 0) {
    write(cpu, slot, operation(cpu, a, b));
    return;
  }
  const result = cpu.i32[FLAG_RESULT]!;
  const carries = cpu.i32[FLAG_CARRIES]!;
  const value = operation(cpu, a, b);
  const newResult = cpu.i32[FLAG_RESULT]!;
  const newCarries = cpu.i32[FLAG_CARRIES]!;
  cpu.i32[FLAG_RESULT] = result;
  cpu.i32[FLAG_CARRIES] = carries;
  write(cpu, slot, value);
  cpu.i32[FLAG_RESULT] = newResult;
  cpu.i32[FLAG_CARRIES] = newCarries;
}

function binary(mnemonic: string, op8: Binary, op16: Binary, op32: Binary): InstructionSet {
  return {
    [`${mnemonic} Eb,Gb`]: (cpu, slot) => storing(cpu, slot, writeE8, op8, modifyE8(cpu, slot), readG8(cpu, slot)),
    [`${mnemonic} Eb,Ib`]: (cpu, slot) => storing(cpu, slot, writeE8, op8, modifyE8(cpu, slot), immediate(cpu, slot)),
    [`${mnemonic} Ev,Gv`]: [
      (cpu, slot) => storing(cpu, slot, writeE16, op16, modifyE16(cpu, slot), readG16(cpu, slot)),
      (cpu, slot) => storing(cpu, slot, writeE32, op32, modifyE32(cpu, slot), readG32(cpu, slot)),
    ],
    [`${mnemonic} Ev,Iv`]: [
      (cpu, slot) => storing(cpu, slot, writeE16, op16, modifyE16(cpu, slot), immediate(cpu, slot) & 0xffff),
      (cpu, slot) => storing(cpu, slot, writeE32, op32, modifyE32(cpu, slot), immediate(cpu, slot)),
    ],
    [`${mnemonic} Gb,Eb`]: (cpu, slot) => writeG8(cpu, slot, op8(cpu, readG8(cpu, slot), readE8(cpu, slot))),
    [`${mnemonic} Gv,Ev`]: [
      (cpu, slot) => writeG16(cpu, slot, op16(cpu, readG16(cpu, slot), readE16(cpu, slot))),
      (cpu, slot) => writeG32(cpu, slot, op32(cpu, readG32(cpu, slot), readE32(cpu, slot))),
    ],
  };
}

/** CMP and TEST: flags only. */
function comparison(mnemonic: string, op8: Binary, op16: Binary, op32: Binary): InstructionSet {
  return {
    [`${mnemonic} Eb,Gb`]: (cpu, slot) => void op8(cpu, readE8(cpu, slot), readG8(cpu, slot)),
    [`${mnemonic} Eb,Ib`]: (cpu, slot) => void op8(cpu, readE8(cpu, slot), immediate(cpu, slot)),
    [`${mnemonic} Ev,Gv`]: [(cpu, slot) => void op16(cpu, readE16(cpu, slot), readG16(cpu, slot)), (cpu, slot) => void op32(cpu, readE32(cpu, slot), readG32(cpu, slot))],
    [`${mnemonic} Ev,Iv`]: [(cpu, slot) => void op16(cpu, readE16(cpu, slot), immediate(cpu, slot) & 0xffff), (cpu, slot) => void op32(cpu, readE32(cpu, slot), immediate(cpu, slot))],
    [`${mnemonic} Gb,Eb`]: (cpu, slot) => void op8(cpu, readG8(cpu, slot), readE8(cpu, slot)),
    [`${mnemonic} Gv,Ev`]: [(cpu, slot) => void op16(cpu, readG16(cpu, slot), readE16(cpu, slot)), (cpu, slot) => void op32(cpu, readG32(cpu, slot), readE32(cpu, slot))],
  };
}

function unary(mnemonic: string, op8: Unary, op16: Unary, op32: Unary): InstructionSet {
  return {
    [`${mnemonic} Eb`]: (cpu, slot) => storing(cpu, slot, writeE8, op8, modifyE8(cpu, slot), 0),
    [`${mnemonic} Ev`]: [(cpu, slot) => storing(cpu, slot, writeE16, op16, modifyE16(cpu, slot), 0), (cpu, slot) => storing(cpu, slot, writeE32, op32, modifyE32(cpu, slot), 0)],
  };
}

// XADD: destination receives the sum, the register the old destination.
function xadd8(cpu: Cpu, slot: number): void {
  const old = modifyE8(cpu, slot);
  const addend = readG8(cpu, slot);
  // The register is written first for memory and last for a register: XADD of a register with itself doubles it.
  if (cpu.code.slots[slot + 2]! < 0) {
    storing(cpu, slot, writeE8, arithmetic.add8, old, addend);
    writeG8(cpu, slot, old);
  } else {
    writeG8(cpu, slot, old);
    writeE8(cpu, slot, arithmetic.add8(cpu, old, addend));
  }
}
function xadd16(cpu: Cpu, slot: number): void {
  const old = modifyE16(cpu, slot);
  const addend = readG16(cpu, slot);
  if (cpu.code.slots[slot + 2]! < 0) {
    storing(cpu, slot, writeE16, arithmetic.add16, old, addend);
    writeG16(cpu, slot, old);
  } else {
    writeG16(cpu, slot, old);
    writeE16(cpu, slot, arithmetic.add16(cpu, old, addend));
  }
}
function xadd32(cpu: Cpu, slot: number): void {
  const old = modifyE32(cpu, slot);
  const addend = readG32(cpu, slot);
  if (cpu.code.slots[slot + 2]! < 0) {
    storing(cpu, slot, writeE32, arithmetic.add32, old, addend);
    writeG32(cpu, slot, old);
  } else {
    writeG32(cpu, slot, old);
    writeE32(cpu, slot, arithmetic.add32(cpu, old, addend));
  }
}

// CMPXCHG writes its destination in either case (SDM Vol. 2A): the old value when the comparison fails.
function cmpxchg8(cpu: Cpu, slot: number): void {
  const old = modifyE8(cpu, slot);
  const accumulator = cpu.u8[0]!;
  const equal = old === accumulator;
  writeE8(cpu, slot, equal ? readG8(cpu, slot) : old);
  arithmetic.sub8(cpu, accumulator, old);
  if (!equal) cpu.u8[0] = old;
}
function cmpxchg16(cpu: Cpu, slot: number): void {
  const old = modifyE16(cpu, slot);
  const accumulator = cpu.i32[EAX]! & 0xffff;
  const equal = old === accumulator;
  writeE16(cpu, slot, equal ? readG16(cpu, slot) : old);
  arithmetic.sub16(cpu, accumulator, old);
  if (!equal) cpu.u16[0] = old;
}
function cmpxchg32(cpu: Cpu, slot: number): void {
  const old = modifyE32(cpu, slot);
  const accumulator = cpu.i32[EAX]!;
  const equal = old === accumulator;
  writeE32(cpu, slot, equal ? readG32(cpu, slot) : old);
  arithmetic.sub32(cpu, accumulator, old);
  if (!equal) cpu.i32[EAX] = old;
}

const not: Unary = (_, a) => ~a;

export const ALU_INSTRUCTIONS: InstructionSet = {
  ...binary('ADD', arithmetic.add8, arithmetic.add16, arithmetic.add32),
  ...binary('OR', arithmetic.or8, arithmetic.or16, arithmetic.or32),
  ...binary('ADC', arithmetic.adc8, arithmetic.adc16, arithmetic.adc32),
  ...binary('SBB', arithmetic.sbb8, arithmetic.sbb16, arithmetic.sbb32),
  ...binary('AND', arithmetic.and8, arithmetic.and16, arithmetic.and32),
  ...binary('SUB', arithmetic.sub8, arithmetic.sub16, arithmetic.sub32),
  ...binary('XOR', arithmetic.xor8, arithmetic.xor16, arithmetic.xor32),
  ...comparison('CMP', arithmetic.sub8, arithmetic.sub16, arithmetic.sub32),
  ...comparison('TEST', arithmetic.and8, arithmetic.and16, arithmetic.and32),
  ...unary('INC', arithmetic.inc8, arithmetic.inc16, arithmetic.inc32),
  ...unary('DEC', arithmetic.dec8, arithmetic.dec16, arithmetic.dec32),
  ...unary('NEG', (cpu, a) => arithmetic.sub8(cpu, 0, a), (cpu, a) => arithmetic.sub16(cpu, 0, a), (cpu, a) => arithmetic.sub32(cpu, 0, a)),
  ...unary('NOT', not, not, not),
  'XADD Eb,Gb': xadd8,
  'XADD Ev,Gv': [xadd16, xadd32],
  'CMPXCHG Eb,Gb': cmpxchg8,
  'CMPXCHG Ev,Gv': [cmpxchg16, cmpxchg32],
  'CLC': (cpu) => setCarryFlag(cpu, 0),
  'STC': (cpu) => setCarryFlag(cpu, 1),
  'CMC': (cpu) => setCarryFlag(cpu, carryFlag(cpu) ^ 1),
};
