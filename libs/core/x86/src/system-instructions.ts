import { farCall, farJump, farReturn } from './control-transfer.js';
import { cpuid } from './cpuid.js';
import type { Cpu } from './cpu.js';
import { arpl, lar, lsl, NOT_VISIBLE, verr, verw } from './descriptor-queries.js';
import { sysenter, sysexit } from './fast-system-call.js';
import { GP, NM, raise, UD } from './fault.js';
import { DF, getEflags, OF, setZeroFlag } from './flags.js';
import type { InstructionFunction, InstructionSet } from './instruction.js';
import { DescriptorTableAccess, interceptDescriptorTable, interceptPause } from './intercepts.js';
import { iret, softwareInterrupt } from './interrupts.js';
import { readLinear16, readLinear32, writeLinear16, writeLinear32, probeWrite } from './memory.js';
import { rdmsr, wrmsr } from './msr.js';
import {
  effectiveAddress, immediate, modifyE16, operandLinear, operandLinearUnchecked, push16, push32, read16, read32, readE16, readG16, release, segmentOf, top16, top32, writeE16, writeE32, writeG16, writeG32,
} from './operands.js';
import { observeFlagsLoad, observePushf, observeSensitive } from './sensitive.js';
import { CPL, CR0, EFLAGS_SYSTEM, GDTR_BASE, GDTR_LIMIT, IDTR_BASE, IDTR_LIMIT } from './state.js';
import { EventType, StepResult } from './step.js';
import {
  cli, clts, hlt, invd, invlpg, lgdt, lidt, lldt, lmsw, ltr, popFlags, pushedFlags, rdpmc, rdtsc, readControlRegister, readDebugRegister, refuseApplications, requireLevel0, sldt, smsw, sti, str, vmcall, wbinvd, writeControlRegister,
  writeDebugRegister,
} from './system-registers.js';

/** Operand decoding for the system half: what the instructions do is in system-registers.ts, interrupts.ts, control-transfer.ts and their neighbours. */

const slotA = (cpu: Cpu, slot: number): number => cpu.code.slots[slot + 1]!;
const slotB = (cpu: Cpu, slot: number): number => cpu.code.slots[slot + 2]!;
const isMemory = (cpu: Cpu, slot: number): boolean => slotB(cpu, slot) < 0;

/** Far pointer in memory: offset, then selector. */
function farPointer(cpu: Cpu, slot: number, size: 2 | 4, then: (cpu: Cpu, selector: number, offset: number, size: 2 | 4) => void): void {
  const at = effectiveAddress(cpu, slot);
  const segment = segmentOf(cpu, slot);
  const offset = size === 4 ? read32(cpu, segment, at) : read16(cpu, segment, at);
  const narrow = (cpu.code.slots[slot + 4]! & 0x1000) !== 0;
  const selector = read16(cpu, segment, narrow ? (at + size) & 0xffff : (at + size) | 0);
  then(cpu, selector, offset, size);
}

/** A selector or status word: 16 bits to memory, zero-extended to a 32-bit register. */
function storeWord(cpu: Cpu, slot: number, value: number, wide: boolean): void {
  if (wide && !isMemory(cpu, slot)) writeE32(cpu, slot, value);
  else writeE16(cpu, slot, value);
}

function loadTable(access: DescriptorTableAccess, load: (cpu: Cpu, base: number, limit: number) => void): InstructionFunction {
  return (cpu, slot) => {
    requireLevel0(cpu);
    const linear = operandLinear(cpu, slot, 6, false);
    interceptDescriptorTable(cpu, access, linear);
    const user = cpu.user !== 0;
    const limit = readLinear16(cpu, linear, user);
    const base = readLinear32(cpu, (linear + 2) | 0, user);
    load(cpu, (cpu.code.slots[slot + 7]! & OPERAND16) !== 0 ? base & 0xff_ffff : base, limit);
  };
}
function storeTable(access: DescriptorTableAccess, baseWord: number, limitWord: number): InstructionFunction {
  return (cpu, slot) => {
    refuseApplications(cpu);
    const linear = operandLinear(cpu, slot, 6, true);
    interceptDescriptorTable(cpu, access, linear);
    const user = cpu.user !== 0;
    probeWrite(cpu, linear, 6, user);
    const base = cpu.i32[baseWord]!;
    writeLinear16(cpu, linear, cpu.i32[limitWord]!, user);
    writeLinear32(cpu, (linear + 2) | 0, (cpu.code.slots[slot + 7]! & OPERAND16) !== 0 ? base & 0xff_ffff : base, user);
    const state = cpu.controls.virtualState;
    if (state === null) return;
    const global = access === DescriptorTableAccess.Sgdt;
    const mnemonic = global ? 'SGDT' : 'SIDT', own = global ? state.gdtBase | 0 : state.idtBase | 0;
    if (base !== own) observeSensitive(cpu, mnemonic, 'base', base, own);
    else observeSensitive(cpu, mnemonic, 'limit', cpu.i32[limitWord]!, global ? state.gdtLimit : state.idtLimit);
  };
}
const OPERAND16 = 1 << 26;

