import { Processor, StepResult } from '@ringside/x86';
import { DIRECTORY, GDT, GDT_LIMIT, IDT, IDT_LIMIT, layOutProgram, TASK, TSS, USER_CODE, USER_DATA } from './program.js';

/**
 * The core of `bench cpu`: runs a static 32-bit Linux program (loops.c) as a ring 3 program of a guest with paging, in the engine that the services use, and
 * says how many million instructions a second it retires.
 */

export interface LoopDefinition {
  readonly loop: string;
  /** argv[1] and argv[2] of the program. */
  readonly selector: string;
  readonly count: number;
}

/** Counts give about half a second each at 70 MIPS. */
export const LOOPS: readonly LoopDefinition[] = [
  { loop: 'integer', selector: 'i', count: 3_000_000 },
  { loop: 'memory', selector: 'm', count: 45 },
  { loop: 'branch', selector: 'b', count: 2_500_000 },
  { loop: 'call', selector: 'c', count: 450 },
  { loop: 'string', selector: 's', count: 20_000 },
];

export interface LoopResult {
  readonly loop: string;
  readonly instructions: number;
  readonly seconds: number;
  readonly mips: number;
  /** Exit status of the program: a checksum. */
  readonly status: number;
}

const RAM = 16 << 20;
const MOST_INSTRUCTIONS = 20e9;
const SLICE = 100_000;

/** A bare processor that stands in ring 3 at the program's entry point; `int 0x80` stops it. */
export function loadProgram(elf: Uint8Array, args: readonly string[]): Processor {
  const processor = new Processor({ ramBytes: RAM });
  const { entry, stack } = layOutProgram(processor, elf, args);
  processor.setTable('gdtr', { base: GDT, limit: GDT_LIMIT, space: 'guest' });
  processor.setTable('idtr', { base: IDT, limit: IDT_LIMIT, space: 'guest' });
  processor.setSegment('tr', { selector: TASK, base: TSS, limit: 0x67, rights: 0x8b });
  processor.setSegment('cs', { selector: USER_CODE, base: 0, limit: 0xffff_ffff, rights: 0xc0fb });
  for (const name of ['ss', 'ds', 'es'] as const) processor.setSegment(name, { selector: USER_DATA, base: 0, limit: 0xffff_ffff, rights: 0xc0f3 });
  processor.setRegister('cpl', 3);
  processor.setRegister('cr3', DIRECTORY);
  processor.setRegister('cr0', 0x8001_0011);
  processor.setRegister('esp', stack);
  processor.setRegister('eip', entry);
  return processor;
}

/** Run a loaded program to its exit; `now` is a clock in seconds. */
export function runProgram(processor: Processor, now: () => number): { instructions: number; seconds: number; status: number } {
  const start = now();
  while (processor.retired < MOST_INSTRUCTIONS) {
    const result = processor.step(SLICE);
    if (result === StepResult.Halted) return { instructions: processor.retired, seconds: now() - start, status: processor.getRegister('ebx') };
    if (result !== StepResult.Budget) throw new Error(`the program stopped with step result ${result} at EIP 0x${processor.getRegister('eip').toString(16)}`);
  }
  throw new Error('the program does not end');
}

/** One program, best of `repeat` runs after one that warms up the engine. */
export function benchProgram(elf: Uint8Array, program: { loop: string; args: readonly string[]; warmUp: readonly string[] }, repeat: number, now: () => number): LoopResult {
  runProgram(loadProgram(elf, ['loops', ...program.warmUp]), now);
  let best: ReturnType<typeof runProgram> | null = null;
  for (let n = 0; n < repeat; n++) {
    const run = runProgram(loadProgram(elf, ['loops', ...program.args]), now);
    if (best === null || run.seconds < best.seconds) best = run;
  }
  const { instructions, seconds, status } = best!;
  return { loop: program.loop, instructions, seconds, mips: instructions / seconds / 1e6, status };
}

/** Geometric mean of the loops' MIPS. */
export function geometricMean(results: readonly LoopResult[]): number {
  return Math.exp(results.reduce((sum, { mips }) => sum + Math.log(mips), 0) / results.length);
}
