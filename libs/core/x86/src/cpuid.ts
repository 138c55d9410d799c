import type { Cpu } from './cpu.js';
import { SERIALIZING } from './event-counters.js';
import { interceptCpuid } from './intercepts.js';
import { EAX, EBX, ECX, EDX } from './state.js';

/**
 * What a model of the processor has. Each switch removes the feature, not only its CPUID bit: instructions become #UD, bits of CR4
 * and MSRs become reserved. Names are the SDM's (Vol. 2A, CPUID, Table 3-11).
 */
export interface CpuFeatures {
  /** x87 and its state: not built yet. */
  readonly fpu: boolean;
  /** CR4.DE: #UD for DR4 and DR5. */
  readonly de: boolean;
  readonly pse: boolean;
  readonly tsc: boolean;
  readonly msr: boolean;
  readonly pae: boolean;
  readonly cx8: boolean;
  readonly sep: boolean;
  readonly pge: boolean;
  readonly cmov: boolean;
  readonly pse36: boolean;
  /** EFER.NXE and bit 63 of PAE entries (CPUID 0x80000001 EDX bit 20). */
  readonly nx: boolean;
  /** MAXPHYADDR, 32–36: address bits above it are reserved in paging entries. */
  readonly physicalAddressBits: number;
}

/** An i686 without what is not built: x87, MMX, SSE, APIC, MTRR, machine check, virtual-8086 extensions. */
export const I686_FEATURES: CpuFeatures = {
  fpu: false, de: true, pse: true, tsc: true, msr: true, pae: true, cx8: true, sep: true, pge: true, cmov: true, pse36: true, nx: true, physicalAddressBits: 36,
};

/** EDX of leaf 1. */
const LEAF1_EDX: readonly (readonly [bit: number, feature: keyof CpuFeatures])[] = [
  [0, 'fpu'], [2, 'de'], [3, 'pse'], [4, 'tsc'], [5, 'msr'], [6, 'pae'], [8, 'cx8'], [11, 'sep'], [13, 'pge'], [15, 'cmov'], [17, 'pse36'],
];
/** EDX of leaf 0x80000001. */
const LEAF80000001_EDX: readonly (readonly [bit: number, feature: keyof CpuFeatures])[] = [[20, 'nx']];

const featureBits = (features: CpuFeatures, rows: typeof LEAF1_EDX): number => rows.reduce((bits, [bit, feature]) => (features[feature] === true ? bits | (1 << bit) : bits), 0);

/** Family 6, model 8, stepping 6. SEP is real from model 3, stepping 3 on (SDM Vol. 2B, SYSENTER), and software checks that. */
const SIGNATURE = 0x686;
const VENDOR = { ebx: 0x756e_6547, edx: 0x4965_6e69, ecx: 0x6c65_746e }; // "Genu" "ineI" "ntel"
const BRAND = 'Ringside IA-32 processor';
const LAST_BASIC_LEAF = 1;
const LAST_EXTENDED_LEAF = 0x8000_0008;

export interface CpuidResult { eax: number; ebx: number; ecx: number; edx: number }

const brandWord = (at: number): number => [0, 1, 2, 3].reduce((word, n) => word | ((at + n < BRAND.length ? BRAND.charCodeAt(at + n) : 0) << (8 * n)), 0);

const LEAVES: ReadonlyMap<number, (features: CpuFeatures) => CpuidResult> = new Map<number, (features: CpuFeatures) => CpuidResult>([
  [0x0000_0000, () => ({ eax: LAST_BASIC_LEAF, ...VENDOR })],
  [0x0000_0001, (features) => ({ eax: SIGNATURE, ebx: 0, ecx: 0, edx: featureBits(features, LEAF1_EDX) })],
  [0x8000_0000, () => ({ eax: LAST_EXTENDED_LEAF | 0, ebx: 0, ecx: 0, edx: 0 })],
  [0x8000_0001, (features) => ({ eax: 0, ebx: 0, ecx: 0, edx: featureBits(features, LEAF80000001_EDX) })],
  [0x8000_0002, () => brandLeaf(0)],
  [0x8000_0003, () => brandLeaf(16)],
  [0x8000_0004, () => brandLeaf(32)],
  [0x8000_0008, (features) => ({ eax: features.physicalAddressBits | (32 << 8), ebx: 0, ecx: 0, edx: 0 })],
]);

const brandLeaf = (at: number): CpuidResult => ({ eax: brandWord(at), ebx: brandWord(at + 4), ecx: brandWord(at + 8), edx: brandWord(at + 12) });

const NOTHING: CpuidResult = { eax: 0, ebx: 0, ecx: 0, edx: 0 };

/**
 * The processor's own answer, which ring -1 starts from. A leaf beyond the last of its range gives the data of the last basic
 * leaf, as Intel processors do (SDM Vol. 2A, CPUID); a hole inside a range gives zeros.
 */
export function cpuidLeaf(features: CpuFeatures, leaf: number): CpuidResult {
  const wanted = leaf >>> 0;
  const known = LEAVES.get(wanted);
  if (known !== undefined) return known(features);
  const inExtended = wanted > 0x8000_0000 && wanted <= LAST_EXTENDED_LEAF;
  return inExtended ? NOTHING : LEAVES.get(LAST_BASIC_LEAF)!(features);
}

/** CPUID: exits in VMX non-root operation. */
export function cpuid(cpu: Cpu): void {
  interceptCpuid(cpu);
  cpu.f64[SERIALIZING]! += 1;
  const { eax, ebx, ecx, edx } = cpuidLeaf(cpu.features, cpu.i32[EAX]!);
  cpu.i32[EAX] = eax;
  cpu.i32[EBX] = ebx;
  cpu.i32[ECX] = ecx;
  cpu.i32[EDX] = edx;
}
