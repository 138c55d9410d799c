import { I686_FEATURES } from './cpuid.js';
import { ExitReason } from './exit-reason.js';
import { GP } from './fault.js';
import { Msr, rdmsr, readMsr, writeMsr, wrmsr } from './msr.js';
import { EAX, ECX, EDX, EFER, RETIRED, SKIPPED, SYSENTER_EIP } from './state.js';
import { SystemMachine } from './testing/system-machine.js';

const refused = { vector: GP, error: 0 };
const select = (machine: SystemMachine, msr: number, low = 0, high = 0): void => {
  machine.cpu.i32[ECX] = msr;
  machine.cpu.i32[EAX] = low;
  machine.cpu.i32[EDX] = high;
};

describe('MSRs', () => {
  it('keeps the SYSENTER MSRs, whose upper halves do not exist', () => {
    const machine = new SystemMachine();
    select(machine, Msr.SysenterEip, 0x8765_4321 | 0, -1);
    wrmsr(machine.cpu);
    expect(machine.cpu.i32[SYSENTER_EIP]).toBe(0x8765_4321 | 0);
    select(machine, Msr.SysenterEip, 1, 1);
    rdmsr(machine.cpu);
    expect([machine.cpu.u32[EAX], machine.cpu.u32[EDX]]).toEqual([0x8765_4321, 0]);
  });

  it('the TSC is virtual time; WRMSR sets its low half and clears its upper one', () => {
    const machine = new SystemMachine();
    machine.cpu.f64[RETIRED] = 5_000_000_000;
    machine.cpu.f64[SKIPPED] = 7;
    expect(readMsr(machine.cpu, Msr.TimeStampCounter)).toBe(5_000_000_007n);
    expect(writeMsr(machine.cpu, Msr.TimeStampCounter, 0x5_0000_0010n)).toBe(true);
    machine.cpu.f64[RETIRED]! += 5;
    expect(readMsr(machine.cpu, Msr.TimeStampCounter)).toBe(0x15n);
  });

  it('adds the TSC offset in VMX non-root operation only', () => {
    const { cpu } = new SystemMachine({ nonRoot: true, tscOffset: -3 });
    cpu.f64[RETIRED] = 10;
    expect(readMsr(cpu, Msr.TimeStampCounter)).toBe(7n);
    const root = new SystemMachine({ tscOffset: -3 }).cpu;
    root.f64[RETIRED] = 10;
    expect(readMsr(root, Msr.TimeStampCounter)).toBe(10n);
  });

  it('EFER has NXE and nothing else', () => {
    const machine = new SystemMachine();
    expect(writeMsr(machine.cpu, Msr.Efer, 0x800n)).toBe(true);
    expect(machine.cpu.i32[EFER]).toBe(0x800);
    for (const value of [1n, 0x100n, 0x1_0000_0800n]) expect(writeMsr(machine.cpu, Msr.Efer, value)).toBe(false);
  });

  it('#GP(0): unknown MSRs, MSRs of absent features, reserved bits, levels 1 to 3', () => {
    const machine = new SystemMachine({}, { ...I686_FEATURES, nx: false });
    for (const msr of [0, 0x1b, 0x277, 0xffff_ffff, Msr.Efer]) {
      select(machine, msr);
      expect(machine.fault(() => rdmsr(machine.cpu))).toEqual(refused);
      expect(machine.fault(() => wrmsr(machine.cpu))).toEqual(refused);
    }
    for (const level of [1, 2, 3]) {
      machine.atLevel(level);
      select(machine, Msr.SysenterCs);
      expect(machine.fault(() => rdmsr(machine.cpu))).toEqual(refused);
      expect(machine.fault(() => wrmsr(machine.cpu))).toEqual(refused);
    }
  });
});

describe('MSR exits', () => {
  const bitmap = new Uint8Array(4096);
  bitmap[Msr.SysenterCs >>> 3] = 1 << (Msr.SysenterCs & 7); // reads of IA32_SYSENTER_CS
  bitmap[3072 + (0x80 >>> 3)] = 1; // writes of IA32_EFER

  it.each<[string, number, boolean, boolean]>([
    ['a set bit', Msr.SysenterCs, true, false], ['a clear bit', Msr.SysenterEsp, false, false], ['a bit of the high range', Msr.Efer, false, true],
    ['above the low range', 0x2000, true, true], ['below the high range', 0xbfff_ffff, true, true], ['above the high range', 0xc000_2000, true, true],
  ])('%s', (_what, msr, read, write) => {
    const machine = new SystemMachine({ nonRoot: true, msrExiting: bitmap });
    select(machine, msr);
    if (read) expect(machine.exit(() => rdmsr(machine.cpu)).reason).toBe(ExitReason.Rdmsr);
    else rdmsr(machine.cpu);
    select(machine, msr);
    if (write) expect(machine.exit(() => wrmsr(machine.cpu)).reason).toBe(ExitReason.Wrmsr);
    else wrmsr(machine.cpu);
  });

  it('come before the #GP of an unknown MSR and after that of the level', () => {
    const machine = new SystemMachine({ nonRoot: true, msrExiting: 'all' });
    select(machine, 0x1234);
    expect(machine.exit(() => wrmsr(machine.cpu)).reason).toBe(ExitReason.Wrmsr);
    machine.atLevel(3);
    expect(machine.fault(() => wrmsr(machine.cpu))).toEqual(refused);
  });
});
