import { ExitReason, StepResult } from '@ringside/x86';
import { DATA, GUEST_CODE, randomPage } from './testing/guest-code.js';
import { Pair } from './testing/pair.js';
import { Random } from './testing/random.js';
import { translate } from './translate.js';
import { isRefused, type TranslationUnit } from './unit.js';

const word = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
const STACK = DATA + 0x1000;
const registersOf = (changes: Record<number, number> = {}): number[] => Array.from({ length: 8 }, (_, n) => changes[n] ?? (n === 4 ? STACK : DATA + 16 * n));
const HLT = 0xf4;

/** Run a program to its HLT on both, observed and not, and compare all. Returns the pair of the unobserved run. */
function runBoth(code: number[], registers = registersOf()): Pair {
  const observed = new Pair(GUEST_CODE, Uint8Array.from([...code, HLT]), registers);
  const seen: [string[], string[]] = [[], []];
  observed.native.setObserver((cpu) => seen[0].push(Pair.view(cpu)));
  observed.translated.setObserver((cpu) => seen[1].push(Pair.view(cpu)));
  for (const pair of [observed, new Pair(GUEST_CODE, Uint8Array.from([...code, HLT]), registers)]) {
    expect(pair.native.step(100_000)).toBe(StepResult.Halted);
    expect(pair.stepTranslated(100_000)).toBe(StepResult.Exit);
    expect(pair.translated.exit.reason).toBe(ExitReason.Callout);
    // HLT itself is ring -1's to execute.
    expect(pair.translated.retired).toBe(pair.native.retired - 1);
    expect(pair.translated.getRegister('eip')).toBe(pair.native.getRegister('eip') - 1);
    expect([...pair.translated.cpu.u32.slice(0, 8)]).toEqual([...pair.native.cpu.u32.slice(0, 8)]);
    const [native, translated] = pair.memories();
    expect(Buffer.compare(native, translated)).toBe(0);
    if (pair !== observed) {
      expect(seen[1]).toEqual(seen[0].slice(0, -1));
      expect(pair.translated.executed).toBe(observed.translated.executed);
      return pair;
    }
  }
  throw new Error('not reached');
}

