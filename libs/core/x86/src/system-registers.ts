import type { Cpu } from './cpu.js';
import { Descriptor, LDT, SELECTOR_TI, TSS16_AVAILABLE, TSS32_AVAILABLE, errorCodeOf, isNull, readDescriptor } from './descriptor.js';
import { CONTROL_REGISTER_WRITES, SERIALIZING, TIME_STAMPS } from './event-counters.js';
import { DB, EXIT, GP, NP, UD, raise } from './fault.js';
import { AC, ARITHMETIC_FLAGS, DF as DIRECTION, ID, IF, IOPL, NT, RF, TF, VM, getEflags, setEflags } from './flags.js';
import {
  DrAccess, SystemSegmentAccess, UnsupportedMode, guestCr0, guestCr4, interceptClts, interceptCrRead, interceptCrWrite, interceptDr, interceptHlt, interceptInvd,
  interceptInvlpg, interceptLmsw, interceptRdtsc, interceptSystemSegment, interceptVmcall, interceptWbinvd, leaveUnsupported, type LmswOperand,
} from './intercepts.js';
import { iopl } from './io.js';
import { flushPage, flushTlb, writeTable8 } from './memory.js';
import { setPair, timeStampCounter } from './msr.js';
import { readPhysicalWord } from './paging.js';
import { observeSensitive } from './sensitive.js';
import { selectorOf, setNullSegment, setSegment } from './segmentation.js';
import { modeChanged } from './slots.js';
import {
  ACTIVITY, CPL, CR0, CR2, CR3, CR4, DR0, DR6, DR7, EFLAGS_SYSTEM, GDTR_BASE, GDTR_LIMIT, GDTR_SPACE, IDTR_BASE, IDTR_LIMIT, IDTR_SPACE, INTERRUPT_SHADOW, LDTR,
  LDTR_SPACE, PDPTE, SHADOW_MOV_SS, SHADOW_STI, TR, TR_SPACE,
} from './state.js';

/*
 * System registers and the instructions on them (SDM Vol. 3A ch. 2; Vol. 2). Each function makes its checks in the SDM's
 * order: #UD, privilege, VM exit, operand values; then it changes state.
 */
export const CR0_PE = 1 << 0, CR0_MP = 1 << 1, CR0_EM = 1 << 2, CR0_TS = 1 << 3, CR0_ET = 1 << 4, CR0_NE = 1 << 5;
export const CR0_WP = 1 << 16, CR0_AM = 1 << 18, CR0_NW = 1 << 29, CR0_CD = 1 << 30, CR0_PG = 1 << 31;
/** Bits software can set; the others stay 0 and ET stays 1 (SDM Vol. 3A 2.5). */
const CR0_BITS = CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG;

export const CR4_TSD = 1 << 2, CR4_DE = 1 << 3, CR4_PSE = 1 << 4, CR4_PAE = 1 << 5, CR4_PGE = 1 << 7, CR4_PCE = 1 << 8, CR4_UMIP = 1 << 11;

const DR6_FIXED = 0xffff_0ff0 | 0, DR6_BITS = 0xe00f, DR6_BD = 1 << 13;
const DR7_FIXED = 1 << 10, DR7_BITS = 0xffff_23ff | 0, DR7_GD = 1 << 13;

const scratch = new Descriptor();
/** Page-directory-pointer entries on their way from memory: nothing is loaded when one of them is refused. */
const pointers = new Int32Array(8);

/** #GP(0) unless at level 0. For instructions whose operand is read later (LGDT, LIDT, LLDT, LTR, LMSW, INVLPG): call it first. */
export function requireLevel0(cpu: Cpu): void {
  if (cpu.i32[CPL] !== 0) raise(cpu, GP, 0);
}

// ---- Control registers ------------------------------------------------------------------------------------------------------

/** Bits that CR4 has with the processor's features; the rest are reserved. */
function cr4Bits(cpu: Cpu): number {
  const { features } = cpu;
  return CR4_PCE | (features.tsc ? CR4_TSD : 0) | (features.de ? CR4_DE : 0) | (features.pse ? CR4_PSE : 0) | (features.pae ? CR4_PAE : 0) | (features.pge ? CR4_PGE : 0);
}

