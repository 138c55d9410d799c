import { farCall, farJump, farReturn } from './control-transfer.js';
import type { Cpu } from './cpu.js';
import { EXIT } from './fault.js';
import { ExitReason } from './exit-reason.js';
import { interrupt, iret, softwareInterrupt } from './interrupts.js';
import { loadSegment } from './segmentation.js';
import { CPL, CS, DS, EFLAGS_SYSTEM, EIP, ES, ESP, FS, GS, RIGHTS_UNUSABLE, SS } from './state.js';
import { EventType } from './step.js';
import { Random } from './testing/random.js';
import { CODE, DATA, FREE, GDT, IDT, LDT, SystemMachine, TSS } from './testing/system-machine.js';

/*
 * Random tables, random transfers: whatever a guest puts into its descriptors, a transfer either faults and changes nothing
 * (`SystemMachine.fault` compares all of it) or leaves a processor whose privilege state is sound.
 */
const CASES = 1000;

/** Descriptor words that are often nearly right: a plausible access byte, sometimes any. */
function randomDescriptor(random: Random): [number, number] {
  const plausible = [0x9a, 0x9e, 0x92, 0x96, 0x90, 0x98, 0x9c, 0x8c, 0x84, 0x8e, 0x8f, 0x86, 0x87, 0x89, 0x82, 0x85];
  const access = random.oneIn(8) ? random.u32() & 0xff : random.pick(plausible) | (random.below(4) << 5);
  const absent = random.oneIn(10) ? 0x80 : 0;
  const limit = random.pick([0xf_ffff, 0xffff, 0xfff, 0, 0x7fff]);
  const high = ((access & ~absent) << 8) | (limit & 0xf_0000) | (random.below(16) << 20) | (random.oneIn(3) ? random.u32() & 0xff00_00ff : 0);
  const selector = randomSelector(random);
  return [random.oneIn(2) ? (selector << 16) | (random.u32() & 0xffff) : limit & 0xffff, high];
}

function randomSelector(random: Random): number {
  if (random.oneIn(12)) return random.below(4);
  if (random.oneIn(12)) return random.u32() & 0xffff;
  const known = [...CODE, ...DATA];
  return random.oneIn(2) ? random.pick(known) : (FREE + 8 * random.below(19)) | random.below(8);
}

function scramble(machine: SystemMachine, random: Random): void {
  for (let selector = FREE; selector < 0x100; selector += 8) {
    const [low, high] = randomDescriptor(random);
    machine.tableWord(GDT + selector, low);
    machine.tableWord(GDT + selector + 4, high);
  }
  for (let at = 0; at < 0x40; at += 8) {
    const [low, high] = randomDescriptor(random);
    machine.tableWord(LDT + at, low);
    machine.tableWord(LDT + at + 4, high);
  }
  for (let vector = 0; vector < 0x20; vector++) {
    const [low, high] = randomDescriptor(random);
    machine.tableWord(IDT + 8 * vector, low);
    machine.tableWord(IDT + 8 * vector + 4, high);
  }
  for (let level = 0; level < 3; level++) machine.tableWord(TSS + 8 + 8 * level, random.oneIn(3) ? randomSelector(random) : DATA[level]!);
}

const ACTS: readonly ((cpu: Cpu, random: Random, machine: SystemMachine) => void)[] = [
  (cpu, random) => loadSegment(cpu, random.pick([DS, ES, FS, GS, SS]), randomSelector(random)),
  (cpu, random) => farJump(cpu, randomSelector(random), random.operand(), random.oneIn(2) ? 2 : 4),
  (cpu, random) => farCall(cpu, randomSelector(random), random.operand(), random.oneIn(2) ? 2 : 4),
  (cpu, random) => farReturn(cpu, 4, random.below(4) * 4),
  (cpu) => iret(cpu, 4),
  (cpu, random) => softwareInterrupt(cpu, random.below(0x22)),
  (cpu, random) => interrupt(cpu, random.below(0x22), random.oneIn(2) ? EventType.ExternalInterrupt : EventType.HardwareException, random.oneIn(2) ? null : random.below(0x1_0000)),
];

/** SDM Vol. 3A 5.5: what holds of the segment registers of any running program. */
function expectSound(machine: SystemMachine): void {
  const { cpu } = machine;
  const level = cpu.i32[CPL]!;
  expect(machine.selector(CS) & 3).toBe(level);
  expect(machine.selector(SS) & 3).toBe(level);
  const code = machine.rights(CS), stack = machine.rights(SS);
  expect(code & 0x1_0099).toBe(0x99); // present code, accessed
  const codeLevel = (code >>> 5) & 3;
  if ((code & 4) === 0) expect(codeLevel).toBe(level);
  else expect(codeLevel).toBeLessThanOrEqual(level);
  expect(stack & 0x1_00fb).toBe(0x93 | (level << 5)); // present writable data of this level, accessed
  for (const segment of [DS, ES, FS, GS]) {
    const rights = machine.rights(segment);
    if ((rights & RIGHTS_UNUSABLE) !== 0) continue;
    const conformingCode = (rights & 0xc) === 0xc;
    if (!conformingCode) expect((rights >>> 5) & 3).toBeGreaterThanOrEqual(level);
    expect(rights & 0x91).toBe(0x91);
    expect(rights & 0xa).not.toBe(8); // execute-only
  }
  expect(cpu.i32[EFLAGS_SYSTEM]! & 0x2_0002).toBe(2);
}

it.each([{}, { nonRoot: true, deprivileged: true }])(`${CASES} random transfers are refused without a trace or end in a sound state (%o)`, (controls) => {
  const random = new Random(0x5a5a);
  const machine = new SystemMachine(controls);
  let completed = 0, refused = 0, left = 0;
  for (let n = 0; n < CASES; n++) {
    const level = controls.deprivileged === true ? 1 + random.below(3) : random.below(4);
    machine.atLevel(level).iopl(random.below(4));
    if (n % 8 === 0) scramble(machine, random);
    const stack = random.oneIn(2) ? [random.u32(), randomSelector(random), random.u32() & 0x1_4fff, random.below(0x1_0000), randomSelector(random)] : [0x5000, CODE[3], 0x202, 0x7000, DATA[3]];
    machine.frame(...stack);
    const esp = machine.cpu.i32[ESP]!;
    try {
      const fault = machine.fault(() => random.pick(ACTS)(machine.cpu, random, machine));
      if (fault === null) {
        completed++;
        expectSound(machine);
      } else {
        refused++;
        expect([machine.cpu.i32[CPL], machine.cpu.i32[EIP], machine.cpu.i32[ESP]]).toEqual([level, 0x5000, esp]);
      }
    } catch (thrown) {
      if (thrown !== EXIT) throw thrown;
      left++;
      const allowed = [ExitReason.UnsupportedMode, ExitReason.TripleFault, ExitReason.DeprivilegedException] as number[];
      expect(allowed).toContain(machine.cpu.exit.reason);
      expect([machine.cpu.i32[CPL], machine.cpu.i32[EIP]]).toEqual([level, 0x5000]);
    }
    if (controls.deprivileged === true) expect(machine.cpu.i32[CPL]).toBeGreaterThan(0);
  }
  expect(Math.min(completed, refused, left)).toBeGreaterThan(CASES / 50);
});