describe('execution from the translation cache', () => {
  it('a loop: chained, it executes few instructions more than it retires', () => {
    const pair = runBoth([0xb9, ...word(1000), 0x01, 0xc8, 0x49, 0x75, 0xfb]); // mov ecx, 1000; l: add eax, ecx; dec ecx; jnz l
    expect(pair.cache.counts).toMatchObject({ misses: 3, chained: 1, callouts: 1 });
    expect(pair.translated.executed / pair.translated.retired).toBeLessThan(1.4);
  });

  it('calls and returns find each other in the lookup table', () => {
    // mov ecx, 100; l: call f; dec ecx; jnz l; jmp end; f: pushf; cli; popf; ret; end:
    const pair = runBoth([0xb9, ...word(100), 0xe8, ...word(5), 0x49, 0x75, 0xf8, 0xeb, 4, 0x9c, 0xfa, 0x9d, 0xc3]);
    expect(pair.cache.counts.misses).toBeLessThan(8);
    expect(pair.cache.counts.lookups).toBeLessThan(4);
  });

  it('segment loads and selectors', () => {
    runBoth([0x8c, 0xd8, 0x1e, 0x0e, 0x16, 0x07, 0x1f, 0x07, 0x8c, 0xd1, 0x8c, 0x0d, ...word(DATA), 0x8e, 0xe1].slice(0, 3).concat([0x1f, 0x8c, 0xd1, 0x8c, 0x0d, ...word(DATA), 0x8e, 0xc0]));
  });

  it('a GS prefix that means nothing', () => {
    // gs: mov ecx, eax; gs: or eax, 0x9090; gs: nop; gs: push edx
    runBoth([0x65, 0x8b, 0xc8, 0x65, 0x0d, ...word(0x9090), 0x65, 0x90, 0x65, 0x52]);
  });

  it('code that changes itself, in its own unit and in another', () => {
    // mov byte [next+1], 7; next: mov eax, 1 -> mov al-ish immediate changed before it is reached
    const at = GUEST_CODE + 7;
    runBoth([0xc6, 0x05, ...word(at + 1), 7, 0xb8, ...word(1)]);
    // A loop whose second turn executes another immediate: mov ecx, 2; l: mov eax, 1; mov [l+1], ecx; push eax; loop l
    const loop = GUEST_CODE + 5;
    const pair = runBoth([0xb9, ...word(2), 0xb8, ...word(1), 0x89, 0x0d, ...word(loop + 1), 0x50, 0xe2, 0xf2]);
    expect(pair.cache.counts.invalidated).toBeGreaterThan(0);
  });

  it('REP counts an instruction for each iteration', () => {
    const pair = runBoth([0xb9, ...word(100), 0xbf, ...word(DATA + 0x100), 0xf3, 0xab]);
    expect(pair.translated.retired).toBe(102);
  });

  it('stops on every budget at the same guest state as one long run', () => {
    const code = Uint8Array.from([0xb9, ...word(20), 0xe8, ...word(5), 0x49, 0x75, 0xf8, 0xeb, 6, 0x9c, 0xfb, 0x9d, 0x1e, 0x1f, 0xc3, HLT]);
    const whole = new Pair(GUEST_CODE, code, registersOf());
    whole.stepTranslated(100_000);
    for (let budget = 1; budget < 20; budget++) {
      const pair = new Pair(GUEST_CODE, code, registersOf());
      for (let result = pair.stepTranslated(budget); result === StepResult.Budget; result = pair.stepTranslated(budget)) expect(pair.translated.retired % budget).toBe(0);
      expect(pair.translated.retired).toBe(whole.translated.retired);
      expect(pair.translated.executed).toBe(whole.translated.executed);
      expect(Pair.view(pair.translated.cpu)).toBe(Pair.view(whole.translated.cpu));
    }
  });

  it.each([0, 100, 200])('random kernel code passes through native’s states, seeds from %i', (first) => {
    let instructions = 0;
    for (let seed = first; seed < first + 50; seed++) {
      const random = new Random(seed);
      const registers = Array.from({ length: 8 }, (_, n) => n === 4 ? STACK : DATA + random.below(0x800));
      const pair = new Pair(GUEST_CODE, randomPage(random), registers);
      const seen: [string[], string[]] = [[], []];
      pair.native.setObserver((cpu) => seen[0].push(Pair.view(cpu)));
      pair.translated.setObserver((cpu) => seen[1].push(Pair.view(cpu)));
      const ended = pair.stepTranslated(1000);
      // Native does not leave for what is a callout: it runs to the same count.
      const count = pair.translated.retired;
      const native = count === 0 ? StepResult.Budget : pair.native.step(count);
      expect([seed, pair.native.retired]).toEqual([seed, count]);
      if (ended === StepResult.Exit && pair.translated.exit.reason === ExitReason.ExceptionOrNmi) {
        if (native === StepResult.Budget) pair.native.step(1);
        expect([seed, pair.native.exit.event]).toEqual([seed, pair.translated.exit.event]);
      }
      expect({ seed, states: seen[1] }).toEqual({ seed, states: seen[0] });
      instructions += count;
    }
    expect(instructions).toBeGreaterThan(1000);
  });
});