/** MOV from CRn. `general` is the destination's number, for the VM exit. #UD for CR1 and CR5–CR15. */
export function readControlRegister(cpu: Cpu, register: number, general = 0): number {
  if (!exists(register)) raise(cpu, UD);
  requireLevel0(cpu);
  interceptCrRead(cpu, register, general);
  switch (register) {
    case 0: return guestCr0(cpu) | 0;
    case 2: return cpu.i32[CR2]!;
    case 3: return cpu.i32[CR3]!;
    default: return guestCr4(cpu) | 0;
  }
}

const exists = (register: number): boolean => register === 0 || (register >= 2 && register <= 4);

/** MOV to CRn. `general` is the source's number, for the VM exit. */
export function writeControlRegister(cpu: Cpu, register: number, value: number, general = 0): void {
  if (!exists(register)) raise(cpu, UD);
  requireLevel0(cpu);
  interceptCrWrite(cpu, register, value, general);
  switch (register) {
    case 0: return writeCr0(cpu, keepOwned(cpu.i32[CR0]!, value, cpu.controls.nonRoot ? cpu.controls.cr0Mask : 0));
    case 2:
      cpu.i32[CR2] = value;
      cpu.f64[CONTROL_REGISTER_WRITES]! += 1;
      return;
    case 3: return writeCr3(cpu, value);
    default: return writeCr4(cpu, keepOwned(cpu.i32[CR4]!, value, cpu.controls.nonRoot ? cpu.controls.cr4Mask : 0));
  }
}

/** A write that did not exit leaves the bits that the host owns as they really are (SDM Vol. 3C 25.3). */
const keepOwned = (real: number, value: number, owned: number): number => (real & owned) | (value & ~owned);

function writeCr0(cpu: Cpu, value: number): void {
  const paging = (value & CR0_PG) !== 0;
  if (paging && (value & CR0_PE) === 0) raise(cpu, GP, 0);
  if ((value & CR0_NW) !== 0 && (value & CR0_CD) === 0) raise(cpu, GP, 0);
  if ((value & CR0_PE) === 0) leaveUnsupported(cpu, UnsupportedMode.Real);
  const old = cpu.i32[CR0]!;
  const next = (value & CR0_BITS) | CR0_ET;
  const changed = old ^ next;
  if (paging && (cpu.i32[CR4]! & CR4_PAE) !== 0 && (changed & (CR0_CD | CR0_NW | CR0_PG)) !== 0) loadPointers(cpu, cpu.i32[CR3]!);
  cpu.i32[CR0] = next;
  // Cached translations hold what PG and WP allowed.
  if ((changed & (CR0_PG | CR0_WP)) !== 0) flushTlb(cpu, false);
  cpu.f64[CONTROL_REGISTER_WRITES]! += 1;
  modeChanged(cpu);
}

function writeCr3(cpu: Cpu, value: number): void {
  if (paePaging(cpu.i32[CR0]!, cpu.i32[CR4]!)) loadPointers(cpu, value);
  cpu.f64[CONTROL_REGISTER_WRITES]! += 1;
  cpu.i32[CR3] = value;
  flushTlb(cpu, (cpu.i32[CR4]! & CR4_PGE) !== 0);
  modeChanged(cpu);
}

function writeCr4(cpu: Cpu, value: number): void {
  if ((value & ~cr4Bits(cpu)) !== 0) raise(cpu, GP, 0);
  const changed = cpu.i32[CR4]! ^ value;
  if (paePaging(cpu.i32[CR0]!, value) && (changed & (CR4_PAE | CR4_PGE | CR4_PSE)) !== 0) loadPointers(cpu, cpu.i32[CR3]!);
  cpu.f64[CONTROL_REGISTER_WRITES]! += 1;
  cpu.i32[CR4] = value;
  if ((changed & (CR4_PAE | CR4_PGE | CR4_PSE)) !== 0) flushTlb(cpu, false);
  modeChanged(cpu);
}

const paePaging = (cr0: number, cr4: number): boolean => (cr0 & CR0_PG) !== 0 && (cr4 & CR4_PAE) !== 0;

/** Bits 1–2 and 5–8 of a present page-directory-pointer entry are reserved (SDM Vol. 3A Table 4-8). */
const PDPTE_RESERVED = 0x1e6;
/** EPT-violation qualification, bits 8:7. */
const LINEAR_ADDRESS_VALID = 0x180;

