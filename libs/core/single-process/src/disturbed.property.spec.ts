import { setFlagsFromString } from 'node:v8';
import type { VmSpec } from '@ringside/machine';
import { SingleProcess, specOf } from './single-process.js';
import { disturbedGuest, type Disturbance, type DisturbedGuestOptions } from './testing/disturbed-guest.js';
import { memoryDigest } from './testing/memory-digest.js';

// A fault that unwinds through the run loop while V8 has it in baseline code costs 50 µs: its offset table is walked from the start.
setFlagsFromString('--no-sparkplug');

/**
 * Interrupts and single-step traps at every boundary of code that a translator cannot copy, where the handler then takes the ground away: marks
 * cleared, the code written or mapped elsewhere, pages taken away. Every path passes through native's states.
 */
const LONG = process.env.RINGSIDE_LONG === '1';
const NATIVE: Partial<VmSpec> = { path: 'native', mmu: 'none' };
const PATHS: Record<string, Partial<VmSpec>> = {
  'binary-translation': { path: 'binary-translation', mmu: 'shadow', guestKernelRing: 1 },
  ...LONG ? { 'hardware-assisted, nested': { path: 'hardware-assisted', mmu: 'nested' } } : {},
  'hardware-assisted, shadow': { path: 'hardware-assisted', mmu: 'shadow' },
};
const BOOT = 200, LAST_PART = 3_000, STEPPED = LONG ? 60_000 : 12_000;
const UART_VECTOR = 0x24, DEBUG = 1;

async function create({ image, memoryMiB }: { image: Uint8Array; memoryMiB: number }, path: Partial<VmSpec>): Promise<SingleProcess> {
  return SingleProcess.create({ spec: specOf({ ...path, memoryMiB, hashStates: true }), image });
}

const outcome = ({ machine }: SingleProcess): unknown => [
  machine.state, machine.why, machine.processor.retired, machine.now, machine.stateHash!.samples, machine.stateHash!.value, machine.processor.getRegister('cr2'),
  memoryDigest(machine.processor),
];

/** When to disturb, in retired instructions: natively the first time that each instruction of the round is about to run. */
async function schedule(guest: ReturnType<typeof disturbedGuest>): Promise<{ native: SingleProcess; moments: number[] }> {
  const native = await create(guest, NATIVE);
  const { machine } = native;
  const waiting = new Set(guest.boundaries);
  const moments: number[] = [];
  await machine.step({ instructions: BOOT });
  for (let idle = 0; waiting.size > 0 && idle < 2_000;) {
    const eip = machine.processor.getRegister('eip');
    if (waiting.delete(eip)) {
      moments.push(machine.processor.retired);
      native.type('x');
      idle = 0;
    } else idle++;
    await machine.step({ instructions: 1 });
  }
  await machine.step({ instructions: LAST_PART });
  return { native, moments };
}

async function follow(guest: ReturnType<typeof disturbedGuest>, path: Partial<VmSpec>, moments: readonly number[]): Promise<SingleProcess> {
  const whole = await create(guest, path);
  const { machine } = whole;
  for (const moment of moments) {
    await machine.step({ instructions: moment - machine.processor.retired });
    whole.type('x');
  }
  return whole;
}

/** Instructions of the round that an event of `vector` has interrupted. */
function interrupted({ machine: { processor } }: SingleProcess, { log, boundaries }: ReturnType<typeof disturbedGuest>, vector: number): number {
  const bytes = processor.readPhysical('guest', log.at, log.bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const seen = new Set<number>();
  for (let at = 0; at < log.bytes; at += 32) if (view.getUint32(at, true) === vector) seen.add(view.getUint32(at + 8, true));
  return boundaries.filter((boundary) => seen.has(boundary)).length;
}

const title = ({ ring, iopl, disturbance }: DisturbedGuestOptions): string => `ring ${ring}, IOPL ${iopl}, the handler changes: ${disturbance}`;
const RINGS = [{ ring: 0, iopl: 0 }, { ring: 3, iopl: 0 }, { ring: 3, iopl: 3 }] as const;
/** Always; all others with RINGSIDE_LONG. */
const SHORT: Record<string, readonly Disturbance[]> = { '0/0': ['none', 'marks', 'code', 'remap', 'absent'], '3/0': [], '3/3': ['code', 'absent'], '0/0 stepped': ['none', 'code'], '3/0 stepped': [], '3/3 stepped': ['absent'] };
const casesOf = (step: boolean): [string, DisturbedGuestOptions][] =>
  RINGS.flatMap(({ ring, iopl }) => (LONG ? SHORT['0/0']! : SHORT[`${ring}/${iopl}${step ? ' stepped' : ''}`]!).map((disturbance) => ({ ring, iopl, disturbance, step })))
    .map((options) => [title(options), options]);

describe('an interrupt before each instruction of the round', () => {
  it.each(casesOf(false))('%s', async (_, options) => {
    const guest = disturbedGuest(options);
    const { native, moments } = await schedule(guest);
    for (const [name, path] of Object.entries(PATHS)) {
      const other = await follow(guest, path, moments);
      await other.machine.step({ instructions: native.machine.processor.retired - other.machine.processor.retired });
      expect([name, outcome(other)]).toEqual([name, outcome(native)]);
    }
    expect(native.machine.state).toBe('paused');
    // Not where IF is 0, nor behind STI and loads of SS.
    expect(interrupted(native, guest, UART_VECTOR)).toBeGreaterThan(guest.boundaries.length * 0.8);
  }, 120_000);
});

describe('a single-step trap behind each instruction of the round', () => {
  it.each(casesOf(true))('%s', async (_, options) => {
    const guest = disturbedGuest(options);
    const native = await create(guest, NATIVE);
    await native.machine.step({ instructions: STEPPED });
    for (const [name, path] of Object.entries(PATHS)) {
      const other = await create(guest, path);
      await other.machine.step({ instructions: STEPPED });
      expect([name, outcome(other)]).toEqual([name, outcome(native)]);
    }
    expect(native.machine.state).toBe('paused');
    expect(interrupted(native, guest, DEBUG)).toBeGreaterThan(guest.boundaries.length * 0.9);
  }, 120_000);
});
