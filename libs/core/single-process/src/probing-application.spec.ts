import type { VmSpec } from '@ringside/machine';
import { SingleProcess, specOf } from './single-process.js';
import { PROBE_RESULT_BYTES, PROBE_RESULTS, probingGuest, TABLE_RESULTS } from './testing/probing-guest.js';

/**
 * An application that looks for a monitor learns nothing from one that translates: descriptors by LAR, LSL, VERR and VERW of every selector, the tables and CR0 by the
 * instructions that UMIP keeps from it, memory through every segment it can load. From one that traps and emulates it learns what the processor really has.
 */
async function probe(change: Partial<VmSpec>): Promise<{ whole: SingleProcess; results: Uint8Array }> {
  const whole = await SingleProcess.create({ spec: specOf({ memoryMiB: 4, ...change }), image: probingGuest() });
  await whole.machine.step({ instructions: 4_000_000 });
  expect(whole.machine.state).toBe('shutdown');
  return { whole, results: whole.machine.processor.readPhysical('guest', PROBE_RESULTS, PROBE_RESULT_BYTES) };
}

const firstDifference = (one: Uint8Array, other: Uint8Array): number => one.findIndex((byte, n) => byte !== other[n]);
const clock = ({ machine }: SingleProcess): number[] => [machine.processor.retired, machine.now];

let native: { whole: SingleProcess; results: Uint8Array };
beforeAll(async () => { native = await probe({}); });

it('sees natively what the guest has made', () => {
  const { results } = native;
  const of = (selector: number): number[] => [...results.subarray(selector * 12, selector * 12 + 12)];
  // The flat data segment of ring 3: LAR's access rights, LSL's limit, readable and writable.
  expect(of(0x23)).toEqual([0x00, 0xf3, 0xcf & 0xf0, 0, 0xff, 0xff, 0xff, 0xff, 1, 1, 1, 1]);
  // Ring 0's: nothing.
  expect(of(0x10)).toEqual([0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0, 0, 0, 0]);
  expect(firstDifference(results.subarray(TABLE_RESULTS - PROBE_RESULTS), new Uint8Array(PROBE_RESULT_BYTES))).toBeGreaterThanOrEqual(0);
});

it('learns nothing under binary translation', async () => {
  const { whole, results } = await probe({ path: 'binary-translation', mmu: 'shadow', guestKernelRing: 1 });
  expect(firstDifference(results, native.results)).toBe(-1);
  expect(clock(whole)).toEqual(clock(native.whole));
});

it.each(['nested', 'shadow'] as const)('learns nothing under hardware assistance, %s paging', async (mmu) => {
  const { whole, results } = await probe({ path: 'hardware-assisted', mmu });
  expect(firstDifference(results.subarray(0, TABLE_RESULTS - PROBE_RESULTS), native.results)).toBe(-1);
  expect(clock(whole)).toEqual(clock(native.whole));
});

it('learns where it is under trap-and-emulate: the tables, the task register and CR0 are the monitor\'s', async () => {
  const { results } = await probe({ path: 'trap-and-emulate', mmu: 'shadow', guestKernelRing: 1 });
  const tables = TABLE_RESULTS - PROBE_RESULTS;
  expect(firstDifference(results.subarray(0, tables), native.results)).toBe(-1);
  const view = (bytes: Uint8Array): number[] => {
    const data = new DataView(bytes.buffer, bytes.byteOffset + tables);
    return [data.getUint16(0, true), data.getUint32(2, true), data.getUint16(6, true), data.getUint32(8, true), data.getUint32(12, true), data.getUint32(16, true), data.getUint32(20, true)];
  };
  const [seen, own] = [view(results), view(native.results)];
  // SGDT and SIDT: limit and base; SLDT, STR; SMSW.
  expect(seen.map((value, n) => value !== own[n])).toEqual([true, true, true, true, true, true, true]);
});
