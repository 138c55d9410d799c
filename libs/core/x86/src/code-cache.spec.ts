import { codeWritten, MOST_PAGES } from './code-cache.js';
import { RAM_BASE } from './cpu.js';
import { Processor } from './processor.js';
import { StepResult } from './step.js';
import { ACTIVITY } from './state.js';
import { CODE, Guest, HLT, word } from './testing/guest.js';

/** What is remembered of code, and forgotten. Behaviour under self-modification is in processor.spec.ts. */

const INC_EAX = 0x40;

it('watches 32-byte chunks that hold instructions, until they are written', () => {
  const guest = new Guest().code(CODE, INC_EAX);
  const { cpu } = guest.processor;
  const page = (RAM_BASE + CODE) >>> 12;
  expect(cpu.code.pageFlags[page]).toBe(0);
  guest.run();
  expect(cpu.code.pageFlags[page]).toBe(1);
  codeWritten(cpu, RAM_BASE + CODE + 64, 100);
  expect(cpu.code.pageFlags[page]).toBe(1);
  codeWritten(cpu, RAM_BASE + CODE - 1, 3); // begins in the page before
  expect(cpu.code.pageFlags[page]).toBe(0);
  expect(cpu.code.chunks.has(page)).toBe(false);
});

it('lets writes be fast again in a page that holds no code any more', () => {
  // Code on a page of its own runs, is overwritten with data by the guest, and never executed again.
  const guest = new Guest().code(0x8000, 0xc3).code(CODE, 0xe8, ...word(0x8000 - CODE - 5), 0xc6, 0x05, ...word(0x8000), 0, 0xc6, 0x05, ...word(0x8000), 1);
  expect(guest.run()).toBe(StepResult.Halted);
  const { cpu } = guest.processor;
  const entry = 0x4000 + 8 * 4;
  expect([cpu.i32[entry + 1], cpu.u8[RAM_BASE + 0x8000]]).toEqual([0x8000, 1]);
});

it('grows, and starts anew when it is full, in the middle of execution', () => {
  // Jump through far more code than the cache holds at its largest: pages of NOPs ended by a jump, written again and again.
  const processor = new Processor({ ramBytes: 0x20_0000 });
  const { cpu } = processor;
  const first = 0x1_0000, pages = 0x1e0;
  for (let n = 0; n < pages; n++) {
    const code = new Uint8Array(4096).fill(0x90);
    code.set(n === pages - 1 ? [HLT] : [INC_EAX], 4094);
    processor.writePhysical('guest', first + n * 4096, code);
  }
  for (let round = 0; round < 2; round++) {
    processor.setRegister('eip', first);
    processor.setRegister('eax', 0);
    cpu.i32[ACTIVITY] = 0;
    expect(processor.step(10_000_000)).toBe(StepResult.Halted);
    expect([processor.getRegister('eax'), processor.retired]).toEqual([pages - 1, (round + 1) * (pages * 4096 - 1)]);
  }
  expect(cpu.code.generation).toBeGreaterThan(0);
  expect(cpu.code.slots.length).toBeLessThanOrEqual(1 << 22);
});

it('does not grow with a guest that executes everywhere', () => {
  const processor = new Processor({ ramBytes: 0x100_0000 });
  const { code } = processor.cpu;
  const pages = MOST_PAGES + 500;
  for (let n = 0; n < pages; n++) {
    const at = 0x1_0000 + n * 4096;
    processor.writePhysical('guest', at, n === pages - 1 ? Uint8Array.of(HLT) : Uint8Array.of(INC_EAX, 0xe9, ...word(4096 - 6))); // on to the next page
  }
  processor.setRegister('eip', 0x1_0000);
  expect(processor.step(1_000_000)).toBe(StepResult.Halted);
  expect(processor.getRegister('eax')).toBe(pages - 1);
  expect(code.pages.size).toBeLessThanOrEqual(MOST_PAGES);
});
