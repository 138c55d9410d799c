import { ExitReason } from './exit-reason.js';
import { BP, DB, DE, DF, GP, NP, OF, PF, SS_FAULT, TS, UD } from './fault.js';
import { UnsupportedMode } from './intercepts.js';
import { injectEvent, interrupt, iret, softwareInterrupt } from './interrupts.js';
import { ACTIVITY, CPL, CS, DR7, DS, EFLAGS_SYSTEM, EIP, ESP, INTERRUPT_SHADOW, SS } from './state.js';
import { EventType } from './step.js';
import {
  ACCESS_CODE, ACCESS_CONFORMING, ACCESS_DATA, ACCESS_INTERRUPT_GATE, ACCESS_INTERRUPT_GATE16, ACCESS_TASK_GATE, ACCESS_TRAP_GATE, CODE, DATA, FLAGS_BIG, FLAGS_FLAT, FREE, STACKS, SystemMachine,
  TSS, TSS_SELECTOR, dpl,
} from './testing/system-machine.js';

const { ExternalInterrupt, HardwareException, SoftwareException, SoftwareInterrupt, PrivilegedSoftwareException } = EventType;
const HANDLER = 0x6000, PRESENT = 0x80;
const IF = 0x200, TF = 0x100, NT = 0x4000, RF = 0x1_0000, AC = 0x4_0000, ID = 0x20_0000, VM = 0x2_0000;

const at = (level: number, flags = 2): SystemMachine => {
  const machine = new SystemMachine().atLevel(level);
  machine.cpu.i32[EFLAGS_SYSTEM] = flags | 2;
  return machine;
};
const flagsOf = (machine: SystemMachine): number => machine.cpu.i32[EFLAGS_SYSTEM]!;

describe('delivery at the same level', () => {
  it('pushes EFLAGS, CS and EIP; an interrupt gate clears IF, and TF and NT go', () => {
    const machine = at(0, IF | TF | NT).gate(0x40, CODE[0], HANDLER, ACCESS_INTERRUPT_GATE);
    interrupt(machine.cpu, 0x40, ExternalInterrupt, null);
    expect(machine.top(3).map((word, n) => (n === 2 ? word & ~0x8d5 : word))).toEqual([0x5000, CODE[0], IF | TF | NT | 2]);
    expect([machine.cpu.i32[EIP], flagsOf(machine)]).toEqual([HANDLER, 2]);
  });

  it('a trap gate leaves IF', () => {
    const machine = at(0, IF | TF).gate(0x40, CODE[0], HANDLER, ACCESS_TRAP_GATE);
    interrupt(machine.cpu, 0x40, ExternalInterrupt, null);
    expect(flagsOf(machine)).toBe(IF | 2);
  });

  it('pushes the error code of a fault last', () => {
    const machine = at(0).gate(GP, CODE[0], HANDLER, ACCESS_TRAP_GATE);
    interrupt(machine.cpu, GP, HardwareException, 0x1234);
    expect(machine.top(3)).toEqual([0x1234, 0x5000, CODE[0]]);
  });

  it.each([
    ['a fault', GP, HardwareException, RF], ['#DB', DB, HardwareException, 0], ['#DF', DF, HardwareException, 0], ['an external interrupt', 0x20, ExternalInterrupt, 0],
    ['INT n', UD, SoftwareInterrupt, 0], ['INT3', BP, SoftwareException, 0],
  ])('%s pushes RF %#', (_what, vector, type, expected) => {
    const machine = at(0).gate(vector, CODE[0], HANDLER, ACCESS_TRAP_GATE);
    injectEvent(machine.cpu, vector, type, null);
    expect(machine.top(3)[2]! & RF).toBe(expected);
  });

  it('uses 16-bit words through a 16-bit gate', () => {
    const machine = at(0, IF).gate(0x40, CODE[0], 0x1_2345, ACCESS_INTERRUPT_GATE16);
    interrupt(machine.cpu, 0x40, ExternalInterrupt, null);
    expect([machine.cpu.i32[EIP], machine.cpu.i32[ESP]]).toEqual([0x2345, STACKS[0] - 6]);
    expect([0, 2].map((n) => machine.half(STACKS[0] - 6 + n))).toEqual([0x5000, CODE[0]]);
  });

  it('stays at its level in a conforming handler', () => {
    const machine = at(3).segment(FREE, 0, 0xf_ffff, ACCESS_CONFORMING, FLAGS_FLAT).gate(0x40, FREE, HANDLER, ACCESS_TRAP_GATE);
    interrupt(machine.cpu, 0x40, ExternalInterrupt, null);
    expect([machine.cpu.i32[CPL], machine.selector(CS), machine.cpu.i32[ESP]]).toEqual([3, FREE | 3, STACKS[3] - 12]);
  });

  it('wakes a halted processor, ends the interrupt shadow, and #DB clears DR7.GD', () => {
    const machine = at(0).gate(DB, CODE[0], HANDLER, ACCESS_TRAP_GATE);
    machine.cpu.i32[ACTIVITY] = 1;
    machine.cpu.i32[INTERRUPT_SHADOW] = 1;
    machine.cpu.i32[DR7] = 0x2400;
    interrupt(machine.cpu, DB, HardwareException, null);
    expect([machine.cpu.i32[ACTIVITY], machine.cpu.i32[INTERRUPT_SHADOW], machine.cpu.i32[DR7]]).toEqual([0, 0, 0x400]);
  });
});

