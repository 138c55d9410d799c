import { setFlagsFromString } from 'node:v8';
import { benchCommand, diskImage, guestImage, hostileGuest, type HostileMode, RINGLET, RINGLET_OPERATIONS, seededGuest } from '@ringside/guests';
import type { VmSpec } from '@ringside/machine';
import { SingleProcess, specOf } from './single-process.js';
import { FLAT_LOAD_ADDRESS, flatImage } from './testing/flat-image.js';
import { memoryDigest } from './testing/memory-digest.js';
import { GATE_COUNTERS, gateGuest } from './testing/gate-guest.js';
import { pageTableGuest } from './testing/page-table-guest.js';

// A fault that unwinds through the run loop while V8 has it in baseline code costs 50 µs: its offset table is walked from the start.
setFlagsFromString('--no-sparkplug');

/**
 * The unmodified kernel in ring 1. What traps is emulated, and goes as natively; the sensitive instructions that do not trap mislead it, and
 * the first that did is named.
 */
const NATIVE = { path: 'native', mmu: 'none' } satisfies Partial<VmSpec>;
const TRANSLATED = { path: 'binary-translation', mmu: 'shadow', guestKernelRing: 1 } satisfies Partial<VmSpec>;
const TRAPPING = { path: 'trap-and-emulate', mmu: 'shadow', guestKernelRing: 1 } satisfies Partial<VmSpec>;

const LONG = process.env.RINGSIDE_LONG === '1';
const PAGE_TABLE_SEEDS = LONG ? 1_000 : 15;
/** The first 900 or so build the page table. */
const HOSTILE_INSTRUCTIONS = LONG ? 20_000 : 4_000;

const little = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
const wrmsr = (msr: number, value: number): number[] => [0xb9, ...little(msr), 0xb8, ...little(value), 0x31, 0xd2, 0x0f, 0x30];
const CODE = FLAT_LOAD_ADDRESS + 32, USER = CODE + 60, KERNEL = USER + 12;
const FAST_SYSTEM_CALL = Uint8Array.from([
  ...wrmsr(0x174, 8), ...wrmsr(0x175, 0x9_0000), ...wrmsr(0x176, KERNEL), //   IA32_SYSENTER_CS, ESP, EIP
  0xb9, ...little(0x8_0000), 0xba, ...little(USER), 0x0f, 0x35, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, // mov ecx, esp3; mov edx, eip3; sysexit
  0xc7, 0x05, ...little(0x7_0000), ...little(0x1234), 0x0f, 0x34, //           ring 3: mov dword [0x70000], 0x1234; sysenter
  0xc7, 0x05, ...little(0x7_0004), ...little(0x5678), //                       ring 0: mov dword [0x70004], 0x5678
  0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x20, 0x66, 0xef, 0xf4, //         power off
]);

async function ringlet(lines: readonly string[]): Promise<SingleProcess> {
  const script = [...lines, RINGLET.haltCommand].map((line) => ({ expect: RINGLET.prompt, send: `${line}\n` }));
  const whole = await SingleProcess.create({ spec: specOf({ ...TRAPPING, script }), image: await guestImage('ringlet'), disk: await diskImage(RINGLET.disk) });
  await whole.machine.step({ instructions: 30_000_000 });
  return whole;
}

async function run(image: Uint8Array, change: Partial<VmSpec>, instructions: number): Promise<SingleProcess> {
  const whole = await SingleProcess.create({ spec: specOf({ ...change }), image });
  await whole.machine.step({ instructions });
  return whole;
}

const memory = ({ machine: { processor } }: SingleProcess): string => memoryDigest(processor);

const everyOperation = (repetitions: number): Promise<SingleProcess> => ringlet(RINGLET_OPERATIONS.map((operation) => benchCommand(operation, repetitions)));