/**
 * Load the four page-directory-pointer entries (SDM Vol. 3A 4.4.1): with PAE paging they are registers, loaded by MOV CR3 and by
 * changes of CR0.CD, NW, PG and CR4.PAE, PGE, PSE. #GP(0), and nothing changed, when a present one has a reserved bit set.
 */
function loadPointers(cpu: Cpu, cr3: number): void {
  const table = (cr3 & ~0x1f) >>> 0;
  const reservedHigh = -1 << (cpu.features.physicalAddressBits - 32);
  try {
    for (let n = 0; n < 8; n++) pointers[n] = readPhysicalWord(cpu, table + 4 * n);
  } catch (thrown) {
    // The one EPT violation that has no linear address (SDM Vol. 3C Table 27-7, bit 7).
    if (thrown === EXIT) cpu.exit.qualification &= ~LINEAR_ADDRESS_VALID;
    throw thrown;
  }
  for (let n = 0; n < 8; n += 2) {
    if ((pointers[n]! & 1) !== 0 && ((pointers[n]! & PDPTE_RESERVED) | (pointers[n + 1]! & reservedHigh)) !== 0) raise(cpu, GP, 0);
  }
  cpu.i32.set(pointers, PDPTE);
}

/** CLTS. Where the host owns TS and shows it clear, there is nothing to clear. */
export function clts(cpu: Cpu): void {
  requireLevel0(cpu);
  interceptClts(cpu);
  const { controls } = cpu;
  if (controls.nonRoot && (controls.cr0Mask & CR0_TS) !== 0) return;
  cpu.f64[CONTROL_REGISTER_WRITES]! += 1;
  cpu.i32[CR0]! &= ~CR0_TS;
  modeChanged(cpu);
}

/** LMSW: the low four bits of CR0; PE can be set but not cleared. `operand` is the linear address of a memory operand, null for a register. */
export function lmsw(cpu: Cpu, source: number, operand: LmswOperand): void {
  requireLevel0(cpu);
  interceptLmsw(cpu, source, operand);
  const owned = cpu.controls.nonRoot ? cpu.controls.cr0Mask : 0;
  const loaded = 0xf & ~owned;
  const old = cpu.i32[CR0]!;
  cpu.f64[CONTROL_REGISTER_WRITES]! += 1;
  cpu.i32[CR0] = (old & ~(loaded & 0xe)) | (source & loaded);
  modeChanged(cpu);
}

/**
 * User-mode instruction prevention (SDM Vol. 3A 2.5, CR4.UMIP): SGDT, SIDT, SLDT, STR and SMSW raise #GP(0) outside ring 0. No guest can set it (CPUID does not
 * say it); the monitor of a translated guest does, so that applications, which run directly, are answered by ring -1.
 */
export function refuseApplications(cpu: Cpu): void {
  if ((cpu.i32[CR4]! & CR4_UMIP) !== 0 && cpu.i32[CPL] !== 0) raise(cpu, GP, 0);
}

/** SMSW: CR0 as the guest sees it, at any level (which makes it `sensitive`); 16-bit and memory forms keep the low half. */
export function smsw(cpu: Cpu): number {
  refuseApplications(cpu);
  const value = guestCr0(cpu) | 0;
  const state = cpu.controls.virtualState;
  if (state !== null) observeSensitive(cpu, 'SMSW', 'CR0', value, state.cr0 | 0);
  return value;
}

// ---- Debug registers --------------------------------------------------------------------------------------------------------

/** DR4 and DR5 name DR6 and DR7 unless CR4.DE is set (SDM Vol. 3B 17.2.2). */
function debugIndex(cpu: Cpu, register: number): number {
  if (register !== 4 && register !== 5) return register;
  if ((cpu.i32[CR4]! & CR4_DE) !== 0) raise(cpu, UD);
  return register + 2;
}

function accessDebugRegister(cpu: Cpu, register: number, direction: DrAccess, general: number): number {
  interceptDr(cpu, register, direction, general);
  const index = debugIndex(cpu, register);
  requireLevel0(cpu);
  if ((cpu.i32[DR7]! & DR7_GD) !== 0) {
    cpu.i32[DR6]! |= DR6_BD;
    raise(cpu, DB);
  }
  return index;
}