describe('delivery to an inner level', () => {
  it('takes the stack from the TSS and pushes the old one', () => {
    const machine = at(3, IF).gate(PF, CODE[0], HANDLER, ACCESS_INTERRUPT_GATE);
    interrupt(machine.cpu, PF, HardwareException, 7);
    const [error, eip, cs, , esp, ss] = machine.top(6);
    expect([error, eip, cs, esp, ss]).toEqual([7, 0x5000, CODE[3], STACKS[3], DATA[3]]);
    expect([machine.cpu.i32[CPL], machine.selector(CS), machine.selector(SS), machine.cpu.i32[ESP]]).toEqual([0, CODE[0], DATA[0], STACKS[0] - 24]);
    expect(machine.selector(DS)).toBe(DATA[3]);
  });

  it('goes to ring 1 and 2 as well', () => {
    const machine = at(3).gate(0x40, CODE[2], HANDLER, ACCESS_TRAP_GATE | dpl(3));
    softwareInterrupt(machine.cpu, 0x40);
    expect([machine.cpu.i32[CPL], machine.selector(SS), machine.cpu.i32[ESP]]).toEqual([2, DATA[2], STACKS[2] - 20]);
  });

  it('reads a 16-bit TSS', () => {
    const machine = at(3).gate(0x40, CODE[0], HANDLER, ACCESS_TRAP_GATE | dpl(3));
    machine.hidden(7, TSS_SELECTOR, TSS, 43, 0x83);
    machine.setHalf(TSS + 2, 0x7f00).setHalf(TSS + 4, DATA[0]);
    softwareInterrupt(machine.cpu, 0x40);
    expect(machine.cpu.i32[ESP]).toBe(0x7f00 - 20);
  });
});

