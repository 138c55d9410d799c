import { RAM_BASE } from './cpu.js';
import { NO_CONTROLS, type ExecutionControls } from './execution-controls.js';
import { Processor } from './processor.js';
import { ACTIVITY } from './state.js';
import { StepResult } from './step.js';
import { CODE, Guest, USER_CODE, handler } from './testing/guest.js';
import { Random } from './testing/random.js';

/*
 * However a run is cut into steps (all at once, one instruction at a time, at random, with an observer that looks at every
 * instruction), the guest passes through the same states: registers, memory, counters, exits. Code is random bytes
 * with handlers that skip a byte and go on, so that every kind of fault, exit and self-modification comes up.
 */
const BUDGET = 1500;
const SEEDS = 5;
const { imul } = Math;

/** Bytes that more often than not are instructions which do something. */
const LIKELY = [0x00, 0x01, 0x03, 0x05, 0x0f, 0x11, 0x13, 0x29, 0x31, 0x39, 0x3c, 0x40, 0x41, 0x43, 0x46, 0x48, 0x4f, 0x50, 0x53, 0x58, 0x5b, 0x60, 0x61, 0x66, 0x67, 0x69, 0x6b, 0x74, 0x75, 0x83, 0x84, 0x88, 0x89, 0x8a, 0x8b, 0x8d,
  0x8e, 0x90, 0x9c, 0x9d, 0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xae, 0xb0, 0xb8, 0xb9, 0xc1, 0xc6, 0xcd, 0xd1, 0xd3, 0xe2, 0xe4, 0xe6, 0xe8, 0xeb, 0xec, 0xf2, 0xf3, 0xf6, 0xf7, 0xfa, 0xfb, 0xff, 0xa2, 0x1e, 0x1f, 0x06, 0x07];

function prepare(seed: number, level: 0 | 3, controls: Partial<ExecutionControls>): Guest {
  const random = new Random(seed);
  const guest = new Guest(controls);
  const { processor } = guest;
  const withErrorCode = new Set([8, 10, 11, 12, 13, 14, 17]);
  for (let vector = 0; vector < 0x100; vector++) {
    guest.gate(vector, 0x08, handler(vector), random.oneIn(3) ? 0xef : 0xee);
    // [add esp,4;] inc dword [esp]; iret
    processor.writePhysical('guest', handler(vector), Uint8Array.from([...(vector < 32 && withErrorCode.has(vector) ? [0x83, 0xc4, 4] : []), 0xff, 0x04, 0x24, 0xcf]));
  }
  guest.memory(0x1_0000, 0x1_1027, 0x1_2027);
  for (let page = 0; page < 0x40; page++) guest.memory(0x1_1000 + 4 * page, (page << 12) | (page < 5 ? 0x63 : random.oneIn(12) ? 0 : random.oneIn(8) ? 0x65 : 0x67));
  for (const page of [4, 5, 6, 7, 8, 9, 0x10, 0x11]) guest.memory(0x1_1000 + 4 * page, (page << 12) | 0x67);
  const code = Uint8Array.from({ length: 0x1000 }, () => (random.oneIn(5) ? random.u32() & 0xff : random.pick(LIKELY)));
  processor.writePhysical('guest', level === 0 ? CODE : USER_CODE, code);
  guest.at(level);
  for (const name of ['eax', 'ecx', 'edx', 'ebx', 'ebp', 'esi', 'edi'] as const) processor.setRegister(name, random.oneIn(2) ? 0x5000 + random.below(0x8000) : random.below(0x40));
  processor.setRegister('cr3', 0x1_0000);
  processor.setRegister('cr0', 0x8001_0011 | 0);
  processor.flushTlb('all');
  return guest;
}

function digest(processor: Processor): string {
  const { cpu } = processor;
  let hash = 0x811c_9dc5;
  const words = cpu.i32.subarray(RAM_BASE >>> 2);
  const { length } = words;
  for (let n = 0; n < length; n++) hash = imul(hash ^ words[n]!, 0x0100_0193);
  const names = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi', 'eip', 'eflags', 'cr0', 'cr2', 'cr3', 'cpl'] as const;
  const segments = (['es', 'cs', 'ss', 'ds', 'fs', 'gs'] as const).map((name) => processor.getSegment(name).selector);
  return JSON.stringify([hash, names.map((name) => processor.getRegister(name).toString(16)), segments, processor.retired, processor.executed, processor.virtualTime]);
}

/** Run to BUDGET in steps of the sizes given; answers accesses with ones and exits by going on. Returns what happened. */
function run(guest: Guest, size: () => number): string[] {
  const { processor } = guest;
  const events: string[] = [];
  let returns = 0;
  while (processor.retired < BUDGET && returns++ < 20_000) {
    const result = processor.step(Math.min(size(), BUDGET - processor.retired));
    const { exit } = processor;
    if (result === StepResult.Budget || result === StepResult.Mark) continue;
    events.push(`${processor.retired} ${processor.getRegister('eip').toString(16)} ${result} ${result === StepResult.Exit ? `${exit.reason} ${exit.qualification}` : ''}`);
    if (result === StepResult.Stopped) break;
    if (result === StepResult.Halted) {
      processor.setRegister('eflags', processor.getRegister('eflags') | 0x200);
      processor.deliverInterrupt(0x20);
    } else if (result === StepResult.Exit || result === StepResult.BusCycle) {
      if (exit.access !== null) processor.completeAccess(exit.access.write ? null : new Uint8Array(exit.access.size * exit.access.count).fill(0xff));
      else processor.retireExit();
    }
  }
  return events;
}

it.each<[string, 0 | 3, Partial<ExecutionControls>]>([
  ['ring 0', 0, {}], ['ring 3', 3, {}], ['ring 0 in non-root operation', 0, { ...NO_CONTROLS, nonRoot: true, ioExiting: 'all', msrExiting: 'all', hltExiting: true, rdtscExiting: true, invlpgExiting: true }],
])('%s: any cutting of a run gives the same run', (_name, level, controls) => {
  let retired = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const whole = prepare(seed, level, controls);
    const events = run(whole, () => BUDGET);
    const expected = digest(whole.processor);
    retired += whole.processor.retired;
    const random = new Random(seed ^ 0x77);
    const cuttings: [string, Guest, () => number][] = [['one by one', prepare(seed, level, controls), () => 1], ['at random', prepare(seed, level, controls), () => 1 + random.below(40)]];
    const observed = prepare(seed, level, controls);
    observed.processor.setObserver(() => undefined);
    cuttings.push(['observed', observed, () => BUDGET]);
    for (const [name, guest, size] of cuttings) {
      const itsEvents = run(guest, size);
      expect([seed, name, itsEvents]).toEqual([seed, name, events]);
      expect([seed, name, digest(guest.processor)]).toEqual([seed, name, expected]);
      expect(guest.processor.cpu.i32[ACTIVITY]).toBe(whole.processor.cpu.i32[ACTIVITY]);
    }
  }
  expect(retired).toBeGreaterThan(SEEDS * 200);
});