/** MOV from DRn. With DR7.GD set any access is a #DB (fault) with DR6.BD. */
export function readDebugRegister(cpu: Cpu, register: number, general = 0): number {
  return cpu.i32[DR0 + accessDebugRegister(cpu, register, DrAccess.MovFromDr, general)]!;
}

/** MOV to DRn. */
export function writeDebugRegister(cpu: Cpu, register: number, value: number, general = 0): void {
  const index = accessDebugRegister(cpu, register, DrAccess.MovToDr, general);
  if (index === 6) cpu.i32[DR6] = (value & DR6_BITS) | DR6_FIXED;
  else if (index === 7) cpu.i32[DR7] = (value & DR7_BITS) | DR7_FIXED;
  else cpu.i32[DR0 + index] = value;
  modeChanged(cpu);
}

// ---- Descriptor-table registers ---------------------------------------------------------------------------------------------

/** LGDT, after `requireLevel0` and `interceptDescriptorTable`. With 16-bit operands the handler has cut the base to 24 bits. */
export function lgdt(cpu: Cpu, base: number, limit: number): void {
  cpu.i32[GDTR_BASE] = base;
  cpu.i32[GDTR_LIMIT] = limit & 0xffff;
  cpu.i32[GDTR_SPACE] = 0;
  cpu.f64[CONTROL_REGISTER_WRITES]! += 1;
}

export function lidt(cpu: Cpu, base: number, limit: number): void {
  cpu.i32[IDTR_BASE] = base;
  cpu.i32[IDTR_LIMIT] = limit & 0xffff;
  cpu.i32[IDTR_SPACE] = 0;
  cpu.f64[CONTROL_REGISTER_WRITES]! += 1;
}

/** LLDT. A null selector leaves no LDT. */
export function lldt(cpu: Cpu, selector: number): void {
  requireLevel0(cpu);
  interceptSystemSegment(cpu, SystemSegmentAccess.Lldt);
  selector &= 0xffff;
  if (isNull(selector)) {
    setNullSegment(cpu, LDTR, selector);
  } else {
    const error = errorCodeOf(selector);
    if ((selector & SELECTOR_TI) !== 0 || !readDescriptor(cpu, selector, scratch) || !scratch.system || scratch.type !== LDT) raise(cpu, GP, error);
    if (!scratch.present) raise(cpu, NP, error);
    setSegment(cpu, LDTR, selector, scratch);
  }
  cpu.i32[LDTR_SPACE] = 0;
  cpu.f64[CONTROL_REGISTER_WRITES]! += 1;
}

/** LTR: marks the TSS busy. */
export function ltr(cpu: Cpu, selector: number): void {
  requireLevel0(cpu);
  interceptSystemSegment(cpu, SystemSegmentAccess.Ltr);
  selector &= 0xffff;
  if (isNull(selector)) raise(cpu, GP, 0);
  const error = errorCodeOf(selector);
  if ((selector & SELECTOR_TI) !== 0 || !readDescriptor(cpu, selector, scratch)) raise(cpu, GP, error);
  if (!scratch.system || (scratch.type !== TSS16_AVAILABLE && scratch.type !== TSS32_AVAILABLE)) raise(cpu, GP, error);
  if (!scratch.present) raise(cpu, NP, error);
  scratch.high |= TYPE_BUSY << 8;
  writeTable8(cpu, scratch.space, scratch.table, scratch.offset + 5, (scratch.high >>> 8) & 0xff);
  setSegment(cpu, TR, selector, scratch);
  cpu.i32[TR_SPACE] = 0;
  cpu.f64[CONTROL_REGISTER_WRITES]! += 1;
}
const TYPE_BUSY = 2;

/** SLDT and STR, at any level. `linear` is the memory operand, for the VM exit. */
export function sldt(cpu: Cpu, linear = 0): number {
  refuseApplications(cpu);
  interceptSystemSegment(cpu, SystemSegmentAccess.Sldt, linear);
  const state = cpu.controls.virtualState;
  if (state !== null) observeSensitive(cpu, 'SLDT', 'selector', selectorOf(cpu, LDTR), state.ldtr);
  return selectorOf(cpu, LDTR);
}