describe('faults on the way to a handler', () => {
  const IDT_ERROR = (vector: number): number => vector * 8 + 2;
  // INT 0x40 from ring 3: the error codes have no EXT bit.
  it.each<[string, (machine: SystemMachine) => void, { vector: number; error: number }]>([
    ['an IDT that is too short', (machine) => { machine.cpu.i32[68] = 0x40 * 8 + 6; }, { vector: GP, error: IDT_ERROR(0x40) }],
    ['a call gate in the IDT', (machine) => machine.gate(0x40, CODE[0], HANDLER, 0xec), { vector: GP, error: IDT_ERROR(0x40) }],
    ['a gate that the level may not call', (machine) => machine.gate(0x40, CODE[0], HANDLER, ACCESS_TRAP_GATE | dpl(2)), { vector: GP, error: IDT_ERROR(0x40) }],
    ['an absent gate of an inner level: privilege first', (machine) => machine.gate(0x40, CODE[0], HANDLER, ACCESS_TRAP_GATE & ~PRESENT), { vector: GP, error: IDT_ERROR(0x40) }],
    ['an absent gate', (machine) => machine.gate(0x40, CODE[0], HANDLER, (ACCESS_TRAP_GATE | dpl(3)) & ~PRESENT), { vector: NP, error: IDT_ERROR(0x40) }],
    ['a null handler', (machine) => machine.gate(0x40, 0, HANDLER, ACCESS_TRAP_GATE | dpl(3)), { vector: GP, error: 0 }],
    ['a handler beyond the GDT', (machine) => machine.gate(0x40, 0x200, HANDLER, ACCESS_TRAP_GATE | dpl(3)), { vector: GP, error: 0x200 }],
    ['a handler in a data segment', (machine) => machine.gate(0x40, DATA[0], HANDLER, ACCESS_TRAP_GATE | dpl(3)), { vector: GP, error: DATA[0] }],
    ['an absent handler', (machine) => machine.segment(CODE[0], 0, 0xf_ffff, ACCESS_CODE & ~PRESENT, FLAGS_FLAT), { vector: NP, error: CODE[0] }],
    ['a TSS that is too short', (machine) => machine.hidden(7, TSS_SELECTOR, TSS, 8, 0x8b), { vector: TS, error: TSS_SELECTOR }],
    ['a null inner stack', (machine) => machine.tableWord(TSS + 8, 0), { vector: TS, error: 0 }],
    ['an inner stack of the wrong level', (machine) => machine.tableWord(TSS + 8, DATA[1]), { vector: TS, error: DATA[1] & ~3 }],
    ['an absent inner stack', (machine) => machine.segment(DATA[0], 0, 0xf_ffff, ACCESS_DATA & ~PRESENT, FLAGS_FLAT), { vector: SS_FAULT, error: DATA[0] }],
    ['an inner stack without room', (machine) => machine.segment(DATA[0], 0, STACKS[0] - 2, ACCESS_DATA, FLAGS_BIG), { vector: SS_FAULT, error: DATA[0] }],
    ['an entry point beyond the limit', (machine) => machine.segment(CODE[0], 0, HANDLER - 1, ACCESS_CODE, FLAGS_BIG), { vector: GP, error: 0 }],
  ])('INT n: %s', (_what, spoil, expected) => {
    const machine = at(3).gate(0x40, CODE[0], HANDLER, ACCESS_TRAP_GATE | dpl(3));
    spoil(machine);
    expect(machine.fault(() => softwareInterrupt(machine.cpu, 0x40))).toEqual(expected);
  });

  it('INT1 is not restrained by the DPL, and its faults carry EXT', () => {
    const machine = at(3).gate(DB, CODE[0], HANDLER, ACCESS_TRAP_GATE);
    softwareInterrupt(machine.cpu, DB, PrivilegedSoftwareException);
    expect(machine.cpu.i32[EIP]).toBe(HANDLER);
    const absent = at(3);
    expect(absent.fault(() => softwareInterrupt(absent.cpu, DB, PrivilegedSoftwareException))).toEqual({ vector: GP, error: DB * 8 + 3 });
  });

  it('INT3 and INTO are restrained', () => {
    const machine = at(3).gate(BP, CODE[0], HANDLER, ACCESS_TRAP_GATE).gate(OF, CODE[0], HANDLER, ACCESS_TRAP_GATE);
    expect(machine.fault(() => softwareInterrupt(machine.cpu, BP, SoftwareException))).toEqual({ vector: GP, error: BP * 8 + 2 });
    expect(machine.fault(() => softwareInterrupt(machine.cpu, OF, SoftwareException))).toEqual({ vector: GP, error: OF * 8 + 2 });
  });

  it('an external interrupt that cannot be delivered becomes a #GP whose error code has EXT', () => {
    const machine = at(0).gate(GP, CODE[0], HANDLER, ACCESS_TRAP_GATE);
    interrupt(machine.cpu, 0x40, ExternalInterrupt, null);
    expect(machine.top(2)).toEqual([0x40 * 8 + 3, 0x5000]);
  });

  it('a task gate stops the machine by name', () => {
    const machine = at(0).gate(0x40, TSS_SELECTOR, 0, ACCESS_TASK_GATE);
    const exit = machine.exit(() => softwareInterrupt(machine.cpu, 0x40));
    expect([exit.reason, exit.qualification, machine.cpu.i32[ACTIVITY]]).toEqual([ExitReason.UnsupportedMode, UnsupportedMode.TaskSwitch, 3]);
  });
});

