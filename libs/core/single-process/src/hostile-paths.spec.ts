import { hostileGuest } from '@ringside/guests';
import { digestWords, type VmSpec } from '@ringside/machine';
import { RAM_BASE } from '@ringside/x86';
import { SingleProcess, specOf } from './single-process.js';

/**
 * Random code on a whole machine, natively and under ring -1: both runs end in the same named state, at the same instruction, with the
 * same registers and memory, and no service minds. Every tenth seed is watched, so that all states between are compared as well.
 */
const SEEDS = process.env.RINGSIDE_LONG === '1' ? 10_000 : 200;
const WATCHED_EVERY = 10;
/** Instructions a seed may run: those that loop stop here. */
const BUDGET = 24_000;
const PATHS: Partial<VmSpec>[] = [{ path: 'native', mmu: 'none' }, { path: 'hardware-assisted', mmu: 'nested' }];
const REGISTERS = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi', 'eip', 'eflags', 'cr0', 'cr2', 'cr3', 'cr4', 'cpl'] as const;
const ENDINGS = new Set(['paused', 'halted', 'shutdown', 'triple-fault', 'unsupported-mode']);

async function run(seed: number, change: Partial<VmSpec>): Promise<SingleProcess> {
  const { image, memoryBytes } = hostileGuest(seed);
  const whole = await SingleProcess.create({ spec: specOf({ ...change, memoryMiB: memoryBytes >> 20, hashStates: seed % WATCHED_EVERY === 0 }), image });
  await whole.machine.step({ instructions: BUDGET });
  return whole;
}

/** All that a guest could see of its machine. */
function visible({ machine, console, board }: SingleProcess): unknown {
  const { processor, state, why, stateHash } = machine;
  // A machine that halts is observed when it wakes: see the hash of the states before.
  const hash = state === 'halted' ? null : stateHash?.value ?? null;
  const ram = processor.cpu.u8.subarray(RAM_BASE, RAM_BASE + processor.cpu.ramBytes);
  return {
    state, why, hash, console, retired: processor.retired, now: machine.now, unclaimed: board.unclaimed, ram: digestWords(ram),
    registers: REGISTERS.map((name) => [name, processor.getRegister(name)]),
  };
}

describe('hostile guests', () => {
  const retired: number[] = [];
  const exits = new Set<string>();

  it(`${SEEDS} seeds go the same way natively and hardware-assisted`, async () => {
    for (let seed = 0; seed < SEEDS; seed++) {
      const [native, hardware] = [await run(seed, PATHS[0]!), await run(seed, PATHS[1]!)];
      if (!ENDINGS.has(native.machine.state)) throw new Error(`seed ${seed}: ${native.machine.state}: ${native.machine.why}`);
      expect({ seed, ...visible(hardware) as object }).toEqual({ seed, ...visible(native) as object });
      for (const count of [hardware.machine.processor.retired, hardware.machine.processor.executed, hardware.machine.now]) expect(Number.isSafeInteger(count)).toBe(true);
      retired.push(native.machine.processor.retired);
      for (const reason of Object.keys(hardware.machine.statistics().exits)) exits.add(reason);
    }
  }, 3_600_000);

  it('most of them get far, and meet ring -1 in many ways', () => {
    retired.sort((a, b) => a - b);
    expect(retired[retired.length >> 1]).toBeGreaterThanOrEqual(1000);
    expect([...exits]).toEqual(expect.arrayContaining(['ept-violation', 'io-instruction', 'cpuid', 'hlt', 'triple-fault', 'rdmsr', 'wrmsr', 'vmcall', 'invd']));
  });
});