function query(ask: (cpu: Cpu, selector: number) => number): InstructionSet[string] {
  return [
    (cpu, slot) => {
      const answer = ask(cpu, readE16(cpu, slot));
      if (answer !== NOT_VISIBLE) writeG16(cpu, slot, answer);
      setZeroFlag(cpu, answer !== NOT_VISIBLE);
    },
    (cpu, slot) => {
      const answer = ask(cpu, readE16(cpu, slot));
      if (answer !== NOT_VISIBLE) writeG32(cpu, slot, answer);
      setZeroFlag(cpu, answer !== NOT_VISIBLE);
    },
  ];
}

const undefinedInstruction: InstructionFunction = (cpu) => raise(cpu, UD);
const CR0_MP = 2;
const CR0_TS = 8;

/** Where an unsupported encoding, or one longer than 15 bytes, ends up. */
export const raiseUndefined = undefinedInstruction;
export const raiseTooLong: InstructionFunction = (cpu) => raise(cpu, GP, 0);

export const pause: InstructionFunction = (cpu) => interceptPause(cpu);
/** An annotation NOP completes, then ends the step. */
export const annotation: InstructionFunction = (cpu, slot) => {
  cpu.exit.mark = cpu.code.slots[slot + 5]! >>> 0;
  cpu.stepResult = StepResult.Mark;
};