describe('double and triple faults (SDM Vol. 3A Table 6-5)', () => {
  // First event, and the vector whose handler runs when the first has no gate (a second fault #GP).
  it.each([
    ['benign then #GP: serial', UD, HardwareException, null, GP],
    ['contributory then #GP: double', TS, HardwareException, 0, DF],
    ['divide error then #GP: double', DE, HardwareException, null, DF],
    ['page fault then #GP: double', PF, HardwareException, 2, DF],
    ['#DB then #GP: serial', DB, HardwareException, null, GP],
    ['an external interrupt at a contributory vector is benign', NP, ExternalInterrupt, null, GP],
  ])('%s', (_what, vector, type, errorCode, expected) => {
    const machine = at(0).gate(GP, CODE[0], HANDLER + GP, ACCESS_TRAP_GATE).gate(DF, CODE[0], HANDLER + DF, ACCESS_TRAP_GATE);
    interrupt(machine.cpu, vector, type, errorCode);
    expect(machine.cpu.i32[EIP]).toBe(HANDLER + expected);
    expect(machine.top(1)).toEqual([expected === DF ? 0 : vector * 8 + 3]);
  });

  it('a #GP while delivering #GP is a double fault', () => {
    const machine = at(0).gate(DF, CODE[0], HANDLER, ACCESS_TRAP_GATE);
    interrupt(machine.cpu, UD, HardwareException, null);
    expect([machine.cpu.i32[EIP], machine.top(1)[0]]).toEqual([HANDLER, 0]);
  });

  it('without a #DF handler the processor shuts down', () => {
    const machine = at(0);
    const exit = machine.exit(() => interrupt(machine.cpu, UD, HardwareException, null));
    expect([exit.reason, machine.cpu.i32[ACTIVITY], machine.cpu.stepResult]).toEqual([ExitReason.TripleFault, 2, 6]);
  });

  it('and in non-root operation it exits', () => {
    const machine = new SystemMachine({ nonRoot: true });
    const exit = machine.exit(() => interrupt(machine.cpu, GP, HardwareException, 0));
    expect([exit.reason, machine.cpu.i32[ACTIVITY], machine.cpu.stepResult]).toEqual([ExitReason.TripleFault, 0, 1]);
  });
});

describe('exception bitmap', () => {
  it('exits with vector and error code, before anything is delivered', () => {
    const machine = new SystemMachine({ nonRoot: true, exceptionBitmap: 1 << GP }).gate(GP, CODE[0], HANDLER, ACCESS_TRAP_GATE);
    const exit = machine.exit(() => interrupt(machine.cpu, GP, HardwareException, 8));
    expect([exit.reason, exit.event]).toEqual([ExitReason.ExceptionOrNmi, { vector: GP, type: HardwareException, errorCode: 8 }]);
  });

  it('gives the address of a page fault as qualification', () => {
    const machine = new SystemMachine({ nonRoot: true, exceptionBitmap: 1 << PF });
    machine.cpu.i32[17] = 0xdead_b000 | 0;
    expect(machine.exit(() => interrupt(machine.cpu, PF, HardwareException, 2)).qualification).toBe(0xdead_b000);
  });

  it('sees INT3 but not INT 3, and not what ring -1 injects', () => {
    const machine = new SystemMachine({ nonRoot: true, exceptionBitmap: 1 << BP }).gate(BP, CODE[0], HANDLER, ACCESS_TRAP_GATE);
    expect(machine.exit(() => softwareInterrupt(machine.cpu, BP, SoftwareException)).event?.type).toBe(SoftwareException);
    softwareInterrupt(machine.cpu, BP, SoftwareInterrupt);
    injectEvent(machine.cpu, BP, HardwareException, null);
    expect(machine.cpu.i32[ESP]).toBe(STACKS[0] - 24);
  });

  it('sees the second fault of a delivery', () => {
    const machine = new SystemMachine({ nonRoot: true, exceptionBitmap: 1 << DF });
    const exit = machine.exit(() => injectEvent(machine.cpu, GP, HardwareException, 0));
    expect(exit.event).toEqual({ vector: DF, type: HardwareException, errorCode: 0 });
  });
});