describe('trap-and-emulate', () => {
  /** Boot and twice every operation, for all that look at it. */
  let twice: SingleProcess;
  beforeAll(async () => { twice = await everyOperation(2); });

  it('runs ringlet unmodified as far as it goes, here through every operation', () => {
    const whole = twice;
    expect([whole.machine.state, whole.console.slice(-200)]).toEqual(['shutdown', expect.stringContaining('power off')]);
    expect(whole.machine.recorder.records.map(({ operation, complete, repetitions }) => [operation, complete, repetitions])).toEqual([
      ['boot', true, 1], ...RINGLET_OPERATIONS.map((operation) => [operation, true, 2]),
    ]);
    expect(Object.keys(whole.machine.statistics().exits).sort()).toEqual(expect.arrayContaining(['deprivileged-exception', 'preemption-timer', 'write-trace']));
  });

  it('says which instruction misled the guest first, what it saw and what it should have seen', () => {
    const { misled } = twice.machine.statistics();
    // Interrupts are off when the kernel first saves its flags, and the real IF, which is the monitor's, is on.
    expect(misled).toMatchObject({ mnemonic: 'PUSHF', bytes: '9c', ring: 1 });
    expect([misled!.saw, misled!.shouldHaveSeen].map((text) => (Number(text.split(' ')[1]) >>> 9) & 1)).toEqual([1, 0]);
    expect(misled!.count).toBeGreaterThan(1);
    expect(twice.machine.processor.readLinear(misled!.eip, 1)).toEqual(Uint8Array.of(0x9c));
  });

  it('costs the same on every run', async () => {
    const lines = [benchCommand('syscall', 3), benchCommand('fork', 1)];
    const [first, second] = [await ringlet(lines), await ringlet(lines)];
    expect(second.machine.recorder.records).toEqual(first.machine.recorder.records);
  });

  it('costs exactly twice as much for twice as many repetitions', async () => {
    const [few, many] = [twice, await everyOperation(4)];
    const net = ({ machine }: SingleProcess, operation: string, factor: number): Record<string, number> => {
      const of = (name: string): Record<string, number> => {
        const { exits, messages } = machine.recorder.records.find((record) => record.operation === name)!;
        return { ...exits, ...messages };
      };
      const [counts, empty] = [of(operation), of('empty')];
      return Object.fromEntries(Object.entries(counts).map(([key, count]) => [key, (count - (empty[key] ?? 0)) / factor]));
    };
    for (const operation of RINGLET_OPERATIONS) if (operation !== 'empty') expect([operation, net(many, operation, 2)]).toEqual([operation, net(few, operation, 1)]);
  });

  it('emulates what traps as ring 0 executes it: guests that edit their page tables, which nothing misleads', async () => {
    for (let seed = 0; seed < PAGE_TABLE_SEEDS; seed++) {
      const { image, memoryMiB } = pageTableGuest(seed);
      const native = await run(image, { ...NATIVE, memoryMiB }, 50_000);
      const trapping = await run(image, { ...TRAPPING, memoryMiB }, 50_000);
      expect([seed, trapping.machine.state, trapping.machine.processor.retired, trapping.machine.now, memory(trapping), trapping.machine.statistics().misled])
        .toEqual([seed, native.machine.state, native.machine.processor.retired, native.machine.now, memory(native), null]);
    }
  }, 3_600_000);

  it('emulates what traps as ring 0 executes it: guests made from a seed', async () => {
    for (let seed = 1; seed < 60_000; seed += 7919) {
      const { image } = seededGuest(seed);
      const native = await run(image, NATIVE, 50_000);
      const trapping = await run(image, TRAPPING, 50_000);
      expect([seed, trapping.machine.state, trapping.console, trapping.machine.processor.retired, trapping.machine.now, memory(trapping)])
        .toEqual([seed, native.machine.state, native.console, native.machine.processor.retired, native.machine.now, memory(native)]);
    }
  });

  it('emulates SYSEXIT to ring 3 and SYSENTER back', async () => {
    const image = flatImage(FAST_SYSTEM_CALL);
    const native = await run(image, NATIVE, 1_000);
    const trapping = await run(image, TRAPPING, 1_000);
    expect([native.machine.state, native.machine.processor.readPhysical('guest', 0x7_0000, 8)]).toEqual(['shutdown', Uint8Array.of(0x34, 0x12, 0, 0, 0x78, 0x56, 0, 0)]);
    expect([trapping.machine.state, trapping.machine.processor.retired, memory(trapping)]).toEqual(['shutdown', native.machine.processor.retired, memory(native)]);
  });

  it.each([TRAPPING, TRANSLATED])('goes through gates of every kind, to rings 0 and 1, on $path', async (path) => {
    const native = await run(gateGuest(), NATIVE, 1_000);
    const counters = native.machine.processor.readPhysical('guest', GATE_COUNTERS, 24);
    // Twice through the gate to ring 0; 5 + 7 to ring 1; once each of the others.
    expect([native.machine.state, ...counters.filter((_, n) => n % 4 === 0)]).toEqual(['shutdown', 2, 12, 1, 1, 1, 1]);
    const other = await run(gateGuest(), path, 1_000);
    expect([other.machine.state, other.machine.processor.retired, other.machine.now, memory(other), other.machine.statistics().misled])
      .toEqual(['shutdown', native.machine.processor.retired, native.machine.now, memory(native), null]);
  });

  it.each([
    ['LAR', [0x0f, 0x02, 0xc1]], ['LSL', [0x0f, 0x03, 0xc1]], ['VERR', [0x0f, 0x00, 0xe1]], ['VERW', [0x0f, 0x00, 0xe9]], ['segment load', [0x8e, 0xe1]],
  ])('says that %s has misled the kernel', async (mnemonic, bytes) => {
    // A GDT at the end; CX = 0x11: data of ring 0, asked for with RPL 1, which ring 1 may see and ring 0 may not. Then power off.
    const gdtr = CODE + 40;
    const prologue = [0x0f, 0x01, 0x15, ...little(gdtr), 0xb9, ...little(0x11)];
    const program = [...prologue, ...bytes, 0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x20, 0x66, 0xef, 0xf4];
    while (program.length < 40) program.push(0x90);
    program.push(0x17, 0x00, ...little(gdtr + 6), ...little(0), ...little(0), ...little(0xffff), ...little(0x00cf_9b00), ...little(0xffff), ...little(0x00cf_9300));
    const { machine } = await run(flatImage(Uint8Array.from(program)), TRAPPING, 100);
    expect([machine.state, machine.statistics().misled]).toEqual(['shutdown', expect.objectContaining({ mnemonic, ring: 1, bytes: Buffer.from(bytes).toString('hex') })]);
  });

  it('ends by name whatever a guest does, in every ring and mode', async () => {
    const modes: HostileMode[] = [{}, { ring: 1 }, { ring: 2 }, { code: 'narrow' }, { code: 'limited' }, { code: 'conforming' }, { stack: 'narrow' }, { debug: 'step' }, { debug: 'breakpoints' }];
    for (let seed = 0; seed < 20; seed++) {
      const { image, memoryBytes } = seed < 10 ? hostileGuest(seed) : hostileGuest(seed, modes[seed % modes.length]);
      const { machine } = await run(image, { ...TRAPPING, memoryMiB: memoryBytes >> 20 }, HOSTILE_INSTRUCTIONS);
      expect([seed, machine.state, machine.why]).toEqual([seed, expect.stringMatching(/^(paused|halted|shutdown|triple-fault|unsupported-mode)$/), expect.any(String)]);
    }
  });
});
