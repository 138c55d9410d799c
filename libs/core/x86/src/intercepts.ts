import type { Cpu } from './cpu.js';
import { ExitReason } from './exit-reason.js';
import { EXIT, leave } from './fault.js';
import { walkPointers } from './guest-walk.js';
import { currentInstructionLength } from './slots.js';
import { ACTIVITY, CR0, CR2, CR4, DR6 } from './state.js';
import { EventType, StepResult } from './step.js';

/*
 * When an instruction or event leaves the guest, and with which qualification: SDM Vol. 3C 25.1 and 27.2.1. Handlers call these
 * between the checks that come before a VM exit (#UD, privilege, I/O permission: 25.1.1) and those that come after (operand values).
 */

/** Modes that are not built: the qualification of `ExitReason.UnsupportedMode`. */
export const UnsupportedMode = { Real: 1, Virtual8086: 2, TaskSwitch: 3 } as const;
export type UnsupportedMode = (typeof UnsupportedMode)[keyof typeof UnsupportedMode];

/** Leave for an instruction. What the reason has no use for is cleared, so that nothing of the last exit shows through. */
export function leaveForInstruction(cpu: Cpu, reason: ExitReason, qualification = 0, guestLinear = 0): never {
  const { exit } = cpu;
  exit.instructionLength = currentInstructionLength(cpu);
  exit.guestLinear = guestLinear >>> 0;
  exit.guestPhysical = 0;
  exit.access = null;
  exit.event = null;
  leave(cpu, reason, qualification);
}

/** The guest is about to enter a mode that is not built: the machine stops by name, on every path alike, before any change. */
export function leaveUnsupported(cpu: Cpu, mode: UnsupportedMode): never {
  clearExit(cpu);
  cpu.i32[ACTIVITY] = 3;
  stop(cpu, ExitReason.UnsupportedMode, mode);
}

/** Shutdown: a VM exit in non-root operation, the end of the machine otherwise. */
export function leaveForTripleFault(cpu: Cpu): never {
  clearExit(cpu);
  if (cpu.controls.nonRoot) leave(cpu, ExitReason.TripleFault);
  cpu.i32[ACTIVITY] = 2;
  stop(cpu, ExitReason.TripleFault, 0);
}

/** End the machine: `step` returns Stopped with the reason. */
function stop(cpu: Cpu, reason: ExitReason, qualification: number): never {
  cpu.exit.reason = reason;
  cpu.exit.qualification = qualification;
  cpu.stepResult = StepResult.Stopped;
  throw EXIT;
}

function clearExit(cpu: Cpu): void {
  const { exit } = cpu;
  exit.instructionLength = exit.guestLinear = exit.guestPhysical = 0;
  exit.access = exit.event = null;
}

/**
 * In VMX non-root operation, where CPUID and VMCALL exit. A deprivileged guest runs on a processor without VMX: CPUID shows
 * it the processor, VMCALL is #UD.
 */
export const inVmxNonRoot = (cpu: Cpu): boolean => cpu.controls.nonRoot && !cpu.controls.deprivileged;

// ---- Events -----------------------------------------------------------------------------------------------------------

/**
 * Exception bitmap (SDM Vol. 3C 25.2): hardware exceptions and INT1, INT3, INTO whose bit is set exit with reason 0. The
 * qualification is the linear address of a #PF or the pending conditions of a #DB, laid out as DR6 (Table 27-1).
 */
export function interceptException(cpu: Cpu, vector: number, type: EventType, errorCode: number | null): void {
  if (type !== EventType.HardwareException && type !== EventType.SoftwareException && type !== EventType.PrivilegedSoftwareException) return;
  if ((cpu.controls.exceptionBitmap >>> vector & 1) === 0) return;
  clearExit(cpu);
  cpu.exit.event = { vector, type, errorCode };
  if (type !== EventType.HardwareException) cpu.exit.instructionLength = currentInstructionLength(cpu);
  leave(cpu, ExitReason.ExceptionOrNmi, vector === 14 ? cpu.i32[CR2]! : vector === 1 ? cpu.i32[DR6]! & 0x600f : 0);
}

/** An event of a deprivileged guest whose gate is the monitor's. Qualification: vector | type << 8 | error code valid << 11. */
export function leaveForEvent(cpu: Cpu, vector: number, type: EventType, errorCode: number | null, reason: ExitReason = ExitReason.DeprivilegedException): never {
  clearExit(cpu);
  cpu.exit.event = { vector, type, errorCode };
  if (type >= EventType.SoftwareInterrupt) cpu.exit.instructionLength = currentInstructionLength(cpu);
  leave(cpu, reason, vector | (type << 8) | (errorCode === null ? 0 : 1 << 11));
}

// ---- Control and debug registers ----------------------------------------------------------------------------------------

/** CR access qualification, bits 5:4 (SDM Vol. 3C Table 27-3). */
const CrAccess = { MovToCr: 0, MovFromCr: 1, Clts: 2, Lmsw: 3 } as const;

