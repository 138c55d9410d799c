import { GP, NP, SS_FAULT } from './fault.js';
import { loadSegment, withinLimit } from './segmentation.js';
import { CPL, DS, ES, SS } from './state.js';
import { ACCESS_CODE, ACCESS_CONFORMING, ACCESS_DATA, ACCESS_TSS, CODE, DATA, FLAGS_BIG, FLAGS_FLAT, FREE, LDT_SELECTOR, SystemMachine, dpl } from './testing/system-machine.js';

const EXECUTE_ONLY = 0x98, READ_ONLY = 0x90, EXPAND_DOWN = 0x96, ABSENT = 0x80;

describe('loading a data segment register', () => {
  it.each([0, 1, 2, 3])('takes null selector %i and makes the register unusable', (selector) => {
    const machine = new SystemMachine();
    loadSegment(machine.cpu, DS, selector);
    expect(machine.selector(DS)).toBe(selector);
    expect(machine.rights(DS) & 0x1_0000).toBe(0x1_0000);
  });

  it('keeps base, scaled limit and rights, and marks the descriptor accessed', () => {
    const machine = new SystemMachine().segment(FREE, 0x1234_5678, 0x0_0012, ACCESS_DATA, FLAGS_FLAT);
    loadSegment(machine.cpu, ES, FREE);
    expect(machine.base(ES)).toBe(0x1234_5678);
    expect(machine.limit(ES)).toBe(0x1_2fff);
    expect(machine.rights(ES)).toBe(0xc093);
    expect(machine.accessByte(FREE)).toBe(ACCESS_DATA | 1);
  });

  it('reads the LDT, in its own limit', () => {
    const machine = new SystemMachine().segment(0x0c, 0x100, 0xff, ACCESS_DATA, FLAGS_BIG);
    loadSegment(machine.cpu, DS, 0x0c);
    expect(machine.base(DS)).toBe(0x100);
    expect(machine.fault(() => loadSegment(machine.cpu, DS, 0x44))).toEqual({ vector: GP, error: 0x44 });
  });

  it('has no LDT after a null LLDT', () => {
    const machine = new SystemMachine();
    machine.hidden(6, 0, 0, 0, 0x1_0000);
    expect(machine.fault(() => loadSegment(machine.cpu, DS, 0x0c))).toEqual({ vector: GP, error: 0x0c });
  });

  // Level, RPL, descriptor access byte, what happens (SDM Vol. 2B, MOV).
  it.each([
    ['data of an inner level', 3, 3, ACCESS_DATA | dpl(2), { vector: GP, error: FREE }],
    ['data of its own level', 3, 3, ACCESS_DATA | dpl(3), null],
    ['data of an outer level', 0, 0, ACCESS_DATA | dpl(3), null],
    ['data, RPL weaker than DPL', 0, 3, ACCESS_DATA | dpl(2), { vector: GP, error: FREE }],
    ['readable code of an inner level', 3, 3, ACCESS_CODE | dpl(0), { vector: GP, error: FREE }],
    ['readable conforming code of an inner level', 3, 3, ACCESS_CONFORMING | dpl(0), null],
    ['execute-only code', 0, 0, EXECUTE_ONLY, { vector: GP, error: FREE }],
    ['execute-only conforming code', 0, 0, 0x9c, { vector: GP, error: FREE }],
    ['read-only data', 0, 0, READ_ONLY, null],
    ['a system segment', 0, 0, ACCESS_TSS, { vector: GP, error: FREE }],
    ['absent data', 0, 0, ACCESS_DATA & ~ABSENT, { vector: NP, error: FREE }],
    ['absent data of an inner level: privilege first', 3, 3, ACCESS_DATA & ~ABSENT, { vector: GP, error: FREE }],
  ])('%s', (_what, level, rpl, access, expected) => {
    const machine = new SystemMachine().atLevel(level).segment(FREE, 0, 0xffff, access, FLAGS_BIG);
    expect(machine.fault(() => loadSegment(machine.cpu, DS, FREE | rpl))).toEqual(expected);
  });

  it.each([[0x100], [0xfff8], [0x103]])('refuses selector %i beyond the limit with its index as error code', (selector) => {
    const machine = new SystemMachine();
    expect(machine.fault(() => loadSegment(machine.cpu, DS, selector))).toEqual({ vector: GP, error: selector & 0xfffc });
  });
});

