import { NOT_VISIBLE, arpl, lar, lsl, verr, verw } from './descriptor-queries.js';
import { ACCESS_CALL_GATE, ACCESS_CODE, ACCESS_CONFORMING, ACCESS_DATA, ACCESS_INTERRUPT_GATE, ACCESS_LDT, ACCESS_TASK_GATE, ACCESS_TSS, FLAGS_FLAT, FREE, SystemMachine, dpl } from './testing/system-machine.js';

const PRESENT = 0x80;
/** [access byte, level, RPL] and what each instruction says. */
const CASES: [string, number, number, number, { lar: boolean; lsl: boolean; verr: boolean; verw: boolean }][] = [
  ['writable data', ACCESS_DATA, 0, 0, { lar: true, lsl: true, verr: true, verw: true }],
  ['absent data', ACCESS_DATA & ~PRESENT, 0, 0, { lar: true, lsl: true, verr: true, verw: true }],
  ['data of an inner level', ACCESS_DATA | dpl(1), 2, 0, { lar: false, lsl: false, verr: false, verw: false }],
  ['data asked for with a weak RPL', ACCESS_DATA | dpl(1), 0, 2, { lar: false, lsl: false, verr: false, verw: false }],
  ['read-only data', 0x90, 0, 0, { lar: true, lsl: true, verr: true, verw: false }],
  ['readable code', ACCESS_CODE, 0, 0, { lar: true, lsl: true, verr: true, verw: false }],
  ['execute-only code', 0x98, 0, 0, { lar: true, lsl: true, verr: false, verw: false }],
  ['readable conforming code of an inner level', ACCESS_CONFORMING, 3, 3, { lar: true, lsl: true, verr: true, verw: false }],
  ['a TSS', ACCESS_TSS, 0, 0, { lar: true, lsl: true, verr: false, verw: false }],
  ['an LDT', ACCESS_LDT, 0, 0, { lar: true, lsl: true, verr: false, verw: false }],
  ['a call gate', ACCESS_CALL_GATE, 0, 0, { lar: true, lsl: false, verr: false, verw: false }],
  ['a task gate', ACCESS_TASK_GATE, 0, 0, { lar: true, lsl: false, verr: false, verw: false }],
  ['an interrupt gate', ACCESS_INTERRUPT_GATE, 0, 0, { lar: false, lsl: false, verr: false, verw: false }],
  ['an empty entry', 0, 0, 0, { lar: false, lsl: false, verr: false, verw: false }],
];

describe('LAR, LSL, VERR, VERW', () => {
  it.each(CASES)('%s', (_what, access, level, rpl, expected) => {
    const { cpu } = new SystemMachine().atLevel(level).segment(FREE, 0x1200_0000, 0x1_2345, access, FLAGS_FLAT);
    const selector = FREE | rpl;
    expect(lar(cpu, selector)).toBe(expected.lar ? 0x00c0_0000 | (access << 8) : NOT_VISIBLE);
    expect(lsl(cpu, selector)).toBe(expected.lsl ? 0x1234_5fff : NOT_VISIBLE);
    expect(verr(cpu, selector)).toBe(expected.verr);
    expect(verw(cpu, selector)).toBe(expected.verw);
  });

  it('see nothing in a null selector or beyond a limit', () => {
    const { cpu } = new SystemMachine();
    for (const selector of [0, 3, 0x100, 0x44]) {
      expect([lar(cpu, selector), lsl(cpu, selector), verr(cpu, selector), verw(cpu, selector)]).toEqual([NOT_VISIBLE, NOT_VISIBLE, false, false]);
    }
  });

  it('LSL tells a limit of 4 GiB − 1 from no limit', () => {
    const { cpu } = new SystemMachine().segment(FREE, 0, 0xf_ffff, ACCESS_DATA, FLAGS_FLAT);
    expect(lsl(cpu, FREE)).toBe(0xffff_ffff);
  });
});

describe('ARPL', () => {
  it('raises an RPL but never lowers it', () => {
    expect(arpl(0x1230, 3)).toBe(0x1233);
    expect(arpl(0x1233, 0)).toBe(NOT_VISIBLE);
    expect(arpl(0x1231, 1)).toBe(NOT_VISIBLE);
  });
});
