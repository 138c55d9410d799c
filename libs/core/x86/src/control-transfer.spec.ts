import { farCall, farJump, farReturn } from './control-transfer.js';
import { ExitReason } from './exit-reason.js';
import { GP, NP, SS_FAULT, TS } from './fault.js';
import { UnsupportedMode } from './intercepts.js';
import { CPL, CS, DS, EIP, ES, ESP, FS, SS, TR } from './state.js';
import {
  ACCESS_CALL_GATE, ACCESS_CALL_GATE16, ACCESS_CODE, ACCESS_CONFORMING, ACCESS_DATA, ACCESS_LDT, ACCESS_TASK_GATE, ACCESS_TSS, CODE, DATA, FLAGS_16, FLAGS_BIG, FLAGS_FLAT, FREE, STACKS,
  SystemMachine, TSS, TSS_SELECTOR, dpl, gateWords,
} from './testing/system-machine.js';

const PRESENT = 0x80;
const GATE = 0x70;

describe('far JMP', () => {
  it('enters code of its own level and keeps CPL in the RPL of CS', () => {
    const machine = new SystemMachine().atLevel(2).segment(FREE, 0x100, 0xfff, ACCESS_CODE | dpl(2), FLAGS_BIG);
    farJump(machine.cpu, FREE | 1, 0x234, 4);
    expect(machine.selector(CS)).toBe(FREE | 2);
    expect(machine.base(CS)).toBe(0x100);
    expect(machine.cpu.i32[EIP]).toBe(0x234);
    expect(machine.accessByte(FREE)).toBe(ACCESS_CODE | dpl(2) | 1);
  });

  it('cuts the offset to 16 bits with 16-bit operands', () => {
    const machine = new SystemMachine();
    farJump(machine.cpu, CODE[0], 0x1234_5678, 2);
    expect(machine.cpu.i32[EIP]).toBe(0x5678);
  });

  it('stays at its level in conforming code of an inner one', () => {
    const machine = new SystemMachine().atLevel(3).segment(FREE, 0, 0xffff, ACCESS_CONFORMING, FLAGS_BIG);
    farJump(machine.cpu, FREE, 0x10, 4);
    expect([machine.selector(CS), machine.cpu.i32[CPL]]).toEqual([FREE | 3, 3]);
  });

  it.each([
    ['null', 0, 0, 0, 0, { vector: GP, error: 0 }],
    ['beyond the limit', 0, 0x200, 0, 0, { vector: GP, error: 0x200 }],
    ['data', 0, FREE, ACCESS_DATA, 0, { vector: GP, error: FREE }],
    ['nonconforming code of another level', 3, FREE | 3, ACCESS_CODE, 0, { vector: GP, error: FREE }],
    ['nonconforming code, RPL > CPL', 0, FREE | 1, ACCESS_CODE, 0, { vector: GP, error: FREE }],
    ['conforming code of an outer level', 0, FREE, ACCESS_CONFORMING | dpl(1), 0, { vector: GP, error: FREE }],
    ['absent code', 0, FREE, ACCESS_CODE & ~PRESENT, 0, { vector: NP, error: FREE }],
    ['an offset beyond the limit', 0, FREE, ACCESS_CODE, 0x1_0000, { vector: GP, error: 0 }],
    ['an LDT', 0, FREE, ACCESS_LDT, 0, { vector: GP, error: FREE }],
    ['a busy TSS', 0, FREE, ACCESS_TSS | 2, 0, { vector: GP, error: FREE }],
    ['an absent TSS', 0, FREE, ACCESS_TSS & ~PRESENT, 0, { vector: NP, error: FREE }],
    ['a TSS of an inner level', 3, FREE, ACCESS_TSS, 0, { vector: GP, error: FREE }],
  ])('refuses %s', (_what, level, selector, access, offset, expected) => {
    const machine = new SystemMachine().atLevel(level).segment(FREE, 0, 0xffff, access, FLAGS_BIG);
    expect(machine.fault(() => farJump(machine.cpu, selector, offset, 4))).toEqual(expected);
  });

  it.each([['TSS', ACCESS_TSS], ['task gate', ACCESS_TASK_GATE]])('stops by name at a %s', (_what, access) => {
    const machine = new SystemMachine().segment(FREE, 0, 0x67, access, 0);
    const exit = machine.exit(() => farJump(machine.cpu, FREE, 0, 4));
    expect([exit.reason, exit.qualification]).toEqual([ExitReason.UnsupportedMode, UnsupportedMode.TaskSwitch]);
  });

  it('follows a call gate and ignores the offset beside its selector', () => {
    const machine = new SystemMachine().descriptor(GATE, gateWords(CODE[0], 0x12_3456, ACCESS_CALL_GATE));
    farJump(machine.cpu, GATE, 0xdead, 4);
    expect([machine.cpu.i32[EIP], machine.selector(CS)]).toEqual([0x12_3456, CODE[0]]);
  });

  it('does not change its level through a call gate', () => {
    const machine = new SystemMachine().atLevel(3).descriptor(GATE, gateWords(CODE[0], 0x100, ACCESS_CALL_GATE | dpl(3)));
    expect(machine.fault(() => farJump(machine.cpu, GATE, 0, 4))).toEqual({ vector: GP, error: CODE[0] });
  });
});

