import { farCall } from './control-transfer.js';
import { DF, GP, PF, SS_FAULT } from './fault.js';
import { interrupt, softwareInterrupt } from './interrupts.js';
import { flushTlb } from './memory.js';
import { loadSegment } from './segmentation.js';
import { StackFrame, peekStack } from './stack.js';
import { CR0, CR2, CR3, CR4, DS, EIP, ESP, SS } from './state.js';
import { EventType } from './step.js';
import { ACCESS_CALL_GATE, ACCESS_DATA, ACCESS_TRAP_GATE, CODE, DATA, FLAGS_FLAT, FREE, STACKS, SystemMachine, dpl, gateWords } from './testing/system-machine.js';

const DIRECTORY = 0x1_0000, TABLE = 0x1_1000, HANDLER = 0x6000;
const PRESENT = 1, WRITABLE = 2, USER = 4;

/** Two-level paging, the 128 KiB of RAM mapped one to one, for all levels. */
function paged(controls = {}): SystemMachine {
  const machine = new SystemMachine(controls);
  machine.setWord(DIRECTORY, TABLE | 0x20 | PRESENT | WRITABLE | USER);
  for (let page = 0; page < 32; page++) machine.setWord(TABLE + 4 * page, (page << 12) | 0x60 | PRESENT | WRITABLE | USER);
  machine.cpu.i32[CR3] = DIRECTORY;
  machine.cpu.i32[CR4] = 0;
  machine.cpu.i32[CR0] = 0x8001_0011 | 0;
  flushTlb(machine.cpu, false);
  return machine;
}

function setPage(machine: SystemMachine, linear: number, bits: number): void {
  machine.setWord(TABLE + 4 * (linear >>> 12), (linear & 0xf000) | 0x60 | bits);
  flushTlb(machine.cpu, false);
}

describe('a frame on the stack', () => {
  it('pushes elements of its size and wraps a 16-bit pointer', () => {
    const machine = new SystemMachine();
    machine.hidden(SS, DATA[0], 0, 0xffff, 0x93);
    machine.cpu.i32[ESP] = 0x5_0002;
    const frame = new StackFrame().onCurrent(machine.cpu, 2);
    frame.push(machine.cpu, 0x1111);
    frame.push(machine.cpu, 0xf2222);
    expect([frame.pointer, machine.half(0), machine.half(0xfffe)]).toEqual([0x5_fffe, 0x1111, 0x2222]);
  });

  it('refuses an element that crosses the limit of an expand-down stack', () => {
    const machine = new SystemMachine();
    machine.hidden(SS, DATA[0], 0, 0x7fff, 0x4097);
    machine.cpu.i32[ESP] = 0x8006;
    expect(machine.fault(() => new StackFrame().onCurrent(machine.cpu, 4).checkRoom(machine.cpu, 1, 0x18))).toBeNull();
    expect(machine.fault(() => new StackFrame().onCurrent(machine.cpu, 4).checkRoom(machine.cpu, 2, 0x18))).toEqual({ vector: SS_FAULT, error: 0x18 });
  });

  it('peeks with wrap and limit, without popping', () => {
    const machine = new SystemMachine();
    machine.hidden(SS, DATA[0], 0x1000, 0xffff, 0x93);
    machine.cpu.i32[ESP] = 0xfffe;
    machine.setHalf(0x1_0ffe, 0xabcd).setHalf(0x1000, 0x1234);
    expect([peekStack(machine.cpu, 0, 2), peekStack(machine.cpu, 1, 2)]).toEqual([0xabcd, 0x1234]);
    expect(machine.fault(() => peekStack(machine.cpu, 0, 4))).toEqual({ vector: SS_FAULT, error: 0 });
    expect(machine.cpu.i32[ESP]).toBe(0xfffe);
  });
});