export const SYSTEM_INSTRUCTIONS: InstructionSet = {
  'SLDT Ev': [(cpu, slot) => storeWord(cpu, slot, sldt(cpu, isMemory(cpu, slot) ? operandLinear(cpu, slot, 2, true) : 0), false), (cpu, slot) => storeWord(cpu, slot, sldt(cpu, isMemory(cpu, slot) ? operandLinear(cpu, slot, 2, true) : 0), true)],
  'STR Ev': [(cpu, slot) => storeWord(cpu, slot, str(cpu, isMemory(cpu, slot) ? operandLinear(cpu, slot, 2, true) : 0), false), (cpu, slot) => storeWord(cpu, slot, str(cpu, isMemory(cpu, slot) ? operandLinear(cpu, slot, 2, true) : 0), true)],
  'LLDT Ew': (cpu, slot) => {
    requireLevel0(cpu);
    lldt(cpu, readE16(cpu, slot));
  },
  'LTR Ew': (cpu, slot) => {
    requireLevel0(cpu);
    ltr(cpu, readE16(cpu, slot));
  },
  'VERR Ew': (cpu, slot) => setZeroFlag(cpu, verr(cpu, readE16(cpu, slot))),
  'VERW Ew': (cpu, slot) => setZeroFlag(cpu, verw(cpu, readE16(cpu, slot))),
  'LAR Gv,Ew': query(lar)!,
  'LSL Gv,Ew': query(lsl)!,
  'ARPL Ew,Gw': (cpu, slot) => {
    const adjusted = arpl(modifyE16(cpu, slot), readG16(cpu, slot));
    if (adjusted !== NOT_VISIBLE) writeE16(cpu, slot, adjusted);
    setZeroFlag(cpu, adjusted !== NOT_VISIBLE);
  },
  'SGDT Mt': storeTable(DescriptorTableAccess.Sgdt, GDTR_BASE, GDTR_LIMIT),
  'SIDT Mt': storeTable(DescriptorTableAccess.Sidt, IDTR_BASE, IDTR_LIMIT),
  'LGDT Mt': loadTable(DescriptorTableAccess.Lgdt, lgdt),
  'LIDT Mt': loadTable(DescriptorTableAccess.Lidt, lidt),
  'SMSW Ev': [(cpu, slot) => writeE16(cpu, slot, smsw(cpu)), (cpu, slot) => (isMemory(cpu, slot) ? writeE16(cpu, slot, smsw(cpu)) : writeE32(cpu, slot, smsw(cpu)))],
  'LMSW Ew': (cpu, slot) => {
    requireLevel0(cpu);
    const source = readE16(cpu, slot);
    lmsw(cpu, source, isMemory(cpu, slot) ? operandLinear(cpu, slot, 2, false) : null);
  },
  'INVLPG M': (cpu, slot) => {
    requireLevel0(cpu);
    invlpg(cpu, operandLinearUnchecked(cpu, slot));
  },
  'VMCALL': (cpu) => vmcall(cpu),
  'CLTS': (cpu) => clts(cpu),
  'INVD': (cpu) => invd(cpu),
  'WBINVD': (cpu) => wbinvd(cpu),
  'UD0 Gv,Ev': undefinedInstruction,
  'UD1 Gv,Ev': undefinedInstruction,
  'UD2': undefinedInstruction,
  'MOV Rd,Cd': (cpu, slot) => { cpu.i32[slotB(cpu, slot)] = readControlRegister(cpu, slotA(cpu, slot), slotB(cpu, slot)); },
  'MOV Cd,Rd': (cpu, slot) => writeControlRegister(cpu, slotA(cpu, slot), cpu.i32[slotB(cpu, slot)]!, slotB(cpu, slot)),
  'MOV Rd,Dd': (cpu, slot) => { cpu.i32[slotB(cpu, slot)] = readDebugRegister(cpu, slotA(cpu, slot), slotB(cpu, slot)); },
  'MOV Dd,Rd': (cpu, slot) => writeDebugRegister(cpu, slotA(cpu, slot), cpu.i32[slotB(cpu, slot)]!, slotB(cpu, slot)),
  'RDMSR': (cpu) => rdmsr(cpu),
  'WRMSR': (cpu) => wrmsr(cpu),
  'RDTSC': (cpu) => rdtsc(cpu),
  'RDPMC': (cpu) => rdpmc(cpu),
  'SYSENTER': (cpu) => sysenter(cpu),
  'SYSEXIT': (cpu) => sysexit(cpu),
  'CPUID': (cpu) => cpuid(cpu),
  'HLT': (cpu) => hlt(cpu),
  'CLI': (cpu) => cli(cpu),
  'STI': (cpu) => sti(cpu),
  'CLD': (cpu) => { cpu.i32[EFLAGS_SYSTEM]! &= ~DF; },
  'STD': (cpu) => { cpu.i32[EFLAGS_SYSTEM]! |= DF; },
  'PUSHF v': [
    (cpu) => {
      push16(cpu, pushedFlags(cpu));
      observePushf(cpu);
    },
    (cpu) => {
      push32(cpu, pushedFlags(cpu));
      observePushf(cpu);
    },
  ],
  'POPF v': [
    (cpu) => {
      popFlags(cpu, top16(cpu), 2);
      release(cpu, 2);
    },
    (cpu) => {
      const image = top32(cpu);
      popFlags(cpu, image, 4);
      observeFlagsLoad(cpu, 'POPF', image, cpu.i32[CPL] !== 3);
      release(cpu, 4);
    },
  ],
  'INT Ib': (cpu, slot) => softwareInterrupt(cpu, immediate(cpu, slot)),
  'INT3': (cpu) => softwareInterrupt(cpu, 3, EventType.SoftwareException),
  'INT1': (cpu) => softwareInterrupt(cpu, 1, EventType.PrivilegedSoftwareException),
  'INTO': (cpu) => {
    if ((getEflags(cpu) & OF) !== 0) softwareInterrupt(cpu, 4, EventType.SoftwareException);
  },
  'IRET v': [(cpu) => iret(cpu, 2), (cpu) => iret(cpu, 4)],
  'RETF v': [(cpu) => farReturn(cpu, 2, 0), (cpu) => farReturn(cpu, 4, 0)],
  'RETF v,Iw': [(cpu, slot) => farReturn(cpu, 2, immediate(cpu, slot)), (cpu, slot) => farReturn(cpu, 4, immediate(cpu, slot))],
  'CALLF Ap': [(cpu, slot) => farCall(cpu, slotA(cpu, slot), immediate(cpu, slot), 2), (cpu, slot) => farCall(cpu, slotA(cpu, slot), immediate(cpu, slot), 4)],
  'JMPF Ap': [(cpu, slot) => farJump(cpu, slotA(cpu, slot), immediate(cpu, slot), 2), (cpu, slot) => farJump(cpu, slotA(cpu, slot), immediate(cpu, slot), 4)],
  'CALLF Mp': [(cpu, slot) => farPointer(cpu, slot, 2, farCall), (cpu, slot) => farPointer(cpu, slot, 4, farCall)],
  'JMPF Mp': [(cpu, slot) => farPointer(cpu, slot, 2, farJump), (cpu, slot) => farPointer(cpu, slot, 4, farJump)],
  'WAIT': (cpu) => {
    if ((cpu.i32[CR0]! & (CR0_MP | CR0_TS)) === (CR0_MP | CR0_TS)) raise(cpu, NM);
  },
};
