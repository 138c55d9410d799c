import { ExitReason, StepResult } from '@ringside/x86';
import { MINUS_CR0, TS_IN_BYTE, TS_IS_CLEAR, VIRTUAL_TS } from './monitor-data.js';
import { Pair } from './testing/pair.js';
import { Random } from './testing/random.js';

const CODE = 0x4000;
const CR0 = 0x11, TS = 8, WP = 0x1_0000, PG = 0x8000_0000;

/** The same code with random arithmetic flags, natively and translated. */
function pair(bytes: readonly number[], random: Random, registers: number[], realTsClear: boolean): Pair {
  const one = new Pair(CODE, Uint8Array.from([...bytes, 0x90]), registers);
  const flags = 2 | (random.word() & 0x8d5);
  one.native.setRegister('eflags', flags);
  one.translated.setRegister('eflags', flags | 0x200);
  one.translated.writePhysical('monitor', TS_IS_CLEAR, Uint8Array.of(realTsClear ? 1 : 0));
  return one;
}

const taskSwitched = ({ translated }: Pair): number => translated.readPhysical('monitor', VIRTUAL_TS, 1)[0]!;
const views = ({ native, translated }: Pair): string[] => [native, translated].map((one) => {
  one.leaveTranslatedCode();
  // The real IF is the monitor's, and CS and SS have its ring.
  const [general, flags] = [(['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi', 'eip'] as const).map((name) => one.getRegister(name) >>> 0), one.getRegister('eflags') & ~0x200];
  return [...general, flags].join();
});

test('CLTS clears the virtual TS and nothing else', () => {
  const random = new Random(1);
  for (let n = 0; n < 20; n++) {
    const one = pair([0x0f, 0x06], random, Array.from({ length: 8 }, () => random.word()), n % 2 === 0);
    one.translated.writePhysical('monitor', VIRTUAL_TS, Uint8Array.of(TS_IN_BYTE));
    one.native.setRegister('cr0', CR0 | TS);
    expect([one.native.step(1), one.stepTranslated(1)]).toEqual([StepResult.Budget, StepResult.Budget]);
    expect([one.native.getRegister('cr0') & TS, taskSwitched(one)]).toEqual([0, 0]);
    const [native, translated] = views(one);
    expect(translated).toBe(native);
  }
});

describe('MOV CR0', () => {
  const CASES: [number, number, boolean][] = [
    ...[CR0, CR0 | TS].flatMap((value) => [0, TS].flatMap((before) => [false, true].map((clear): [number, number, boolean] => [value, before, clear]))),
    ...[0, TS, CR0 | WP, CR0 | WP | TS, CR0 ^ 1, PG, CR0 - 8, CR0 + 16, 0xffff_ffff].map((value, n): [number, number, boolean] => [value, n % 2 === 0 ? 0 : TS, false]),
  ];

  test.each([0, 1, 2, 3, 4, 5, 6, 7])('from register %i: TS alone in the cache, all else asks, with the guest as it was', (source) => {
    const random = new Random(100 + source);
    for (const [value, before, realTsClear] of CASES) {
      const registers = Array.from({ length: 8 }, () => random.word());
      registers[source] = value;
      const one = pair([0x0f, 0x22, 0xc0 | source], random, registers, realTsClear);
      one.native.setRegister('cr0', CR0 | before);
      one.translated.writePhysical('monitor', VIRTUAL_TS, Uint8Array.of(before));
      const inCache = value === CR0 || (value === (CR0 | TS) && !realTsClear);
      const result = one.stepTranslated(1);
      if (inCache) {
        expect(one.native.step(1)).toBe(StepResult.Budget);
        expect([value, result, taskSwitched(one)]).toEqual([value, StepResult.Budget, one.native.getRegister('cr0') & TS]);
      } else {
        expect([value, result, one.translated.exit.reason, one.translated.exit.instruction?.name, taskSwitched(one)]).toEqual([value, StepResult.Exit, ExitReason.Callout, 'MOV Cd,Rd', before]);
      }
      const [native, translated] = views(one);
      expect(translated).toBe(native);
    }
  });

  test('compares with what ring -1 says CR0 is', () => {
    const one = pair([0x0f, 0x22, 0xc0], new Random(7), [PG | CR0 | WP, 1, 2, 3, 0x8000, 5, 6, 7], false);
    one.translated.writePhysical('monitor', MINUS_CR0, new Uint8Array(Int32Array.of(-(PG | CR0 | WP)).buffer));
    one.translated.writePhysical('monitor', VIRTUAL_TS, Uint8Array.of(TS));
    expect([one.stepTranslated(1), taskSwitched(one), one.translated.retired]).toEqual([StepResult.Budget, 0, 1]);
  });
});