describe('loading SS', () => {
  it.each([
    ['null', 0, 0, 0, { vector: GP, error: 0 }],
    ['null with RPL 3', 0, 3, 0, { vector: GP, error: 0 }],
    ['RPL ≠ CPL', 0, FREE | 1, ACCESS_DATA, { vector: GP, error: FREE }],
    ['DPL ≠ CPL', 0, FREE, ACCESS_DATA | dpl(1), { vector: GP, error: FREE }],
    ['DPL < CPL', 3, FREE | 3, ACCESS_DATA | dpl(0), { vector: GP, error: FREE }],
    ['read-only data', 0, FREE, READ_ONLY, { vector: GP, error: FREE }],
    ['code', 0, FREE, ACCESS_CODE, { vector: GP, error: FREE }],
    ['absent', 0, FREE, ACCESS_DATA & ~ABSENT, { vector: SS_FAULT, error: FREE }],
    ['expand-down data', 0, FREE, EXPAND_DOWN, null],
    ['its own level', 3, FREE | 3, ACCESS_DATA | dpl(3), null],
  ])('%s', (_what, level, selector, access, expected) => {
    const machine = new SystemMachine().atLevel(level).segment(FREE, 0, 0xffff, access, FLAGS_BIG);
    expect(machine.fault(() => loadSegment(machine.cpu, SS, selector))).toEqual(expected);
  });

  it('goes by CPL, not by the RPL of CS', () => {
    const machine = new SystemMachine().atLevel(1);
    machine.cpu.i32[CPL] = 3;
    expect(machine.fault(() => loadSegment(machine.cpu, SS, DATA[1]))).toEqual({ vector: GP, error: DATA[1] & 0xfffc });
    expect(machine.fault(() => loadSegment(machine.cpu, SS, DATA[3]))).toBeNull();
  });
});

describe('tables in monitor space', () => {
  it('reads descriptors and sets Accessed past paging and guest RAM', () => {
    const machine = new SystemMachine({ deprivileged: true, nonRoot: true }).atLevel(1).segment(FREE, 0x4000, 0xfff, ACCESS_DATA | dpl(1), FLAGS_BIG);
    loadSegment(machine.cpu, DS, FREE | 1);
    expect(machine.base(DS)).toBe(0x4000);
    expect(machine.accessByte(FREE)).toBe(ACCESS_DATA | dpl(1) | 1);
    expect(machine.word(0x1000 + FREE)).toBe(0);
    expect(machine.fault(() => loadSegment(machine.cpu, DS, CODE[0]))).toEqual({ vector: GP, error: CODE[0] });
    expect(LDT_SELECTOR).toBe(machine.selector(6));
  });
});

describe('withinLimit', () => {
  const UP = 0x4093, DOWN32 = 0x4097, DOWN16 = 0x0097;
  it.each([
    [UP, 0xfff, 0xffc, 4, true], [UP, 0xfff, 0xffd, 4, false], [UP, 0xfff, 0x1000, 1, false], [UP, -1, 0xffff_fffe, 4, true], [UP, 0xffff_fffe | 0, 0xffff_fffe, 2, false],
    [UP, 0xfff, 0xffff_ffff, 2, false], [DOWN32, 0xfff, 0xfff, 1, false], [DOWN32, 0xfff, 0x1000, 4, true], [DOWN32, 0xfff, 0xffff_fffd, 4, false], [DOWN32, 0xfff, 0xffff_fffc, 4, true],
    [DOWN16, 0xfff, 0xfffe, 2, true], [DOWN16, 0xfff, 0xffff, 2, false], [DOWN32, -1, 0, 1, false],
  ])('rights %i limit %i offset %i bytes %i: %s', (rights, limit, offset, bytes, expected) => {
    expect(withinLimit(rights, limit, offset, bytes)).toBe(expected);
  });
});
