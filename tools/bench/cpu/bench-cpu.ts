import { Processor, StepResult } from '@ringside/x86';

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

const PAGE = 4096;
const RAM = 16 << 20;
const GDT = 0x1000, IDT = 0x2000, TSS = 0x3000, STUB = 0x4000, KERNEL_STACK = 0x6000, DIRECTORY = 0x7000, TABLES = 0x8000, FIRST_FREE = 0x40000;
const USER_STACK = 0xbfff_f000;
const USER_CODE = 0x1b, USER_DATA = 0x23, KERNEL_CODE = 0x08, TASK = 0x28;
const SYSTEM_CALL = 0x80;
const PRESENT_WRITABLE_USER = 7;
const MOST_INSTRUCTIONS = 20e9;
const SLICE = 100_000;

/** A guest that stands in ring 3 at the program's entry point; `int 0x80` stops it. */
export function loadProgram(elf: Uint8Array, args: readonly string[]): Processor {
  const processor = new Processor({ ramBytes: RAM });
  const memory = new Words(processor);
  // Flat segments for levels 0 and 3, a TSS with the level 0 stack, one gate that user code may call, and a HLT behind it.
  memory.write(GDT + 8, 0x0000ffff, 0x00cf9b00, 0x0000ffff, 0x00cf9300, 0x0000ffff, 0x00cffb00, 0x0000ffff, 0x00cff300, (TSS << 16) | 0x67, 0x00008b00 | (TSS >>> 16));
  memory.write(IDT + SYSTEM_CALL * 8, (KERNEL_CODE << 16) | STUB, 0x0000ee00);
  memory.write(TSS + 4, KERNEL_STACK, 0x10);
  processor.writePhysical('guest', STUB, Uint8Array.of(0xf4));
  let free = FIRST_FREE;
  let tables = TABLES;
  const map = (linear: number): number => {
    const entry = DIRECTORY + (linear >>> 22) * 4;
    if (memory.read(entry) === 0) {
      memory.write(entry, tables | PRESENT_WRITABLE_USER);
      tables += PAGE;
    }
    const slot = (memory.read(entry) & ~0xfff) + ((linear >>> 12) & 0x3ff) * 4;
    if (memory.read(slot) === 0) {
      memory.write(slot, free | PRESENT_WRITABLE_USER);
      free += PAGE;
    }
    return memory.read(slot) & ~0xfff;
  };
  for (let page = 0; page < FIRST_FREE; page += PAGE) {
    const entry = DIRECTORY;
    if (memory.read(entry) === 0) {
      memory.write(entry, tables | PRESENT_WRITABLE_USER);
      tables += PAGE;
    }
    memory.write((memory.read(entry) & ~0xfff) + (page >>> 12) * 4, page | 3);
  }
  const view = new DataView(elf.buffer, elf.byteOffset, elf.byteLength);
  const headers = view.getUint32(28, true);
  for (let n = 0; n < view.getUint16(44, true); n++) {
    const at = headers + n * view.getUint16(42, true);
    if (view.getUint32(at, true) !== 1) continue; // PT_LOAD
    const [offset, linear, , inFile, inMemory] = [4, 8, 12, 16, 20].map((field) => view.getUint32(at + field, true)) as [number, number, number, number, number];
    for (let byte = 0; byte < inMemory;) {
      const frame = map(linear + byte);
      const within = (linear + byte) & 0xfff;
      const length = Math.min(PAGE - within, inMemory - byte);
      if (byte < inFile) processor.writePhysical('guest', frame + within, elf.subarray(offset + byte, offset + Math.min(byte + length, inFile)));
      byte += length;
    }
  }
  for (let page = 1; page <= 16; page++) map(USER_STACK - page * PAGE);
  const stack = pushArguments(processor, map(USER_STACK - PAGE), args);
  processor.setTable('gdtr', { base: GDT, limit: 0x2f, space: 'guest' });
  processor.setTable('idtr', { base: IDT, limit: 0x7ff, space: 'guest' });
  processor.setSegment('tr', { selector: TASK, base: TSS, limit: 0x67, rights: 0x8b });
  processor.setSegment('cs', { selector: USER_CODE, base: 0, limit: 0xffff_ffff, rights: 0xc0fb });
  for (const name of ['ss', 'ds', 'es'] as const) processor.setSegment(name, { selector: USER_DATA, base: 0, limit: 0xffff_ffff, rights: 0xc0f3 });
  processor.setRegister('cpl', 3);
  processor.setRegister('cr3', DIRECTORY);
  processor.setRegister('cr0', 0x8001_0011);
  processor.setRegister('esp', stack);
  processor.setRegister('eip', view.getUint32(24, true));
  return processor;
}

/** argc and argv as the System V ABI lays them on the stack; `frame` is the top stack page. Returns ESP. */
function pushArguments(processor: Processor, frame: number, args: readonly string[]): number {
  const page = new Uint8Array(PAGE);
  const view = new DataView(page.buffer);
  let text = PAGE;
  const pointers = args.map((argument) => {
    const bytes = new TextEncoder().encode(`${argument}\0`);
    text -= bytes.length;
    page.set(bytes, text);
    return USER_STACK - PAGE + text;
  });
  const at = (text & ~15) - 4 * (args.length + 3);
  [args.length, ...pointers, 0, 0].forEach((word, n) => view.setUint32(at + n * 4, word, true));
  processor.writePhysical('guest', frame, page);
  return USER_STACK - PAGE + at;
}

class Words {
  constructor(private readonly processor: Processor) {}
  read(at: number): number {
    return new DataView(this.processor.readPhysical('guest', at, 4).buffer).getInt32(0, true);
  }
  write(at: number, ...words: number[]): void {
    this.processor.writePhysical('guest', at, new Uint8Array(Int32Array.from(words).buffer));
  }
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