const crQualification = (register: number, access: number, general: number): number => register | (access << 4) | (general << 8);

/** MOV to CR0, CR3, CR4 (SDM Vol. 3C 25.1.3). `general` is the source register's number. */
export function interceptCrWrite(cpu: Cpu, register: number, value: number, general: number): void {
  const { controls } = cpu;
  if (!controls.nonRoot) return;
  const exits = register === 0 ? ((value ^ controls.cr0ReadShadow) & controls.cr0Mask) !== 0
    : register === 4 ? ((value ^ controls.cr4ReadShadow) & controls.cr4Mask) !== 0
    : register === 3 && controls.cr3LoadExiting;
  if (!exits) return;
  if (register === 3 && controls.guestPaging?.pae === true) cpu.exit.walk = walkPointers(cpu, value);
  leaveForInstruction(cpu, ExitReason.CrAccess, crQualification(register, CrAccess.MovToCr, general));
}

/** MOV from CR3. Reads of CR0 and CR4 never exit: the read shadow answers for owned bits. */
export function interceptCrRead(cpu: Cpu, register: number, general: number): void {
  if (register === 3 && cpu.controls.nonRoot && cpu.controls.cr3StoreExiting) leaveForInstruction(cpu, ExitReason.CrAccess, crQualification(3, CrAccess.MovFromCr, general));
}

const CR0_PE = 1, CR0_TS = 8;

/** CLTS exits when the host owns TS and shows it set. */
export function interceptClts(cpu: Cpu): void {
  const { controls } = cpu;
  if (controls.nonRoot && (controls.cr0Mask & controls.cr0ReadShadow & CR0_TS) !== 0) leaveForInstruction(cpu, ExitReason.CrAccess, crQualification(0, CrAccess.Clts, 0));
}

/** LMSW exits when it would set an owned PE that the guest reads as 0, or change an owned MP, EM or TS from what the guest reads. */
export function interceptLmsw(cpu: Cpu, source: number, operand: LmswOperand): void {
  const { controls } = cpu;
  if (!controls.nonRoot) return;
  const setsPe = controls.cr0Mask & ~controls.cr0ReadShadow & source & CR0_PE;
  const changes = controls.cr0Mask & (controls.cr0ReadShadow ^ source) & 0xe;
  if ((setsPe | changes) === 0) return;
  const qualification = crQualification(0, CrAccess.Lmsw, 0) | (operand === null ? 0 : 1 << 6) | ((source & 0xffff) << 16);
  leaveForInstruction(cpu, ExitReason.CrAccess, qualification, operand ?? 0);
}
/** Linear address of LMSW's memory operand, or null for a register. */
export type LmswOperand = number | null;

/** What the guest reads in CR0 and CR4: the read shadow where the host owns the bit (SDM Vol. 3C 25.6.6). */
export const guestCr0 = (cpu: Cpu): number => visibleBits(cpu.i32[CR0]!, cpu.controls.nonRoot ? cpu.controls.cr0Mask : 0, cpu.controls.cr0ReadShadow);
export const guestCr4 = (cpu: Cpu): number => visibleBits(cpu.i32[CR4]!, cpu.controls.nonRoot ? cpu.controls.cr4Mask : 0, cpu.controls.cr4ReadShadow);
const visibleBits = (real: number, owned: number, shadow: number): number => (real & ~owned) | (shadow & owned);

/** MOV DR comes before the privilege check and the #UD of DR4 and DR5 (SDM Vol. 3C 25.1.3). Qualification: Table 27-4. */
export function interceptDr(cpu: Cpu, register: number, direction: DrAccess, general: number): void {
  if (cpu.controls.nonRoot && cpu.controls.movDrExiting) leaveForInstruction(cpu, ExitReason.DrAccess, register | (direction << 4) | (general << 8));
}
export const DrAccess = { MovToDr: 0, MovFromDr: 1 } as const;
export type DrAccess = (typeof DrAccess)[keyof typeof DrAccess];

// ---- Instructions with a control each -----------------------------------------------------------------------------------

/**
 * LGDT, LIDT, SGDT, SIDT, LLDT, LTR, SLDT, STR (descriptor-table exiting). The qualification tells which, as bits 29:28 of
 * the instruction information do (Tables 27-10, 27-11), and `guestLinear` is the memory operand: the decode assist a handler needs.
 */
export const DescriptorTableAccess = { Sgdt: 0, Sidt: 1, Lgdt: 2, Lidt: 3 } as const;
export type DescriptorTableAccess = (typeof DescriptorTableAccess)[keyof typeof DescriptorTableAccess];
export const SystemSegmentAccess = { Sldt: 0, Str: 1, Lldt: 2, Ltr: 3 } as const;
export type SystemSegmentAccess = (typeof SystemSegmentAccess)[keyof typeof SystemSegmentAccess];