describe('page faults while a frame is built', () => {
  it('report the element that is pushed first, and leave nothing behind', () => {
    const machine = paged().descriptor(FREE, gateWords(CODE[0], HANDLER, ACCESS_CALL_GATE | dpl(3))).atLevel(3);
    machine.tableWord(0x3000 + 4, 0x8008);
    setPage(machine, 0x7000, 0);
    setPage(machine, 0x8000, 0);
    expect(machine.fault(() => farCall(machine.cpu, FREE | 3, 0, 4))).toEqual({ vector: PF, error: 2 });
    expect(machine.cpu.i32[CR2]).toBe(0x8004);
    setPage(machine, 0x8000, PRESENT | WRITABLE);
    expect(machine.fault(() => farCall(machine.cpu, FREE | 3, 0, 4))).toEqual({ vector: PF, error: 2 });
    expect(machine.cpu.i32[CR2]).toBe(0x7ffc);
    setPage(machine, 0x7000, PRESENT | WRITABLE);
    farCall(machine.cpu, FREE | 3, 0, 4);
    expect(machine.top(4)).toEqual([0x5000, CODE[3], STACKS[3], DATA[3]]);
  });

  it('an element across two pages faults on the page that is absent', () => {
    const machine = paged().gate(0x40, CODE[0], HANDLER, ACCESS_TRAP_GATE | dpl(3)).atLevel(3);
    machine.tableWord(0x3000 + 4, 0x8002);
    setPage(machine, 0x7000, PRESENT);
    expect(machine.fault(() => softwareInterrupt(machine.cpu, 0x40))).toEqual({ vector: PF, error: 3 });
    expect(machine.cpu.i32[CR2]).toBe(0x7ffe);
  });

  it('pushes on the stack of level 3 are user accesses, on an inner stack supervisor accesses', () => {
    const machine = paged().atLevel(3);
    setPage(machine, STACKS[3] - 4, PRESENT | WRITABLE);
    expect(machine.fault(() => farCall(machine.cpu, CODE[3], 0, 4))).toEqual({ vector: PF, error: 7 });
    const inner = paged().gate(0x40, CODE[0], HANDLER, ACCESS_TRAP_GATE | dpl(3)).atLevel(3);
    setPage(inner, STACKS[0] - 4, PRESENT | WRITABLE);
    softwareInterrupt(inner.cpu, 0x40);
    expect(inner.cpu.i32[EIP]).toBe(HANDLER);
  });

  it('a page fault whose handler\'s stack is absent is a double fault', () => {
    const machine = paged().gate(PF, CODE[0], HANDLER, ACCESS_TRAP_GATE).gate(DF, CODE[1], HANDLER + DF, ACCESS_TRAP_GATE).atLevel(3);
    setPage(machine, STACKS[0] - 4, 0);
    interrupt(machine.cpu, PF, EventType.HardwareException, 4);
    expect([machine.cpu.i32[EIP], machine.top(1)[0], machine.cpu.i32[CR2]]).toEqual([HANDLER + DF, 0, STACKS[0] - 4]);
  });

  it('a #GP whose handler\'s stack is absent becomes a page fault (Table 6-5: contributory, then page fault)', () => {
    const machine = paged().gate(GP, CODE[0], HANDLER, ACCESS_TRAP_GATE).gate(PF, CODE[1], HANDLER + PF, ACCESS_TRAP_GATE).atLevel(3);
    setPage(machine, STACKS[0] - 4, 0);
    interrupt(machine.cpu, GP, EventType.HardwareException, 0);
    expect([machine.cpu.i32[EIP], machine.top(1)[0]]).toEqual([HANDLER + PF, 2]);
  });
});

describe('descriptor tables under paging', () => {
  it('are supervisor reads at any level', () => {
    const machine = paged().atLevel(3);
    setPage(machine, 0x1000, PRESENT | WRITABLE);
    loadSegment(machine.cpu, DS, DATA[3]);
    expect(machine.selector(DS)).toBe(DATA[3]);
    setPage(machine, 0x1000, 0);
    expect(machine.fault(() => loadSegment(machine.cpu, DS, DATA[3]))).toEqual({ vector: PF, error: 0 });
  });

  it('are written for Accessed, which CR0.WP forbids on a read-only page', () => {
    const machine = paged().segment(FREE, 0, 0xf_ffff, ACCESS_DATA, FLAGS_FLAT);
    setPage(machine, 0x1000, PRESENT);
    expect(machine.fault(() => loadSegment(machine.cpu, DS, FREE))).toEqual({ vector: PF, error: 3 });
    loadSegment(machine.cpu, DS, DATA[0]);
    machine.cpu.i32[CR0] = 0x8000_0011 | 0;
    flushTlb(machine.cpu, false);
    loadSegment(machine.cpu, DS, FREE);
    expect(machine.accessByte(FREE)).toBe(ACCESS_DATA | 1);
  });
});
