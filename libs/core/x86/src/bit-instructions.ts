import type { Cpu } from './cpu.js';
import { condition, setCarryFlag, setZeroFlag } from './flags.js';
import type { InstructionSet } from './instruction.js';
import {
  effectiveAddress, immediate, modifyE16, modifyE32, operandLinear, readE16, readE32, readG16, readG32, segmentLinear, segmentOf, writeE16, writeE32, writeE8, writeG16, writeG32,
} from './operands.js';
import { readForWrite16, readForWrite32, readLinear16, readLinear32, writeLinear16, writeLinear32, writePair32 } from './memory.js';
import { CONDITIONS } from './opcodes.js';
import { EAX, EBX, ECX, EDX, FLAG_RESULT, FLAG_CARRIES } from './state.js';

/** Bit tests and scans, SETcc, CMOVcc, CMPXCHG8B, BSWAP (SDM Vol. 2). */

const { clz32 } = Math;

type Change = (value: number, bit: number) => number;
const keep: Change = (value) => value;
const set: Change = (value, bit) => value | bit;
const reset: Change = (value, bit) => value & ~bit;
const complement: Change = (value, bit) => value ^ bit;

/** Bit offset in a register: into a bit string from the memory operand on, in either direction (SDM Vol. 2A, BT); a multiple of the operand size. */
function bitStringLinear(cpu: Cpu, slot: number, bit: number, bytes: 2 | 4, write: boolean): number {
  const displacement = bytes === 4 ? (bit >> 5) * 4 : (bit >> 4) * 2;
  const offset = effectiveAddress(cpu, slot) + displacement;
  const narrow = (cpu.code.slots[slot + 4]! & 0x1000) !== 0;
  return segmentLinear(cpu, segmentOf(cpu, slot), narrow ? offset & 0xffff : offset | 0, bytes, write);
}

function bitString32(cpu: Cpu, slot: number, change: Change): void {
  const bit = readG32(cpu, slot);
  const mask = 1 << (bit & 31);
  if (cpu.code.slots[slot + 2]! >= 0) {
    const value = readE32(cpu, slot);
    if (change !== keep) writeE32(cpu, slot, change(value, mask));
    setCarryFlag(cpu, (value & mask) === 0 ? 0 : 1);
    return;
  }
  const linear = bitStringLinear(cpu, slot, bit, 4, change !== keep);
  const user = cpu.user !== 0;
  const value = change === keep ? readLinear32(cpu, linear, user) : readForWrite32(cpu, linear, user);
  if (change !== keep) writeLinear32(cpu, linear, change(value, mask), user);
  setCarryFlag(cpu, (value & mask) === 0 ? 0 : 1);
}
function bitString16(cpu: Cpu, slot: number, change: Change): void {
  const bit = (readG16(cpu, slot) << 16) >> 16;
  const mask = 1 << (bit & 15);
  if (cpu.code.slots[slot + 2]! >= 0) {
    const value = readE16(cpu, slot);
    if (change !== keep) writeE16(cpu, slot, change(value, mask));
    setCarryFlag(cpu, (value & mask) === 0 ? 0 : 1);
    return;
  }
  const linear = bitStringLinear(cpu, slot, bit, 2, change !== keep);
  const user = cpu.user !== 0;
  const value = change === keep ? readLinear16(cpu, linear, user) : readForWrite16(cpu, linear, user);
  if (change !== keep) writeLinear16(cpu, linear, change(value, mask), user);
  setCarryFlag(cpu, (value & mask) === 0 ? 0 : 1);
}
function bitImmediate32(cpu: Cpu, slot: number, change: Change): void {
  const mask = 1 << (immediate(cpu, slot) & 31);
  const value = change === keep ? readE32(cpu, slot) : modifyE32(cpu, slot);
  if (change !== keep) writeE32(cpu, slot, change(value, mask));
  setCarryFlag(cpu, (value & mask) === 0 ? 0 : 1);
}
function bitImmediate16(cpu: Cpu, slot: number, change: Change): void {
  const mask = 1 << (immediate(cpu, slot) & 15);
  const value = change === keep ? readE16(cpu, slot) : modifyE16(cpu, slot);
  if (change !== keep) writeE16(cpu, slot, change(value, mask));
  setCarryFlag(cpu, (value & mask) === 0 ? 0 : 1);
}

