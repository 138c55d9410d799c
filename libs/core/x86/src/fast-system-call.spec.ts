import { sysenter, sysexit } from './fast-system-call.js';
import { GP } from './fault.js';
import { CPL, CS, ECX, EDX, EFLAGS_SYSTEM, EIP, ESP, SS, SYSENTER_CS, SYSENTER_EIP, SYSENTER_ESP } from './state.js';
import { SystemMachine } from './testing/system-machine.js';

const refused = { vector: GP, error: 0 };
function prepared(level: number): SystemMachine {
  const machine = new SystemMachine().atLevel(level);
  const { i32 } = machine.cpu;
  [i32[SYSENTER_CS], i32[SYSENTER_ESP], i32[SYSENTER_EIP]] = [0x63, 0x7f00, 0x6000];
  return machine;
}

describe('SYSENTER and SYSEXIT', () => {
  it('goes to level 0 with flat segments and IF clear, and comes back', () => {
    const machine = prepared(3);
    const { i32 } = machine.cpu;
    i32[EFLAGS_SYSTEM] = 0x202;
    sysenter(machine.cpu);
    expect([i32[CPL], machine.selector(CS), machine.selector(SS), i32[EIP], i32[ESP], i32[EFLAGS_SYSTEM]]).toEqual([0, 0x60, 0x68, 0x6000, 0x7f00, 2]);
    expect([machine.rights(CS), machine.rights(SS), machine.limit(CS), machine.base(SS)]).toEqual([0xc09b, 0xc093, -1, 0]);
    [i32[EDX], i32[ECX]] = [0x1234, 0x5678];
    sysexit(machine.cpu);
    expect([i32[CPL], machine.selector(CS), machine.selector(SS), i32[EIP], i32[ESP]]).toEqual([3, 0x73, 0x7b, 0x1234, 0x5678]);
    expect([machine.rights(CS), machine.rights(SS)]).toEqual([0xc0fb, 0xc0f3]);
  });

  it.each([0, 3])('raises #GP(0) while IA32_SYSENTER_CS is null (%i)', (selector) => {
    const machine = prepared(0);
    machine.cpu.i32[SYSENTER_CS] = selector;
    expect(machine.fault(() => sysenter(machine.cpu))).toEqual(refused);
    expect(machine.fault(() => sysexit(machine.cpu))).toEqual(refused);
  });

  it('SYSEXIT is for level 0', () => {
    for (const level of [1, 2, 3]) {
      const machine = prepared(level);
      expect(machine.fault(() => sysexit(machine.cpu))).toEqual(refused);
    }
  });

  it('a deprivileged guest does not reach level 0', () => {
    const machine = new SystemMachine({ nonRoot: true, deprivileged: true }).atLevel(3);
    machine.cpu.i32[SYSENTER_CS] = 0x60;
    expect(machine.fault(() => sysenter(machine.cpu))).toEqual(refused);
  });
});
