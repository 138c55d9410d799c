import type { Cpu } from './cpu.js';
import { BR, raise, UD } from './fault.js';
import { carryFlag, getEflags, setArithmeticFlags, OF, AF, CF, PF, SF, ZF } from './flags.js';
import type { InstructionSet } from './instruction.js';
import { observeSelector } from './sensitive.js';
import { loadSegment, selectorOf } from './segmentation.js';
import {
  effectiveAddress, immediate, modifyE16, modifyE32, modifyE8, operandLinear, probeSegmentWrite, push16, push32, read16, read32, read8, readE16, readE32, readE8, readG16, readG32, readG8, release, segmentOf,
  setStackOffset, stackMask, top16, top32, write16, write32, writeE16, writeE32, writeE8, writeG16, writeG32, writeG8,
} from './operands.js';
import { readLinear16, readLinear32 } from './memory.js';
import { CS, DS, EAX, EBP, EBX, EDX, ES, ESP, FS, GS, SS } from './state.js';
import { blockInterrupts } from './system-registers.js';

/** Data movement and the stack (SDM Vol. 2). */

/** MOV to a segment register. */
function movToSegment(cpu: Cpu, slot: number): void {
  const segment = cpu.code.slots[slot + 1]!;
  if (segment === CS || segment > GS) raise(cpu, UD);
  const selector = readE16(cpu, slot);
  loadSegment(cpu, segment, selector);
  if (segment === SS) blockInterrupts(cpu);
}
/** MOV from a segment register: a 32-bit register receives the selector zero-extended, memory 16 bits. */
function movFromSegment(cpu: Cpu, slot: number, wide: boolean): void {
  const segment = cpu.code.slots[slot + 1]!;
  if (segment > GS) raise(cpu, UD);
  const selector = selectorOf(cpu, segment);
  if (wide && cpu.code.slots[slot + 2]! >= 0) writeE32(cpu, slot, selector);
  else writeE16(cpu, slot, selector);
  observeSelector(cpu, 'MOV', segment);
}

function pushSegment(name: string, segment: number): InstructionSet {
  return {
    // With 32-bit operands a P6 pushes the selector zero-extended; only later processors leave the upper half as it was (SDM Vol. 2B, PUSH).
    [`PUSH ${name}`]: (cpu, slot) => {
      if ((cpu.code.slots[slot + 7]! & OPERAND16) !== 0) push16(cpu, selectorOf(cpu, segment));
      else push32(cpu, selectorOf(cpu, segment));
      observeSelector(cpu, 'PUSH', segment);
    },
    [`POP ${name}`]: (cpu, slot) => {
      const size = (cpu.code.slots[slot + 7]! & OPERAND16) !== 0 ? 2 : 4;
      const selector = size === 4 ? top32(cpu) & 0xffff : top16(cpu);
      const mask = stackMask(cpu); // of the old stack, for POP SS
      loadSegment(cpu, segment, selector);
      if (segment === SS) blockInterrupts(cpu);
      setStackOffset(cpu, mask, cpu.i32[ESP]! + size);
    },
  };
}
const OPERAND16 = 1 << 26;

/** LDS LES LFS LGS LSS: offset, then selector, from memory. */
function loadPointer(segment: number): InstructionSet[string] {
  const load = (cpu: Cpu, slot: number, wide: boolean): void => {
    const offset = effectiveAddress(cpu, slot);
    const from = segmentOf(cpu, slot);
    const value = wide ? read32(cpu, from, offset) : read16(cpu, from, offset);
    const selector = read16(cpu, from, (cpu.code.slots[slot + 4]! & 0x1000) !== 0 ? (offset + (wide ? 4 : 2)) & 0xffff : (offset + (wide ? 4 : 2)) | 0);
    loadSegment(cpu, segment, selector);
    if (wide) writeG32(cpu, slot, value);
    else writeG16(cpu, slot, value);
  };
  return [(cpu, slot) => load(cpu, slot, false), (cpu, slot) => load(cpu, slot, true)];
}

// PUSHA, POPA: all accesses are tried before anything changes.
function pusha(cpu: Cpu, wide: boolean): void {
  const size = wide ? 4 : 2;
  const mask = stackMask(cpu);
  const top = cpu.i32[ESP]!;
  for (let register = 0; register < 8; register++) probeSegmentWrite(cpu, SS, (top - size * (register + 1)) & mask, size);
  for (let register = 0; register < 8; register++) {
    const offset = (top - size * (register + 1)) & mask;
    if (wide) write32(cpu, SS, offset, cpu.i32[register]!);
    else write16(cpu, SS, offset, cpu.i32[register]!);
  }
  setStackOffset(cpu, mask, top - size * 8);
}
function popa(cpu: Cpu, wide: boolean): void {
  const size = wide ? 4 : 2;
  const mask = stackMask(cpu);
  const top = cpu.i32[ESP]!;
  const values = popped;
  for (let n = 0; n < 8; n++) {
    const offset = (top + size * n) & mask;
    values[7 - n] = wide ? read32(cpu, SS, offset) : read16(cpu, SS, offset);
  }
  for (let register = 0; register < 8; register++) {
    if (register === ESP) continue;
    if (wide) cpu.i32[register] = values[register]!;
    else cpu.u16[register << 1] = values[register]!;
  }
  setStackOffset(cpu, mask, top + size * 8);
}
const popped = new Int32Array(8);