describe('deprivileged guests', () => {
  const guest = (level: number): SystemMachine => new SystemMachine({ nonRoot: true, deprivileged: true }).atLevel(level);

  it('leaves for an exception whose gate is the monitor\'s or missing', () => {
    for (const machine of [guest(1), guest(1).gate(GP, CODE[0], HANDLER, ACCESS_INTERRUPT_GATE)]) {
      const exit = machine.exit(() => interrupt(machine.cpu, GP, HardwareException, 0x18));
      expect([exit.reason, exit.qualification]).toEqual([ExitReason.DeprivilegedException, GP | (3 << 8) | (1 << 11)]);
      expect(exit.event).toEqual({ vector: GP, type: HardwareException, errorCode: 0x18 });
    }
  });

  it('leaves for an external interrupt', () => {
    const machine = guest(3);
    expect(machine.exit(() => interrupt(machine.cpu, 0x20, ExternalInterrupt, null)).qualification).toBe(0x20);
  });

  it('delivers through a gate that leads to ring 1, with ss1:esp1 from the TSS in monitor space', () => {
    const machine = guest(3).gate(0x80, CODE[1], HANDLER, ACCESS_TRAP_GATE | dpl(3));
    softwareInterrupt(machine.cpu, 0x80);
    expect([machine.cpu.i32[CPL], machine.selector(CS), machine.selector(SS), machine.cpu.i32[ESP]]).toEqual([1, CODE[1], DATA[1], STACKS[1] - 20]);
    expect(machine.top(5)).toEqual([0x5000, CODE[3], expect.any(Number), STACKS[3], DATA[3]]);
  });

  it('takes INT 0x82 as a hypercall from the levels that its gate admits', () => {
    const machine = guest(1).gate(0x82, CODE[0], HANDLER, ACCESS_INTERRUPT_GATE | dpl(1));
    expect(machine.exit(() => softwareInterrupt(machine.cpu, 0x82)).reason).toBe(ExitReason.Hypercall);
    machine.atLevel(3);
    expect(machine.fault(() => softwareInterrupt(machine.cpu, 0x82))).toEqual({ vector: GP, error: 0x82 * 8 + 2 });
  });

  it('INT n without a gate is #GP, which is the monitor\'s', () => {
    const machine = guest(3);
    expect(machine.fault(() => softwareInterrupt(machine.cpu, 0x30))).toEqual({ vector: GP, error: 0x30 * 8 + 2 });
    expect(machine.exit(() => interrupt(machine.cpu, GP, HardwareException, 0x30 * 8 + 2)).event?.vector).toBe(GP);
  });

  it('INT3 leaves as a software exception', () => {
    const machine = guest(3).gate(BP, CODE[0], HANDLER, ACCESS_TRAP_GATE | dpl(3));
    expect(machine.exit(() => softwareInterrupt(machine.cpu, BP, SoftwareException)).qualification).toBe(BP | (6 << 8));
  });

  it('a fault while a direct gate is delivered leaves too', () => {
    const machine = guest(3).gate(0x80, CODE[1], HANDLER, ACCESS_TRAP_GATE | dpl(3));
    machine.tableWord(TSS + 16, 0);
    expect(machine.fault(() => softwareInterrupt(machine.cpu, 0x80))).toEqual({ vector: TS, error: 0 });
  });
});