function bitTest(mnemonic: string, change: Change): InstructionSet {
  return {
    [`${mnemonic} Ev,Gv`]: [(cpu, slot) => bitString16(cpu, slot, change), (cpu, slot) => bitString32(cpu, slot, change)],
    [`${mnemonic} Ev,Ib`]: [(cpu, slot) => bitImmediate16(cpu, slot, change), (cpu, slot) => bitImmediate32(cpu, slot, change)],
  };
}

/** BSF and BSR: a source of 0 sets ZF and leaves the destination, as processors do. The other flags are undefined: they follow the source. */
function scan(cpu: Cpu, value: number, write: (index: number) => void, index: number): void {
  if (value !== 0) write(index);
  cpu.i32[FLAG_RESULT] = value;
  cpu.i32[FLAG_CARRIES] = 0;
}
const lowest = (value: number): number => 31 - clz32(value & -value);
const highest = (value: number): number => 31 - clz32(value);

function conditional(cc: number): InstructionSet {
  const name = CONDITIONS[cc]!;
  return {
    [`SET${name} Eb`]: (cpu, slot) => writeE8(cpu, slot, condition(cpu, cc) ? 1 : 0),
    // The source is read, and can fault, whatever the condition.
    [`CMOV${name} Gv,Ev`]: [
      (cpu, slot) => {
        const value = readE16(cpu, slot);
        if (condition(cpu, cc)) writeG16(cpu, slot, value);
      },
      (cpu, slot) => {
        const value = readE32(cpu, slot);
        if (condition(cpu, cc)) writeG32(cpu, slot, value);
      },
    ],
  };
}

function cmpxchg8b(cpu: Cpu, slot: number): void {
  const { i32 } = cpu;
  const user = cpu.user !== 0;
  const linear = operandLinear(cpu, slot, 8, true);
  const upper = (linear + 4) | 0;
  // Both halves can be written before either is; the lower one faults first, so that CR2 is the operand's address.
  const low = readForWrite32(cpu, linear, user);
  const high = readForWrite32(cpu, upper, user);
  const equal = low === i32[EAX]! && high === i32[EDX]!;
  writePair32(cpu, linear, equal ? i32[EBX]! : low, equal ? i32[ECX]! : high, user);
  if (!equal) {
    i32[EAX] = low;
    i32[EDX] = high;
  }
  setZeroFlag(cpu, equal);
}

function bswap(cpu: Cpu, slot: number): void {
  const value = readE32(cpu, slot);
  writeE32(cpu, slot, (value << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24));
}

export const BIT_INSTRUCTIONS: InstructionSet = {
  ...bitTest('BT', keep), ...bitTest('BTS', set), ...bitTest('BTR', reset), ...bitTest('BTC', complement),
  'BSF Gv,Ev': [
    (cpu, slot) => {
      const value = readE16(cpu, slot);
      scan(cpu, value, (index) => writeG16(cpu, slot, index), lowest(value));
    },
    (cpu, slot) => {
      const value = readE32(cpu, slot);
      scan(cpu, value, (index) => writeG32(cpu, slot, index), lowest(value));
    },
  ],
  'BSR Gv,Ev': [
    (cpu, slot) => {
      const value = readE16(cpu, slot);
      scan(cpu, value, (index) => writeG16(cpu, slot, index), highest(value));
    },
    (cpu, slot) => {
      const value = readE32(cpu, slot);
      scan(cpu, value, (index) => writeG32(cpu, slot, index), highest(value));
    },
  ],
  ...Object.assign({}, ...CONDITIONS.map((_, cc) => conditional(cc))) as InstructionSet,
  'CMPXCHG8B Mq': cmpxchg8b,
  // BSWAP of a 16-bit register is undefined; processors leave 0 (SDM Vol. 2A).
  'BSWAP Ev': [(cpu, slot) => writeE16(cpu, slot, 0), bswap],
};