export function interceptDescriptorTable(cpu: Cpu, access: DescriptorTableAccess, linear: number): void {
  if (cpu.controls.nonRoot && cpu.controls.descriptorTableExiting) leaveForInstruction(cpu, ExitReason.GdtrIdtrAccess, access, linear);
}

export function interceptSystemSegment(cpu: Cpu, access: SystemSegmentAccess, linear = 0): void {
  if (cpu.controls.nonRoot && cpu.controls.descriptorTableExiting) leaveForInstruction(cpu, ExitReason.LdtrTrAccess, access, linear);
}

export function interceptHlt(cpu: Cpu): void {
  if (cpu.controls.nonRoot && cpu.controls.hltExiting) leaveForInstruction(cpu, ExitReason.Hlt);
}

export function interceptInvlpg(cpu: Cpu, linear: number): void {
  if (cpu.controls.nonRoot && cpu.controls.invlpgExiting) leaveForInstruction(cpu, ExitReason.Invlpg, linear, linear);
}

export function interceptRdtsc(cpu: Cpu): void {
  if (cpu.controls.nonRoot && cpu.controls.rdtscExiting) leaveForInstruction(cpu, ExitReason.Rdtsc);
}

export function interceptCpuid(cpu: Cpu): void {
  if (inVmxNonRoot(cpu)) leaveForInstruction(cpu, ExitReason.Cpuid);
}

/** INVD exits unconditionally (SDM Vol. 3C 25.1.2). */
export function interceptInvd(cpu: Cpu): void {
  if (inVmxNonRoot(cpu)) leaveForInstruction(cpu, ExitReason.Invd);
}

export function interceptWbinvd(cpu: Cpu): void {
  if (cpu.controls.nonRoot && cpu.controls.wbinvdExiting) leaveForInstruction(cpu, ExitReason.Wbinvd);
}

// ---- I/O and MSRs ---------------------------------------------------------------------------------------------------------

/**
 * Whether an access of `size` bytes at `port` exits (SDM Vol. 3C 25.1.3, 24.6.4): any of its ports has its bit set, or it wraps
 * past port 0xFFFF. Where it does not, the access is a bus cycle. I/O permission (`checkIo`) comes first.
 */
export function ioIntercepted(cpu: Cpu, port: number, size: number): boolean {
  const { nonRoot, ioExiting } = cpu.controls;
  if (!nonRoot || ioExiting === 'none') return false;
  if (ioExiting === 'all' || port + size > 0x1_0000) return true;
  for (let at = port; at < port + size; at++) {
    if ((ioExiting[at >>> 3]! >>> (at & 7) & 1) !== 0) return true;
  }
  return false;
}

/** Bits of the I/O qualification besides size and port (SDM Vol. 3C Table 27-5). */
export const IoQualification = { In: 1 << 3, String: 1 << 4, Rep: 1 << 5, Immediate: 1 << 6 } as const;

/** I/O qualification: bits 2:0 size − 1, 3 direction (1 = IN), 4 string, 5 REP, 6 immediate operand, 31:16 port. `form` is a set of `IoQualification`. */
export const ioQualification = (port: number, size: number, form: number): number => ((port << 16) | form | (size - 1)) >>> 0;

export const MsrAccess = { Read: 0, Write: 1 } as const;
export type MsrAccess = (typeof MsrAccess)[keyof typeof MsrAccess];

/** RDMSR and WRMSR (SDM Vol. 3C 24.6.9): by bitmap for 0–0x1FFF and 0xC0000000–0xC0001FFF; any other MSR exits. The handler finds the MSR in ECX. */
export function interceptMsr(cpu: Cpu, msr: number, access: MsrAccess): void {
  const { nonRoot, msrExiting } = cpu.controls;
  if (!nonRoot || msrExiting === 'none') return;
  if (msrExiting !== 'all') {
    const index = msr & 0x1fff;
    const range = msr >>> 13; // 0, or 0x60000 for MSRs from 0xC0000000
    const base = (access === MsrAccess.Write ? 2048 : 0) + (range === 0 ? 0 : 1024);
    if ((range === 0 || range === 0x6_0000) && (msrExiting[base + (index >>> 3)]! >>> (index & 7) & 1) === 0) return;
  }
  leaveForInstruction(cpu, access === MsrAccess.Write ? ExitReason.Wrmsr : ExitReason.Rdmsr);
}

/** PAUSE. Without the control it is a NOP. */
export function interceptPause(cpu: Cpu): void {
  if (cpu.controls.nonRoot && cpu.controls.pauseExiting) leaveForInstruction(cpu, ExitReason.Pause);
}

/** The level of the code that VMCALL came from does not matter: it exits in non-root operation at any CPL. */
export function interceptVmcall(cpu: Cpu): void {
  if (inVmxNonRoot(cpu)) leaveForInstruction(cpu, ExitReason.Vmcall);
}
