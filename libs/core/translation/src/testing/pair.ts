import { ExitReason, getEflags, NO_CONTROLS, Processor, SEGMENTS, SEGMENT_SELECTOR, SEGMENT_WORDS, StepResult, type Cpu } from '@ringside/x86';
import { translate } from '../translate.js';
import { TranslationCache } from '../translation-cache.js';

const RAM = 0x10_0000;
const GDT = 0x1000;
const IF = 1 << 9;
export const CACHE_BYTES = 0x14_0000;

/** A kernel without paging, on the bare processor in ring 0, and in ring 1 under a translation cache; exceptions leave both. */
export class Pair {
  readonly native = processor(0);
  readonly translated = processor(1);
  readonly cache: TranslationCache;

  constructor(eip: number, code: Uint8Array, registers: readonly number[], cacheBytes = CACHE_BYTES, sample: { recomputeOneIn: number; seed: number } = { recomputeOneIn: 10, seed: 0 }) {
    this.cache = new TranslationCache(this.translated, { offset: 0, bytes: cacheBytes, ...sample });
    this.translated.setTranslatedCode(this.cache);
    for (const one of [this.native, this.translated]) {
      one.writePhysical('guest', eip, code);
      for (const [n, name] of (['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi'] as const).entries()) one.setRegister(name, registers[n]!);
      one.setRegister('eip', eip);
    }
  }

  /** As guest-cpu does: a miss is translated, verified and installed, and the guest goes on. `budget` in retired instructions. */
  stepTranslated(budget: number): StepResult {
    const { translated, cache } = this;
    const end = translated.retired + budget;
    for (;;) {
      const result = translated.step(end - translated.retired);
      if (result !== StepResult.Exit || translated.exit.reason !== ExitReason.TranslationMiss) return result;
      const request = cache.missing!;
      const placed = cache.install(request, translate(request));
      if ('rejected' in placed) throw new Error(placed.rejected);
    }
  }

  /** Registers, flags and selectors as the guest sees them. The translated processor must stand outside translated code, or be looked at by its observer. */
  static view(cpu: Cpu): string {
    const selectors = [0, 1, 2, 3, 4, 5].map((n) => cpu.i32[SEGMENTS + n * SEGMENT_WORDS + SEGMENT_SELECTOR]);
    return [...cpu.u32.slice(0, 8), cpu.u32[9], getEflags(cpu), ...selectors].map((word) => word!.toString(16)).join(' ');
  }

  memories(): [Uint8Array, Uint8Array] {
    return [this.native.readPhysical('guest', 0x2000, RAM - 0x2000), this.translated.readPhysical('guest', 0x2000, RAM - 0x2000)];
  }
}

/** A processor in ring 0 or 1 with flat segments. */
function processor(ring: 0 | 1): Processor {
  const one = new Processor({ ramBytes: RAM, monitorBytes: ring === 0 ? 0 : CACHE_BYTES });
  one.setControls({ ...NO_CONTROLS, exceptionBitmap: -1 });
  const dpl = ring << 5;
  const descriptor = (access: number): number[] => [0xff, 0xff, 0, 0, 0, access | dpl, 0xcf, 0];
  one.writePhysical('guest', GDT, Uint8Array.from([...new Array<number>(8).fill(0), ...descriptor(0x9b), ...descriptor(0x93)]));
  one.setTable('gdtr', { base: GDT, limit: 0x17, space: 'guest' });
  one.setSegment('cs', { selector: 8 | ring, base: 0, limit: 0xffff_ffff, rights: 0xc09b | dpl });
  for (const name of ['ss', 'ds', 'es', 'fs', 'gs'] as const) one.setSegment(name, { selector: 0x10 | (name === 'ss' ? ring : 0), base: 0, limit: 0xffff_ffff, rights: 0xc093 | dpl });
  one.setRegister('cpl', ring);
  one.setRegister('eflags', ring === 0 ? 2 : 2 | IF);
  return one;
}
