import { setFlagsFromString } from 'node:v8';
import { hostileGuest, hostilePvGuest, type HostileMode } from '@ringside/guests';
import type { VmSpec } from '@ringside/machine';
import { RAM_BASE } from '@ringside/x86';
import { SingleProcess, specOf } from './single-process.js';
import { nativeUntilStale } from './testing/native-until-stale.js';

// A fault that unwinds through the run loop while V8 has it in baseline code costs 50 µs: its offset table is walked from the start.
setFlagsFromString('--no-sparkplug');

/**
 * Random code against the whole machine: processor, ring -1 and board. Whatever it does, the machine ends in a named state with a sentence
 * that says why, within its budget. Every path that runs an unmodified kernel passes through the same states, registers, memory and time alike.
 */
const SEEDS = process.env.RINGSIDE_LONG === '1' ? 10_000 : 200;
const MODE_SEEDS = process.env.RINGSIDE_LONG === '1' ? 200 : 1;
/** The first 900 or so build the page table. */
const INSTRUCTIONS = process.env.RINGSIDE_LONG === '1' ? 12_000 : 2_000;
const MEMORY_MIB = 4;

const PATHS: Record<string, Partial<VmSpec>> = {
  'hardware-assisted with nested paging': { path: 'hardware-assisted', mmu: 'nested' },
  'hardware-assisted with shadow paging': { path: 'hardware-assisted', mmu: 'shadow' },
  'binary-translation': { path: 'binary-translation', mmu: 'shadow', guestKernelRing: 1 },
};
const PARAVIRT: Partial<VmSpec> = { path: 'paravirt', mmu: 'direct', guestKernelRing: 1 };

/** How a run may end. Never 'unreachable', and 'crashed' only where ring -1 says what rule of the ABI the guest broke. */
const ENDINGS = new Set(['paused', 'halted', 'shutdown', 'triple-fault', 'unsupported-mode']);

async function run(image: Uint8Array, spec: Partial<VmSpec>, instructions = INSTRUCTIONS): Promise<SingleProcess> {
  const whole = await SingleProcess.create({ spec: specOf({ memoryMiB: MEMORY_MIB, ...spec }), image });
  await whole.machine.step({ instructions });
  return whole;
}

/** Not CR0 and CR4, which hold the monitor's bits on a deprivileged path. */
const REGISTERS = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi', 'eip', 'cr2'] as const;
const visible = ({ machine: { processor, state, why, stateHash } }: SingleProcess): Record<string, unknown> => ({
  translated: processor.leaveTranslatedCode(),
  state, why, retired: processor.retired, time: processor.virtualTime, hash: stateHash!.value, samples: stateHash!.samples,
  registers: REGISTERS.map((name) => processor.getRegister(name)),
});
const ram = ({ machine: { processor } }: SingleProcess): Buffer => Buffer.from(processor.cpu.memory.buffer, RAM_BASE, processor.cpu.ramBytes);

const median = (numbers: number[]): number => [...numbers].sort((a, b) => a - b)[numbers.length >> 1] ?? 0;

/** Run a guest on `paths` and natively, to the first use of a stale TLB entry; how many instructions that was. */
async function passesThroughNativesStates(image: Uint8Array, what: string, most: number, paths: readonly string[]): Promise<number> {
  const { native, instructions } = await nativeUntilStale(image, { memoryMiB: MEMORY_MIB, hashStates: true }, most);
  if (!ENDINGS.has(native.machine.state)) throw new Error(`${what}: ${native.machine.state}: ${native.machine.why}`);
  expect(native.machine.why).not.toBe('');
  for (const path of paths) {
    const other = await run(image, { ...PATHS[path], hashStates: true }, instructions);
    expect({ what, path, ...visible(other) }).toEqual({ what, path, ...visible(native) });
    if (ram(native).compare(ram(other)) !== 0) throw new Error(`${what}: memory differs between native and ${path}`);
  }
  return native.machine.processor.retired;
}

/** Where else than in flat 32-bit code a guest may run. */
const MODES: Record<string, HostileMode> = {
  'ring 1': { ring: 1 }, 'ring 2': { ring: 2 }, '16-bit code': { code: 'narrow' }, 'code behind a limit': { code: 'limited' }, 'conforming code': { code: 'conforming' },
  'ring 1 with a 16-bit stack': { ring: 1, stack: 'narrow' }, 'ring 3 with a 16-bit stack': { stack: 'narrow' }, 'single steps': { debug: 'step' }, 'ring 2, stepped': { ring: 2, debug: 'step' },
  'breakpoints': { debug: 'breakpoints' }, 'a ticking timer': { ticks: true }, 'ring 1, ticking': { ring: 1, ticks: true }, '16-bit code, stepped and ticking': { code: 'narrow', debug: 'step', ticks: true },
};

describe('hostile guests on every path', () => {
  it(`all that run an unmodified kernel, ${SEEDS} seeds: a named end, and native's states up to it`, async () => {
    const retired: number[] = [];
    for (let seed = 0; seed < SEEDS; seed++) retired.push(await passesThroughNativesStates(hostileGuest(seed).image, `seed ${seed}`, INSTRUCTIONS, Object.keys(PATHS)));
    expect(median(retired)).toBeGreaterThanOrEqual(1000);
  }, 3_600_000);

  it.each(Object.entries(MODES))(`native’s states under binary translation: %s, ${MODE_SEEDS} seeds`, async (name, mode) => {
    for (let seed = 0; seed < MODE_SEEDS; seed++) await passesThroughNativesStates(hostileGuest(seed, mode).image, `${name}, seed ${seed}`, INSTRUCTIONS, ['binary-translation']);
  }, 3_600_000);

  it(`paravirt, ${SEEDS} seeds of random instructions and hypercalls: a named end`, async () => {
    const retired: number[] = [];
    let hypercalls = 0;
    for (let seed = 0; seed < SEEDS; seed++) {
      const { machine } = await run(hostilePvGuest(seed).image, PARAVIRT);
      if (!ENDINGS.has(machine.state) && machine.state !== 'crashed') throw new Error(`seed ${seed}: ${machine.state}: ${machine.why}`);
      // An error of ours would show as a message that no rule of the ABI has.
      expect(machine.why).toMatch(PV_REASONS);
      retired.push(machine.processor.retired);
      hypercalls += machine.statistics().exits.hypercall?.count ?? 0;
    }
    expect(median(retired)).toBeGreaterThanOrEqual(1000);
    expect(hypercalls).toBeGreaterThan(10 * SEEDS);
  }, 3_600_000);
});

/** What a PV guest can have done to itself; an exception of the program (a TypeError, say) matches none. */
const PV_REASONS = /^(stepped|halted|the guest|the iret hypercall|SCHEDOP)/;