/** ENTER (SDM Vol. 2A): pushes EBP, up to 31 frame pointers, and reserves space. The new top of the stack must be writable. */
function enter(cpu: Cpu, slot: number, wide: boolean): void {
  const parameters = immediate(cpu, slot);
  const space = parameters & 0xffff;
  const level = (parameters >>> 16) & 31;
  const size = wide ? 4 : 2;
  const mask = stackMask(cpu);
  const top = cpu.i32[ESP]!;
  const frame = (top - size) & mask;
  const elements = level === 0 ? 1 : level + 1;
  // Old frame pointers, read before anything is written.
  const pointers = frames;
  for (let n = 1; n < level; n++) {
    const offset = (cpu.i32[EBP]! - size * n) & mask;
    pointers[n] = wide ? read32(cpu, SS, offset) : read16(cpu, SS, offset);
  }
  for (let n = 1; n <= elements; n++) probeSegmentWrite(cpu, SS, (top - size * n) & mask, size);
  const last = (top - size * elements - space) & mask;
  probeSegmentWrite(cpu, SS, last, size);
  const write = (n: number, value: number): void => {
    if (wide) write32(cpu, SS, (top - size * n) & mask, value);
    else write16(cpu, SS, (top - size * n) & mask, value);
  };
  write(1, cpu.i32[EBP]!);
  for (let n = 1; n < level; n++) write(n + 1, pointers[n]!);
  if (level > 0) write(level + 1, (top & ~mask) | frame);
  const newFrame = (top & ~mask) | frame;
  if (wide) cpu.i32[EBP] = newFrame;
  else cpu.u16[EBP << 1] = newFrame;
  setStackOffset(cpu, mask, last);
}
const frames = new Int32Array(32);

function leaveFrame(cpu: Cpu, wide: boolean): void {
  const mask = stackMask(cpu);
  const offset = cpu.i32[EBP]! & mask;
  const value = wide ? read32(cpu, SS, offset) : read16(cpu, SS, offset);
  setStackOffset(cpu, mask, offset + (wide ? 4 : 2));
  if (wide) cpu.i32[EBP] = value;
  else cpu.u16[EBP << 1] = value;
}

/** POP to E: the address of a memory operand uses ESP as it is after the pop (SDM Vol. 2B, POP). */
function popE(cpu: Cpu, slot: number, wide: boolean): void {
  const value = wide ? top32(cpu) : top16(cpu);
  const old = cpu.i32[ESP]!;
  release(cpu, wide ? 4 : 2);
  try {
    if (wide) writeE32(cpu, slot, value);
    else writeE16(cpu, slot, value);
  } catch (thrown) {
    cpu.i32[ESP] = old;
    throw thrown;
  }
}

/** BOUND: #BR when the signed index lies outside the two limits in memory. */
function bound(cpu: Cpu, slot: number, wide: boolean): void {
  const size = wide ? 4 : 2;
  const linear = operandLinear(cpu, slot, 2 * size, false);
  const user = cpu.user !== 0;
  const upper = (linear + size) | 0;
  const index = wide ? readG32(cpu, slot) : (readG16(cpu, slot) << 16) >> 16;
  const lower = wide ? readLinear32(cpu, linear, user) : (readLinear16(cpu, linear, user) << 16) >> 16;
  const higher = wide ? readLinear32(cpu, upper, user) : (readLinear16(cpu, upper, user) << 16) >> 16;
  if (index < lower || index > higher) raise(cpu, BR);
}

