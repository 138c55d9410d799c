import type { CpuFeatures } from './cpuid.js';
import type { Cpu } from './cpu.js';
import { SERIALIZING } from './event-counters.js';
import { GP, raise } from './fault.js';
import { MsrAccess, inVmxNonRoot, interceptMsr } from './intercepts.js';
import { flushTlb } from './memory.js';
import { modeChanged } from './slots.js';
import { CPL, EAX, ECX, EDX, EFER, SYSENTER_CS, SYSENTER_EIP, SYSENTER_ESP, TSC_ADJUST } from './state.js';
import { virtualTime } from './virtual-time.js';

/** MSR numbers (SDM Vol. 4). */
export const Msr = { TimeStampCounter: 0x10, SysenterCs: 0x174, SysenterEsp: 0x175, SysenterEip: 0x176, Efer: 0xc000_0080 } as const;

const EFER_NXE = 1 << 11;
const MASK32 = 0xffff_ffffn;
const MASK64 = 0xffff_ffff_ffff_ffffn;

interface MsrRow {
  readonly msr: number;
  readonly name: string;
  /** The MSR exists only with this feature. */
  readonly feature: keyof CpuFeatures;
  read(cpu: Cpu): bigint;
  /** False: a reserved bit is set, #GP(0). */
  write(cpu: Cpu, value: bigint): boolean;
}

/** An MSR whose low half is a word of the state; the upper half does not exist in a 32-bit processor. */
const word = (msr: number, name: string, feature: keyof CpuFeatures, index: number): MsrRow => ({
  msr, name, feature,
  read: (cpu) => BigInt(cpu.i32[index]! >>> 0),
  write: (cpu, value) => {
    cpu.i32[index] = Number(value & MASK32) | 0;
    return true;
  },
});

const ROWS: readonly MsrRow[] = [
  {
    msr: Msr.TimeStampCounter, name: 'IA32_TIME_STAMP_COUNTER', feature: 'tsc',
    read: timeStampCounter,
    // Models before family 0FH take the low half and clear the upper one (SDM Vol. 3B 17.17.3).
    write: (cpu, value) => {
      cpu.f64[TSC_ADJUST] = Number(value & MASK32) - countedByTsc(cpu);
      return true;
    },
  },
  word(Msr.SysenterCs, 'IA32_SYSENTER_CS', 'sep', SYSENTER_CS),
  word(Msr.SysenterEsp, 'IA32_SYSENTER_ESP', 'sep', SYSENTER_ESP),
  word(Msr.SysenterEip, 'IA32_SYSENTER_EIP', 'sep', SYSENTER_EIP),
  {
    msr: Msr.Efer, name: 'IA32_EFER', feature: 'nx',
    read: (cpu) => BigInt(cpu.i32[EFER]! >>> 0),
    write: (cpu, value) => {
      if ((value & ~BigInt(EFER_NXE)) !== 0n) return false;
      cpu.i32[EFER] = Number(value);
      flushTlb(cpu, false);
      modeChanged(cpu);
      return true;
    },
  },
];

const TABLE: ReadonlyMap<number, MsrRow> = new Map(ROWS.map((row) => [row.msr, row]));

function find(cpu: Cpu, msr: number): MsrRow | null {
  const row = TABLE.get(msr >>> 0);
  return row !== undefined && cpu.features[row.feature] ? row : null;
}

/** Virtual time at 1 GHz, unless a modelled clock counts cycles. */
function countedByTsc(cpu: Cpu): number {
  return cpu.timeStampSource === null ? virtualTime(cpu) : cpu.timeStampSource(cpu);
}

/** TSC: virtual time (or a modelled clock's cycles), what WRMSR added, and in VMX non-root operation the TSC offset. */
export function timeStampCounter(cpu: Cpu): bigint {
  const offset = inVmxNonRoot(cpu) ? cpu.controls.tscOffset : 0;
  return (BigInt(countedByTsc(cpu)) + BigInt(cpu.f64[TSC_ADJUST]!) + BigInt(offset)) & MASK64;
}

/** Read an MSR without checks, as ring -1 or a debugger does; null when it does not exist. */
export function readMsr(cpu: Cpu, msr: number): bigint | null {
  return find(cpu, msr)?.read(cpu) ?? null;
}

/** Write an MSR without intercepts; false when it does not exist or the value sets reserved bits. */
export function writeMsr(cpu: Cpu, msr: number, value: bigint): boolean {
  return find(cpu, msr)?.write(cpu, value) ?? false;
}

/** RDMSR: ECX names it, EDX:EAX receives it. Unknown MSRs are #GP(0), after the VM exit. */
export function rdmsr(cpu: Cpu): void {
  if (cpu.i32[CPL] !== 0) raise(cpu, GP, 0);
  const msr = cpu.i32[ECX]! >>> 0;
  interceptMsr(cpu, msr, MsrAccess.Read);
  const value = readMsr(cpu, msr);
  if (value === null) raise(cpu, GP, 0);
  setPair(cpu, value);
}

/** WRMSR: ECX names it, EDX:EAX is the value. */
export function wrmsr(cpu: Cpu): void {
  if (cpu.i32[CPL] !== 0) raise(cpu, GP, 0);
  const msr = cpu.i32[ECX]! >>> 0;
  interceptMsr(cpu, msr, MsrAccess.Write);
  const value = (BigInt(cpu.u32[EDX]!) << 32n) | BigInt(cpu.u32[EAX]!);
  if (!writeMsr(cpu, msr, value)) raise(cpu, GP, 0);
  cpu.f64[SERIALIZING]! += 1;
}

/** EDX:EAX. */
export function setPair(cpu: Cpu, value: bigint): void {
  cpu.i32[EAX] = Number(value & MASK32) | 0;
  cpu.i32[EDX] = Number((value >> 32n) & MASK32) | 0;
}
