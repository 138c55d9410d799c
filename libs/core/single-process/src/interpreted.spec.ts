import { MarkKind, type Mark } from '@ringside/machine';
import { SingleProcess, specOf } from './single-process.js';
import { flatImage } from './testing/flat-image.js';

/** What is neither translated nor runs directly: ring -1 executes each instruction. */
const little = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
const mark = (kind: number): number[] => [0x0f, 0x1f, 0x80, ...little((0x52 << 24) | (kind << 16) | 2)];
const POWER_OFF = [0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x20, 0x66, 0xef, 0xf4];
const debugRegister = (n: number, value: number): number[] => [0xb8, ...little(value), 0x0f, 0x23, 0xc0 | (n << 3)];

async function run(path: 'native' | 'binary-translation', code: readonly number[]): Promise<{ whole: SingleProcess; marks: Mark[] }> {
  const marks: Mark[] = [];
  const translated = path === 'binary-translation';
  const whole = await SingleProcess.create({
    spec: specOf({ path, mmu: translated ? 'shadow' : 'none', guestKernelRing: translated ? 1 : 0, memoryMiB: 4, hashStates: true }), image: flatImage(Uint8Array.from(code)),
    hooks: { mark: (reached) => { marks.push(reached); } },
  });
  await whole.machine.step({ instructions: 10_000 });
  expect(whole.machine.state).toBe('shutdown');
  return { whole, marks };
}

const outcome = ({ whole: { machine }, marks }: Awaited<ReturnType<typeof run>>): unknown => [machine.processor.retired, machine.now, machine.stateHash!.value, marks];

it('with breakpoints each instruction is an exit, marks and a REP among them, and states are native\'s', async () => {
  // A breakpoint on data that nobody touches; then a mark, a REP MOVSB of 20 bytes, a mark.
  const code = [...debugRegister(0, 0x30_0000), ...debugRegister(7, 0x3_0401), ...mark(MarkKind.Begin), 0xb9, ...little(20), 0xbe, ...little(0x20_0000), 0xbf, ...little(0x21_0000), 0xfc, 0xf3, 0xa4, ...mark(MarkKind.End), ...POWER_OFF];
  const native = await run('native', code), translated = await run('binary-translation', code);
  expect(native.marks.map(({ kind }) => kind)).toEqual([MarkKind.Begin, MarkKind.End]);
  expect(outcome(translated)).toEqual(outcome(native));
  // All but the five instructions before the breakpoint, which are two units.
  expect(translated.whole.machine.statistics().exits['callout']!.count).toBeGreaterThan(25);
});

it('a breakpoint on an instruction of ring 0, and one on data that a string instruction writes, trap as natively', async () => {
  const handler = 0x10_0020 + 9;
  // IDT entry 1 at 0x20_0008, made here; the handler counts and sets RF in its frame.
  const idt = [0x66, 0x8c, 0xc8, 0x66, 0xa3, ...little(0x20_000a), 0xb8, ...little(handler & 0xffff), 0x66, 0xa3, ...little(0x20_0008), 0x66, 0xb8, (handler >>> 16) & 0xff, 0, 0x66, 0xa3, ...little(0x20_000e), 0x66, 0xb8, 0, 0x8e, 0x66, 0xa3, ...little(0x20_000c)];
  const table = [0x66, 0xc7, 0x05, ...little(0x20_0100), 0x0f, 0, 0xc7, 0x05, ...little(0x20_0102), ...little(0x20_0000), 0x0f, 0x01, 0x1d, ...little(0x20_0100)];
  const gdt = [0x66, 0xc7, 0x05, ...little(0x20_0110), 0x17, 0, 0xc7, 0x05, ...little(0x20_0112), ...little(0x20_0200), 0xc7, 0x05, ...little(0x20_0208), ...little(0xffff), 0xc7, 0x05, ...little(0x20_020c), ...little(0x00cf_9b00),
    0xc7, 0x05, ...little(0x20_0210), ...little(0xffff), 0xc7, 0x05, ...little(0x20_0214), ...little(0x00cf_9300), 0x0f, 0x01, 0x15, ...little(0x20_0110)];
  const count = [0xff, 0x05, ...little(0x20_0300), 0x81, 0x4c, 0x24, 0x08, ...little(0x1_0000), 0xcf];
  const head = [0xbc, ...little(0x1f_0000), 0xeb, count.length + 2, 0x90, 0x90, ...count];
  const armed = [...head, ...gdt, ...idt, ...table];
  const at = 0x10_0020 + armed.length + 3 * 8 + 5; // the second instruction behind MOV DR7
  const code = [
    ...armed, ...debugRegister(0, at), ...debugRegister(1, 0x21_0008), ...debugRegister(7, 0x00d0_0405), 0xb9, ...little(5), 0xbf, ...little(0x21_0000), 0xfc, 0xf3, 0xab, ...POWER_OFF,
  ];
  const native = await run('native', code), translated = await run('binary-translation', code);
  const traps = ({ whole }: { whole: SingleProcess }): number => whole.machine.processor.readPhysical('guest', 0x20_0300, 1)[0]!;
  expect(traps(native)).toBe(2);
  expect(traps(translated)).toBe(2);
  expect(outcome(translated)).toEqual(outcome(native));
});