describe('far CALL', () => {
  it('pushes CS and the next EIP', () => {
    const machine = new SystemMachine();
    machine.cpu.i32[EIP] = 0x4_5678;
    farCall(machine.cpu, CODE[0], 0x9abc, 4);
    expect(machine.cpu.i32[ESP]).toBe(STACKS[0] - 8);
    expect(machine.top(2)).toEqual([0x4_5678, CODE[0]]);
    expect(machine.cpu.i32[EIP]).toBe(0x9abc);
  });

  it('pushes 16-bit words with 16-bit operands', () => {
    const machine = new SystemMachine();
    farCall(machine.cpu, CODE[0], 0x9abc, 2);
    expect(machine.cpu.i32[ESP]).toBe(STACKS[0] - 4);
    expect([machine.half(STACKS[0] - 4), machine.half(STACKS[0] - 2)]).toEqual([0x5000, CODE[0]]);
  });

  it('keeps the upper half of ESP on a 16-bit stack, and wraps its lower half', () => {
    const machine = new SystemMachine();
    machine.hidden(SS, DATA[0], 0, 0xffff, 0x93);
    machine.cpu.i32[ESP] = 0x7_0004;
    farCall(machine.cpu, CODE[0], 0x10, 4);
    expect(machine.cpu.i32[ESP]).toBe(0x7_fffc);
    expect([machine.word(0), machine.word(0xfffc)]).toEqual([CODE[0], 0x5000]);
  });

  it('raises #SS(0) without room, before it looks at the entry point', () => {
    const machine = new SystemMachine().segment(FREE, 0, 0xff, ACCESS_CODE, FLAGS_BIG);
    machine.hidden(SS, DATA[0], 0, 0x7ff7, 0x4093);
    expect(machine.fault(() => farCall(machine.cpu, FREE, 0x1000, 4))).toEqual({ vector: SS_FAULT, error: 0 });
  });

  describe('through a call gate to an inner level', () => {
    const inward = (parameters = 0, access: number = ACCESS_CALL_GATE): SystemMachine =>
      new SystemMachine().atLevel(3).descriptor(GATE, gateWords(CODE[1] & ~3, 0x1_2345, access | dpl(3), parameters));

    it('switches to the stack in the TSS, copies the parameters and pushes the old stack', () => {
      const machine = inward(3).frame(0x11, 0x22, 0x33);
      const oldStack = machine.cpu.i32[ESP]!;
      farCall(machine.cpu, GATE | 3, 0, 4);
      expect(machine.top(7)).toEqual([0x5000, CODE[3], 0x11, 0x22, 0x33, oldStack, DATA[3]]);
      expect([machine.cpu.i32[CPL], machine.selector(CS), machine.selector(SS)]).toEqual([1, CODE[1], DATA[1]]);
      expect([machine.cpu.i32[EIP], machine.cpu.i32[ESP]]).toEqual([0x1_2345, STACKS[1] - 28]);
    });

    it('pushes 16-bit words through a 16-bit gate, whose offset has no upper half', () => {
      const machine = inward(1, ACCESS_CALL_GATE16).frame(0x7777_1111);
      farCall(machine.cpu, GATE | 3, 0, 4);
      expect(machine.cpu.i32[EIP]).toBe(0x2345);
      const top = STACKS[1] - 10;
      expect(machine.cpu.i32[ESP]).toBe(top);
      expect([0, 2, 4, 6, 8].map((n) => machine.half(top + n))).toEqual([0x5000, CODE[3], 0x1111, STACKS[3] - 4, DATA[3]]);
    });

    it('stays on the stack when the target is conforming', () => {
      const machine = inward().segment(CODE[1], 0, 0xf_ffff, ACCESS_CONFORMING | dpl(1), FLAGS_FLAT);
      farCall(machine.cpu, GATE | 3, 0, 4);
      expect([machine.cpu.i32[CPL], machine.selector(CS), machine.cpu.i32[ESP]]).toEqual([3, CODE[1] | 3, STACKS[3] - 8]);
    });

    // What is made wrong, and the fault: in the order of the checks.
    it.each<[string, (machine: SystemMachine) => void, { vector: number; error: number }]>([
      ['a gate of an inner level', (machine) => machine.descriptor(GATE, gateWords(CODE[1], 0, ACCESS_CALL_GATE | dpl(2))), { vector: GP, error: GATE }],
      ['an absent gate', (machine) => machine.descriptor(GATE, gateWords(CODE[1], 0, (ACCESS_CALL_GATE | dpl(3)) & ~PRESENT)), { vector: NP, error: GATE }],
      ['a null code selector', (machine) => machine.descriptor(GATE, gateWords(3, 0, ACCESS_CALL_GATE | dpl(3))), { vector: GP, error: 0 }],
      ['a code selector beyond the limit', (machine) => machine.descriptor(GATE, gateWords(0x208, 0, ACCESS_CALL_GATE | dpl(3))), { vector: GP, error: 0x208 }],
      ['a gate to data', (machine) => machine.descriptor(GATE, gateWords(DATA[1], 0, ACCESS_CALL_GATE | dpl(3))), { vector: GP, error: DATA[1] & ~3 }],
      ['absent code', (machine) => machine.segment(CODE[1], 0, 0xf_ffff, (ACCESS_CODE | dpl(1)) & ~PRESENT, FLAGS_FLAT), { vector: NP, error: CODE[1] & ~3 }],
      ['a TSS that ends before the stack', (machine) => machine.hidden(TR, TSS_SELECTOR, TSS, 16, 0x8b), { vector: TS, error: TSS_SELECTOR }],
      ['a null inner stack', (machine) => machine.tableWord(TSS + 16, 0), { vector: TS, error: 0 }],
      ['an inner stack beyond the limit', (machine) => machine.tableWord(TSS + 16, 0x301), { vector: TS, error: 0x300 }],
      ['an inner stack of the wrong RPL', (machine) => machine.tableWord(TSS + 16, DATA[1] & ~3), { vector: TS, error: DATA[1] & ~3 }],
      ['an inner stack of the wrong DPL', (machine) => machine.tableWord(TSS + 16, DATA[2] ^ 3), { vector: TS, error: DATA[2] & ~3 }],
      ['a read-only inner stack', (machine) => machine.segment(DATA[1], 0, 0xf_ffff, 0x90 | dpl(1), FLAGS_FLAT), { vector: TS, error: DATA[1] & ~3 }],
      ['an absent inner stack', (machine) => machine.segment(DATA[1], 0, 0xf_ffff, (ACCESS_DATA | dpl(1)) & ~PRESENT, FLAGS_FLAT), { vector: SS_FAULT, error: DATA[1] & ~3 }],
      ['an inner stack without room', (machine) => machine.segment(DATA[1], 0, STACKS[1] - 5, ACCESS_DATA | dpl(1), FLAGS_BIG), { vector: SS_FAULT, error: DATA[1] & ~3 }],
      ['an entry point beyond the limit', (machine) => machine.segment(CODE[1], 0, 0xff, ACCESS_CODE | dpl(1), FLAGS_BIG), { vector: GP, error: 0 }],
    ])('refuses %s', (_what, spoil, expected) => {
      const machine = inward(2);
      spoil(machine);
      expect(machine.fault(() => farCall(machine.cpu, GATE | 3, 0, 4))).toEqual(expected);
    });
  });
});