describe('IRET', () => {
  it('returns at the same level and loads every flag at level 0', () => {
    const machine = at(0).frame(0x7777, CODE[0], IF | TF | NT | AC | ID | 0x3000 | 0x8d5);
    iret(machine.cpu, 4);
    expect([machine.cpu.i32[EIP], machine.cpu.i32[ESP], flagsOf(machine)]).toEqual([0x7777, STACKS[0], IF | TF | NT | AC | ID | 0x3000 | 2]);
  });

  it.each([
    ['level 1, IOPL 0: neither IF nor IOPL', 1, 0, AC | 2],
    ['level 1, IOPL 1: IF but not IOPL', 1, 1, AC | IF | 0x1000 | 2],
    ['level 3, IOPL 3', 3, 3, AC | IF | 0x3000 | 2],
  ])('%s', (_what, level, iopl, expected) => {
    const machine = at(level, iopl << 12).frame(0x7777, CODE[level]!, IF | AC | (iopl === 0 ? 0x3000 : 0));
    iret(machine.cpu, 4);
    expect(flagsOf(machine)).toBe(expected);
  });

  it('with 16-bit operands leaves the upper half of EFLAGS', () => {
    const machine = at(0, AC);
    machine.cpu.i32[ESP] = 0x7ffa;
    machine.setHalf(0x7ffa, 0x1234).setHalf(0x7ffc, CODE[0]).setHalf(0x7ffe, IF);
    iret(machine.cpu, 2);
    expect([machine.cpu.i32[EIP], flagsOf(machine), machine.cpu.i32[ESP]]).toEqual([0x1234, AC | IF | 2, 0x8000]);
  });

  it('returns to an outer level by the flag rules of the inner one', () => {
    const machine = at(0).frame(0x7777, CODE[3], IF | 0x3000, 0x7000, DATA[3]);
    iret(machine.cpu, 4);
    expect([machine.cpu.i32[CPL], machine.selector(CS), machine.selector(SS), machine.cpu.i32[ESP], flagsOf(machine)]).toEqual([3, CODE[3], DATA[3], 0x7000, IF | 0x3000 | 2]);
    expect([machine.selector(DS), machine.rights(DS)]).toEqual([0, 0x1_0000]);
  });

  it('keeps the upper half of ESP when the outer stack is 16-bit', () => {
    const machine = at(0).segment(FREE, 0, 0xffff, ACCESS_DATA | dpl(3), 0);
    machine.cpu.i32[ESP] = 0x1_8000;
    machine.frame(0x7777, CODE[3], 2, 0x1234_7000, FREE | 3);
    iret(machine.cpu, 4);
    expect(machine.cpu.i32[ESP]).toBe(0x1_7000);
  });

  it('loads RF with 32-bit operands, at any level', () => {
    const machine = at(3).frame(0x7777, CODE[3], RF);
    iret(machine.cpu, 4);
    expect(flagsOf(machine)).toBe(RF | 2);
  });

  it('stops by name for NT and, at level 0, for VM; at other levels VM is ignored', () => {
    const nested = at(0, NT).frame(0, CODE[0], 2);
    expect(nested.exit(() => iret(nested.cpu, 4)).qualification).toBe(UnsupportedMode.TaskSwitch);
    const virtual = at(0).frame(0, CODE[0], VM);
    expect(virtual.exit(() => iret(virtual.cpu, 4)).qualification).toBe(UnsupportedMode.Virtual8086);
    const user = at(3).frame(0x10, CODE[3], VM);
    iret(user.cpu, 4);
    expect([user.cpu.i32[EIP], flagsOf(user)]).toEqual([0x10, 2]);
  });

  it.each<[string, number[], { vector: number; error: number }]>([
    ['a null CS', [0, 0, 2], { vector: GP, error: 0 }],
    ['an inner level', [0, CODE[0], 2], { vector: GP, error: CODE[0] }],
    ['an absent CS', [0, FREE | 3, 2, 0, DATA[3]], { vector: NP, error: FREE }],
    ['a null SS', [0, CODE[3], 2, 0, 0], { vector: GP, error: 0 }],
  ])('refuses %s', (_what, words, expected) => {
    const machine = at(1).segment(FREE, 0, 0xffff, ACCESS_CODE & ~PRESENT | dpl(3), 0).frame(...words);
    expect(machine.fault(() => iret(machine.cpu, 4))).toEqual(expected);
  });
});