export const MOVE_INSTRUCTIONS: InstructionSet = {
  'MOV Eb,Gb': (cpu, slot) => writeE8(cpu, slot, readG8(cpu, slot)),
  'MOV Ev,Gv': [(cpu, slot) => writeE16(cpu, slot, readG16(cpu, slot)), (cpu, slot) => writeE32(cpu, slot, readG32(cpu, slot))],
  'MOV Gb,Eb': (cpu, slot) => writeG8(cpu, slot, readE8(cpu, slot)),
  'MOV Gv,Ev': [(cpu, slot) => writeG16(cpu, slot, readE16(cpu, slot)), (cpu, slot) => writeG32(cpu, slot, readE32(cpu, slot))],
  'MOV Eb,Ib': (cpu, slot) => writeE8(cpu, slot, immediate(cpu, slot)),
  'MOV Ev,Iv': [(cpu, slot) => writeE16(cpu, slot, immediate(cpu, slot)), (cpu, slot) => writeE32(cpu, slot, immediate(cpu, slot))],
  'MOV Ev,Sw': [(cpu, slot) => movFromSegment(cpu, slot, false), (cpu, slot) => movFromSegment(cpu, slot, true)],
  'MOV Sw,Ew': movToSegment,
  'LEA Gv,M': [(cpu, slot) => writeG16(cpu, slot, effectiveAddress(cpu, slot)), (cpu, slot) => writeG32(cpu, slot, effectiveAddress(cpu, slot))],
  'MOVZX Gv,Eb': [(cpu, slot) => writeG16(cpu, slot, readE8(cpu, slot)), (cpu, slot) => writeG32(cpu, slot, readE8(cpu, slot))],
  'MOVZX Gv,Ew': [(cpu, slot) => writeG16(cpu, slot, readE16(cpu, slot)), (cpu, slot) => writeG32(cpu, slot, readE16(cpu, slot))],
  'MOVSX Gv,Eb': [(cpu, slot) => writeG16(cpu, slot, (readE8(cpu, slot) << 24) >> 24), (cpu, slot) => writeG32(cpu, slot, (readE8(cpu, slot) << 24) >> 24)],
  'MOVSX Gv,Ew': [(cpu, slot) => writeG16(cpu, slot, readE16(cpu, slot)), (cpu, slot) => writeG32(cpu, slot, (readE16(cpu, slot) << 16) >> 16)],
  'XCHG Eb,Gb': (cpu, slot) => {
    const old = modifyE8(cpu, slot);
    const value = readG8(cpu, slot);
    writeE8(cpu, slot, value);
    writeG8(cpu, slot, old);
  },
  'XCHG Ev,Gv': [
    (cpu, slot) => {
      const old = modifyE16(cpu, slot);
      writeE16(cpu, slot, readG16(cpu, slot));
      writeG16(cpu, slot, old);
    },
    (cpu, slot) => {
      const old = modifyE32(cpu, slot);
      writeE32(cpu, slot, readG32(cpu, slot));
      writeG32(cpu, slot, old);
    },
  ],
  'CBW v': [(cpu) => { cpu.u16[EAX << 1] = (cpu.u8[0]! << 24) >> 24; }, (cpu) => { cpu.i32[EAX] = (cpu.i32[EAX]! << 16) >> 16; }],
  'CWD v': [(cpu) => { cpu.u16[EDX << 1] = (cpu.i32[EAX]! << 16) >> 31; }, (cpu) => { cpu.i32[EDX] = cpu.i32[EAX]! >> 31; }],
  'XLAT': (cpu, slot) => {
    const narrow = (cpu.code.slots[slot + 4]! & 0x1000) !== 0;
    const offset = (cpu.i32[EBX]! + cpu.u8[0]!) | 0;
    cpu.u8[0] = read8(cpu, segmentOf(cpu, slot), narrow ? offset & 0xffff : offset);
  },
  'SALC': (cpu) => { cpu.u8[0] = carryFlag(cpu) === 1 ? 0xff : 0; },
  'LAHF': (cpu) => { cpu.u8[1] = (getEflags(cpu) & (SF | ZF | AF | PF | CF)) | 2; },
  'SAHF': (cpu) => setArithmeticFlags(cpu, (getEflags(cpu) & OF) | cpu.u8[1]!),
  'PUSH Ev': [(cpu, slot) => push16(cpu, readE16(cpu, slot)), (cpu, slot) => push32(cpu, readE32(cpu, slot))],
  'PUSH Iv': [(cpu, slot) => push16(cpu, immediate(cpu, slot)), (cpu, slot) => push32(cpu, immediate(cpu, slot))],
  'POP Ev': [(cpu, slot) => popE(cpu, slot, false), (cpu, slot) => popE(cpu, slot, true)],
  'PUSHA v': [(cpu) => pusha(cpu, false), (cpu) => pusha(cpu, true)],
  'POPA v': [(cpu) => popa(cpu, false), (cpu) => popa(cpu, true)],
  'ENTER v,Iw,Ib': [(cpu, slot) => enter(cpu, slot, false), (cpu, slot) => enter(cpu, slot, true)],
  'LEAVE v': [(cpu) => leaveFrame(cpu, false), (cpu) => leaveFrame(cpu, true)],
  'BOUND Gv,Ma': [(cpu, slot) => bound(cpu, slot, false), (cpu, slot) => bound(cpu, slot, true)],
  ...pushSegment('ES', ES), ...pushSegment('CS', CS), ...pushSegment('SS', SS), ...pushSegment('DS', DS), ...pushSegment('FS', FS), ...pushSegment('GS', GS),
  'LES Gv,Mp': loadPointer(ES)!, 'LDS Gv,Mp': loadPointer(DS)!, 'LSS Gv,Mp': loadPointer(SS)!, 'LFS Gv,Mp': loadPointer(FS)!, 'LGS Gv,Mp': loadPointer(GS)!,
  'NOP': () => undefined,
  'NOP Ev': () => undefined,
};
