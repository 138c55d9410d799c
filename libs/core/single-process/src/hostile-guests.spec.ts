import { setFlagsFromString } from 'node:v8';
import { hostileGuest, hostilePvGuest } from '@ringside/guests';
import type { VmSpec } from '@ringside/machine';
import { RAM_BASE } from '@ringside/x86';
import { SingleProcess, specOf } from './single-process.js';

// A fault that unwinds through the run loop while V8 has it in baseline code costs 50 µs: its offset table is walked from the start.
setFlagsFromString('--no-sparkplug');

/**
 * Random code against the whole machine: processor, ring -1 and board. Whatever it does, the machine ends in a named state with a sentence
 * that says why, within its budget, and `native` and `hardware-assisted` do the same.
 */
const SEEDS = process.env.RINGSIDE_LONG === '1' ? 10_000 : 200;
const INSTRUCTIONS = 12_000;
const MEMORY_MIB = 4;

const NATIVE: Partial<VmSpec> = { memoryMiB: MEMORY_MIB };
const HARDWARE: Partial<VmSpec> = { memoryMiB: MEMORY_MIB, path: 'hardware-assisted', mmu: 'nested' };
const PARAVIRT: Partial<VmSpec> = { memoryMiB: MEMORY_MIB, path: 'paravirt', mmu: 'direct', guestKernelRing: 1 };

/** How a run may end. Never 'unreachable', and 'crashed' only where ring -1 says what rule of the ABI the guest broke. */
const ENDINGS = new Set(['paused', 'halted', 'shutdown', 'triple-fault', 'unsupported-mode']);

async function run(image: Uint8Array, spec: Partial<VmSpec>): Promise<SingleProcess> {
  const whole = await SingleProcess.create({ spec: specOf(spec), image });
  await whole.machine.step({ instructions: INSTRUCTIONS });
  return whole;
}

const REGISTERS = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi', 'eip', 'eflags', 'cr0', 'cr2', 'cr3', 'cr4', 'cpl'] as const;
const visible = ({ machine: { processor, state } }: SingleProcess): unknown => ({
  state, retired: processor.retired, time: processor.virtualTime, registers: REGISTERS.map((name) => processor.getRegister(name)),
});
const ram = ({ machine: { processor } }: SingleProcess): Buffer => Buffer.from(processor.cpu.memory.buffer, RAM_BASE, processor.cpu.ramBytes);

const median = (numbers: number[]): number => [...numbers].sort((a, b) => a - b)[numbers.length >> 1] ?? 0;

describe('hostile guests on every path', () => {
  it(`native and hardware-assisted, ${SEEDS} seeds: a named end, and the same one`, async () => {
    const retired: number[] = [];
    for (let seed = 0; seed < SEEDS; seed++) {
      const { image } = hostileGuest(seed);
      const native = await run(image, NATIVE), hardware = await run(image, HARDWARE);
      for (const { machine } of [native, hardware]) {
        if (!ENDINGS.has(machine.state)) throw new Error(`seed ${seed}: ${machine.state}: ${machine.why}`);
        expect(machine.why).not.toBe('');
      }
      expect({ seed, ...visible(hardware) as object }).toEqual({ seed, ...visible(native) as object });
      if (ram(native).compare(ram(hardware)) !== 0) throw new Error(`seed ${seed}: memory differs between native and hardware-assisted`);
      retired.push(native.machine.processor.retired);
    }
    expect(median(retired)).toBeGreaterThanOrEqual(1000);
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