export function str(cpu: Cpu, linear = 0): number {
  refuseApplications(cpu);
  interceptSystemSegment(cpu, SystemSegmentAccess.Str, linear);
  const state = cpu.controls.virtualState;
  if (state !== null) observeSensitive(cpu, 'STR', 'selector', selectorOf(cpu, TR), state.tr);
  return selectorOf(cpu, TR);
}

// ---- Flags and interrupts ---------------------------------------------------------------------------------------------------

/** CLI: #GP(0) where CPL > IOPL. */
export function cli(cpu: Cpu): void {
  if (cpu.i32[CPL]! > iopl(cpu)) raise(cpu, GP, 0);
  cpu.i32[EFLAGS_SYSTEM]! &= ~IF;
}

/** STI: interrupts are taken behind the next instruction, if they were off (SDM Vol. 2B, STI). */
export function sti(cpu: Cpu): void {
  if (cpu.i32[CPL]! > iopl(cpu)) raise(cpu, GP, 0);
  if ((cpu.i32[EFLAGS_SYSTEM]! & IF) === 0) cpu.i32[INTERRUPT_SHADOW] = SHADOW_STI;
  cpu.i32[EFLAGS_SYSTEM]! |= IF;
}

/** MOV SS and POP SS hold interrupts and traps back for one instruction, so that a stack switch is not torn apart (SDM Vol. 3A 6.8.3). */
export function blockInterrupts(cpu: Cpu): void {
  cpu.i32[INTERRUPT_SHADOW] = SHADOW_MOV_SS;
}

/** What PUSHF pushes: RF and VM read as 0 in the image. The 16-bit form pushes the low half. */
export const pushedFlags = (cpu: Cpu): number => getEflags(cpu) & ~(RF | VM);

/**
 * POPF (SDM Vol. 2B, POPF, Table 4-16). Where it may not change IF (CPL > IOPL) or IOPL (CPL > 0) it leaves them without a
 * fault: the most famous of the sensitive instructions.
 */
export function popFlags(cpu: Cpu, value: number, operandSize: 2 | 4): void {
  const cpl = cpu.i32[CPL]!;
  let mask = ARITHMETIC_FLAGS | TF | DIRECTION | NT;
  if (operandSize === 4) mask |= AC | ID;
  if (cpl <= iopl(cpu)) mask |= IF;
  if (cpl === 0) mask |= IOPL;
  setEflags(cpu, (getEflags(cpu) & ~(mask | RF)) | (value & mask));
}

/** HLT: the processor waits, and the instruction retires. */
export function hlt(cpu: Cpu): void {
  requireLevel0(cpu);
  interceptHlt(cpu);
  cpu.i32[ACTIVITY] = 1;
}

// ---- Caches, counters, VMX ----------------------------------------------------------------------------------------------------

/** INVLPG. `linear` is the operand's address with its segment base; the segment's limit is not checked. */
export function invlpg(cpu: Cpu, linear: number): void {
  requireLevel0(cpu);
  interceptInvlpg(cpu, linear);
  flushPage(cpu, linear);
  cpu.f64[SERIALIZING]! += 1;
}

/** WBINVD and INVD: there is no cache, so that only privilege and exits remain. */
export function wbinvd(cpu: Cpu): void {
  requireLevel0(cpu);
  interceptWbinvd(cpu);
}

export function invd(cpu: Cpu): void {
  requireLevel0(cpu);
  interceptInvd(cpu);
}

/** RDTSC: with CR4.TSD at level 0 only. */
export function rdtsc(cpu: Cpu): void {
  if ((cpu.i32[CR4]! & CR4_TSD) !== 0 && cpu.i32[CPL] !== 0) raise(cpu, GP, 0);
  interceptRdtsc(cpu);
  setPair(cpu, timeStampCounter(cpu));
  cpu.f64[TIME_STAMPS]! += 1;
}

/** RDPMC: no performance counter exists, so that any index is #GP(0). */
export function rdpmc(cpu: Cpu): never {
  raise(cpu, GP, 0);
}

/** VMCALL: a VM exit in non-root operation, #UD outside VMX. */
export function vmcall(cpu: Cpu): never {
  interceptVmcall(cpu);
  raise(cpu, UD);
}