describe('far RET', () => {
  it('undoes a far CALL at the same level and releases parameters', () => {
    const machine = new SystemMachine().frame(0x6000, CODE[0], 1, 2);
    farReturn(machine.cpu, 4, 8);
    expect([machine.cpu.i32[EIP], machine.selector(CS), machine.cpu.i32[ESP]]).toEqual([0x6000, CODE[0], STACKS[0]]);
  });

  it('returns to an outer level, releases parameters on both stacks and drops segments the level may not use', () => {
    const machine = new SystemMachine().atLevel(1).segment(FREE, 0, 0xffff, ACCESS_CONFORMING, FLAGS_BIG);
    machine.hidden(FS, FREE, 0, 0xffff, 0x409f);
    machine.hidden(ES, DATA[3], 0, -1, 0xc0f3);
    machine.frame(0x6000, CODE[3], 0xaa, 0xbb, 0x7000, DATA[3]);
    farReturn(machine.cpu, 4, 8);
    expect([machine.cpu.i32[CPL], machine.selector(CS), machine.selector(SS), machine.cpu.i32[EIP], machine.cpu.i32[ESP]]).toEqual([3, CODE[3], DATA[3], 0x6000, 0x7008]);
    expect([machine.selector(DS), machine.rights(DS)]).toEqual([0, 0x1_0000]);
    expect([machine.selector(ES), machine.selector(FS)]).toEqual([DATA[3], FREE]);
  });

  it.each<[string, number[], { vector: number; error: number }]>([
    ['a null CS', [0, 3, 0, 0], { vector: GP, error: 0 }],
    ['CS beyond the limit', [0, 0x203, 0, 0], { vector: GP, error: 0x200 }],
    ['a data segment', [0, DATA[2], 0, 0], { vector: GP, error: DATA[2] & ~3 }],
    ['an inner level', [0, CODE[1], 0, 0], { vector: GP, error: CODE[1] & ~3 }],
    ['nonconforming code whose DPL is not the RPL', [0, CODE[2] | 3, 0, 0], { vector: GP, error: CODE[2] & ~3 }],
    ['a null SS', [0, CODE[3], 0x7000, 3], { vector: GP, error: 0 }],
    ['SS beyond the limit', [0, CODE[3], 0x7000, 0x303], { vector: GP, error: 0x300 }],
    ['SS whose RPL is not the new level', [0, CODE[3], 0x7000, DATA[3] & ~1], { vector: GP, error: DATA[3] & ~3 }],
    ['SS whose DPL is not the new level', [0, CODE[3], 0x7000, DATA[2] | 3], { vector: GP, error: DATA[2] & ~3 }],
    ['code in SS', [0, CODE[3], 0x7000, CODE[3]], { vector: GP, error: CODE[3] & ~3 }],
  ])('refuses %s', (_what, words, expected) => {
    const machine = new SystemMachine().atLevel(2).frame(...words);
    expect(machine.fault(() => farReturn(machine.cpu, 4, 0))).toEqual(expected);
  });

  it('raises #NP for absent code and #SS for an absent stack', () => {
    const absentCode = new SystemMachine().atLevel(2).segment(FREE, 0, 0xffff, ACCESS_CODE & ~PRESENT | dpl(3), FLAGS_16).frame(0, FREE | 3, 0, DATA[3]);
    expect(absentCode.fault(() => farReturn(absentCode.cpu, 4, 0))).toEqual({ vector: NP, error: FREE });
    const absentStack = new SystemMachine().atLevel(2).segment(FREE, 0, 0xffff, ACCESS_DATA & ~PRESENT | dpl(3), FLAGS_16).frame(0, CODE[3], 0, FREE | 3);
    expect(absentStack.fault(() => farReturn(absentStack.cpu, 4, 0))).toEqual({ vector: SS_FAULT, error: FREE });
  });

  it('raises #SS(0) when the frame reaches beyond the stack segment', () => {
    const machine = new SystemMachine().atLevel(2).frame(0, CODE[3], 0x7000, DATA[3]);
    machine.hidden(SS, DATA[2], 0, STACKS[2] - 5, 0x40d3);
    expect(machine.fault(() => farReturn(machine.cpu, 4, 0))).toEqual({ vector: SS_FAULT, error: 0 });
  });
});
