import { cpuid, cpuidLeaf, I686_FEATURES } from './cpuid.js';
import { ExitReason } from './exit-reason.js';
import { EAX, EBX, ECX, EDX } from './state.js';
import { SystemMachine } from './testing/system-machine.js';

const text = (...words: number[]): string => words.map((word) => String.fromCharCode(word & 0xff, (word >>> 8) & 0xff, (word >>> 16) & 0xff, word >>> 24)).join('');

describe('CPUID', () => {
  it('shows only what is built: TSC MSR PAE CX8 SEP PGE CMOV PSE DE PSE-36, no FPU', () => {
    expect(cpuidLeaf(I686_FEATURES, 1).edx).toBe(0x2_a97c);
    expect(cpuidLeaf(I686_FEATURES, 0x8000_0001).edx).toBe(1 << 20);
  });

  it.each([['fpu', 0], ['tsc', 4], ['pae', 6], ['cmov', 15]] as const)('switches %s by its bit', (feature, bit) => {
    expect(cpuidLeaf({ ...I686_FEATURES, [feature]: true }, 1).edx & (1 << bit)).toBe(1 << bit);
    expect(cpuidLeaf({ ...I686_FEATURES, [feature]: false }, 1).edx & (1 << bit)).toBe(0);
  });

  it('names vendor and brand', () => {
    const { cpu } = new SystemMachine();
    cpuid(cpu);
    expect(text(cpu.i32[EBX]!, cpu.i32[EDX]!, cpu.i32[ECX]!)).toBe('GenuineIntel');
    const brand = [0x8000_0002, 0x8000_0003, 0x8000_0004].map((leaf) => cpuidLeaf(I686_FEATURES, leaf));
    expect(brand.map(({ eax, ebx, ecx, edx }) => text(eax, ebx, ecx, edx)).join('').replace(/\0+$/, '')).toBe('Ringside IA-32 processor');
  });

  it('answers beyond a range as the last basic leaf, and zeros for a hole', () => {
    const last = cpuidLeaf(I686_FEATURES, 1);
    for (const leaf of [2, 0x4000_0000, 0x7fff_ffff, 0x8000_0009, 0xffff_ffff]) expect(cpuidLeaf(I686_FEATURES, leaf)).toEqual(last);
    expect(cpuidLeaf(I686_FEATURES, 0x8000_0005)).toEqual({ eax: 0, ebx: 0, ecx: 0, edx: 0 });
  });

  it('exits at any level in VMX non-root operation, but shows a deprivileged guest the processor', () => {
    const guest = new SystemMachine({ nonRoot: true }).atLevel(3);
    expect(guest.exit(() => cpuid(guest.cpu)).reason).toBe(ExitReason.Cpuid);
    const deprivileged = new SystemMachine({ nonRoot: true, deprivileged: true }).atLevel(1);
    deprivileged.cpu.i32[EAX] = 1;
    cpuid(deprivileged.cpu);
    expect(deprivileged.cpu.i32[EDX]).toBe(0x2_a97c);
  });
});