describe('interrupts', () => {
  const line = (pair: Pair): void => { pair.native.setIntr(true); pair.translated.setIntr(true); };
  it.each([
    ['STI: behind the next instruction', [0xfb, 0x40, 0x40, 0x40], 2],
    ['POPF: at once', [0x68, ...word(0x202), 0x9d, 0x40, 0x40], 2],
    ['never while IF is 0', [0x40, 0x9c, 0x9d, 0x40], 4],
  ])('are accepted where native accepts them: %s', (_name, code, retired) => {
    const pair = new Pair(GUEST_CODE, Uint8Array.from([...code, HLT]), registersOf());
    line(pair);
    const native = pair.native.step(100);
    const translated = pair.stepTranslated(100);
    expect(pair.translated.retired).toBe(retired);
    if (native === StepResult.InterruptWindow) {
      expect(translated).toBe(StepResult.InterruptWindow);
      expect(pair.native.retired).toBe(retired);
    } else expect(pair.translated.exit.reason).toBe(ExitReason.Callout);
  });

  it('are accepted at a commit when they come in the middle of a run, whatever the budget', () => {
    const code = Uint8Array.from([0xfb, 0xb9, ...word(50), 0x9c, 0x9d, 0x9c, 0x58, 0xe2, 0xfa, HLT]);
    for (let when = 3; when < 40; when++) {
      const pair = new Pair(GUEST_CODE, code, registersOf());
      pair.native.step(when);
      pair.stepTranslated(when);
      line(pair);
      expect([pair.native.step(100), pair.stepTranslated(100)]).toEqual([StepResult.InterruptWindow, StepResult.InterruptWindow]);
      expect(pair.translated.retired).toBe(pair.native.retired);
    }
  });
});

describe('the trap flag', () => {
  it('traps after each guest instruction, not after each host instruction', () => {
    const code = Uint8Array.from([0x68, ...word(0x102), 0x9d, 0x9c, 0x58, HLT]);
    const pair = new Pair(GUEST_CODE, code, registersOf());
    expect([pair.native.step(100), pair.stepTranslated(100)]).toEqual([StepResult.Exit, StepResult.Exit]);
    expect([pair.translated.retired, pair.translated.exit.event]).toEqual([pair.native.retired, pair.native.exit.event]);
    expect(pair.translated.getRegister('eip')).toBe(pair.native.getRegister('eip'));
  });
});

describe('answers of a translator', () => {
  const miss = (): Pair => {
    const pair = new Pair(GUEST_CODE, Uint8Array.of(0x1e, HLT), registersOf());
    expect(pair.translated.step(10)).toBe(StepResult.Exit);
    return pair;
  };
  const unitOf = (pair: Pair): TranslationUnit => {
    const unit = translate(pair.cache.missing!);
    if (isRefused(unit)) throw new Error(unit.refused);
    return unit;
  };

  it('are refused when the verifier finds them wrong, and the miss still stands', () => {
    const pair = miss();
    const request = pair.cache.missing!;
    const unit = unitOf(pair);
    expect(pair.cache.install(request, { ...unit, sideTable: unit.sideTable.slice(3) })).toEqual({ rejected: expect.stringContaining('side table') });
    expect(pair.cache.missing).toBe(request);
    expect(pair.cache.install(request, { refused: 'mode' })).toEqual({ rejected: expect.stringContaining('mode') });
    expect(pair.cache.install(request, unit)).toMatchObject({ dead: false });
  });

  it('that the verifier cannot tell from right ones are found by the sample, if it is drawn', () => {
    let found = 0;
    for (let seed = 0; seed < 40; seed++) {
      const pair = new Pair(GUEST_CODE, Uint8Array.of(0x1e, HLT), registersOf(), undefined, { recomputeOneIn: 2, seed });
      pair.translated.step(10);
      const unit = unitOf(pair);
      const code = unit.code.slice();
      code[3]! -= 12; // the push of another selector
      if ('rejected' in pair.cache.install(pair.cache.missing!, { ...unit, code })) found++;
    }
    expect(found).toBeGreaterThan(8);
    expect(found).toBeLessThan(32);
  });
});

it('all units go when the cache is full', () => {
  const code: number[] = [];
  for (let n = 0; n < 2000; n++) code.push(0x74, 0); // 2,000 units of one conditional jump
  const pair = new Pair(GUEST_CODE, Uint8Array.from([...code, HLT]), registersOf(), 0x9_5000);
  expect(pair.native.step(100_000)).toBe(StepResult.Halted);
  expect(pair.stepTranslated(100_000)).toBe(StepResult.Exit);
  expect(pair.translated.retired).toBe(2000);
  expect(pair.cache.counts.flushes).toBeGreaterThan(0);
});
