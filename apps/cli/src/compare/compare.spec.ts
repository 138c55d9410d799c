import { describe, expect, test } from '@jest/globals';
import { diskImage, guestImage } from '@ringside/guests';
import { modelledCycles, OPERATIONS, PENTIUM_4, type OperationName, type OperationRecord } from '@ringside/machine';
import { Ajv } from 'ajv';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { repositoryRoot } from '../context.js';
import { renderCycles } from '../render/cycles.js';
import { renderComparison } from '../render/comparison.js';
import { addCycles, sensitivityOf } from './cycles.js';
import { operationBytes } from './guest-bytes.js';
import { COMPARED, parseOperations } from './operations.js';
import { addNative, percentile, perOperation, resultOf, unsupported, type Comparison, type Setting } from './result.js';
import { script } from './run.js';
import { WHAT_PATHS_DO } from './what-paths-do.js';

const schema = JSON.parse(readFileSync(join(repositoryRoot(), 'docs/schemas/compare-1.json'), 'utf8')) as object;
const native: Setting = { path: 'native', mmu: 'none', guestKernelRing: 0 };
const assisted: Setting = { path: 'hardware-assisted', mmu: 'nested', guestKernelRing: 0 };

function record(operation: OperationName, repetitions: number, more: Partial<OperationRecord> = {}): OperationRecord {
  return {
    operation, complete: true, repetitions, retired: 4 * repetitions, executed: 4 * repetitions, virtualNs: 0, exits: {}, hypercalls: 0, messages: {},
    wall: { guestNs: 10, busNs: 20, handlersNs: 5, totalNs: 40, resends: 0, lapsNs: Array.from({ length: repetitions }, (_, lap) => 100 - lap) }, traceId: null, stateHash: null, ...more,
  };
}

/** A comparison under a modelled clock, of two machines and the measuring loop. */
function modelled(): Comparison {
  const results = addNative([
    resultOf(native, record('in', 2, { primitives: { instruction: 90 }, lastRepetition: { instruction: 5, 'port-cycle': 1 } })),
    resultOf({ ...assisted, mmu: 'shadow' }, record('in', 2, { lastRepetition: { instruction: 5, 'vm-exit': 1, 'vm-entry': 1, 'device-access': 1 } })),
    unsupported({ path: 'paravirt', mmu: 'direct', guestKernelRing: 1 }, 'in', 'the guest ended before: crashed, it broke a rule'),
    resultOf(native, record('empty', 2, { lastRepetition: { instruction: 4 } })),
    resultOf({ ...assisted, mmu: 'shadow' }, record('empty', 2, { lastRepetition: { instruction: 4 } })),
  ]);
  return { schema: 'ringside.compare/1', guest: 'ringlet', clock: 'modelled:pentium4', results: addCycles(results, PENTIUM_4), sensitivity: sensitivityOf(results, PENTIUM_4) };
}

function comparison(): Comparison {
  return {
    schema: 'ringside.compare/1', guest: 'ringlet', clock: 'virtual',
    results: addCycles(addNative([
      resultOf(native, record('in', 5, { retired: 20, messages: { 'io.port': 5 } })),
      resultOf(assisted, record('in', 5, { retired: 20, exits: { 'io-instruction': 5 }, messages: { 'io.port': 5, 'exit.io-instruction': 5 }, traceId: 'ab'.repeat(16) })),
      unsupported({ path: 'paravirt', mmu: 'direct', guestKernelRing: 1 }, 'in', 'the guest ended before: crashed, it broke a rule'),
      resultOf(native, record('empty', 5, { retired: 15 })),
      resultOf(assisted, record('empty', 5, { retired: 15 })),
    ]), null),
  };
}

describe('operations', () => {
  test('all, a choice in the order of the table, and an unknown one', () => {
    expect(parseOperations(['all'])).toEqual(COMPARED.map(({ name }) => name));
    expect(parseOperations(['print', 'boot'])).toEqual(['boot', 'print']);
    expect(parseOperations(['all', 'empty'])).toEqual([...COMPARED.map(({ name }) => name), 'empty']);
    expect(() => parseOperations(['teleport'])).toThrow('There is no operation "teleport"');
  });

  test('every operation that a guest can mark is compared, and said of each path', () => {
    // `probe` belongs to the command sensitive.
    expect([...COMPARED.map(({ name }) => name), 'empty', 'probe'].sort()).toEqual(Object.keys(OPERATIONS).sort());
    expect(Object.keys(WHAT_PATHS_DO).sort()).toEqual(COMPARED.map(({ name }) => name).sort());
  });

  test('the script: at each prompt the next operation, at the last one power off', () => {
    expect(script({ prompt: '$ ', command: (operation, n) => `bench ${operation} ${n}`, halt: 'halt' }, ['in', 'fork'], 3)).toEqual([
      { expect: '$ ', send: 'bench in 3\n' }, { expect: '$ ', send: 'bench fork 3\n' }, { expect: '$ ', send: 'halt\n' },
    ]);
  });

  test('bytes of an operation as they stand in the guest\'s image', async () => {
    const image = Uint8Array.of(0, 0x0f, 0x1f, 0x80, 3, 0, 1, 0x52, 0xe4, 0x80, 0x0f, 0x1f, 0x80, 3, 0, 3, 0x52);
    expect(operationBytes(image, 'in')).toEqual(Uint8Array.of(0xe4, 0x80));
    expect(operationBytes(image, 'fork')).toBeNull();
    expect(operationBytes(await guestImage('ringlet'), 'in')).toEqual(Uint8Array.of(0xe4, 0x80));
    const syscall = operationBytes(await diskImage('ringlet'), 'syscall')!;
    expect([...syscall.subarray(-2)]).toEqual([0xcd, 0x80]);
  });
});

describe('results', () => {
  test('satisfy the published schema, which refuses others', () => {
    const validate = new Ajv({ allErrors: true }).compile(schema);
    for (const right of [comparison(), modelled()]) expect(validate(JSON.parse(JSON.stringify(right))) ? null : validate.errors).toBeNull();
    for (const spoil of [
      (wrong: Comparison) => { wrong.results[0]!.retired = -1; },
      (wrong: Comparison) => { (wrong.results[0] as unknown as Record<string, unknown>)['status'] = 'fine'; },
      (wrong: Comparison) => { delete (wrong.results[0] as unknown as Record<string, unknown>)['messages']; },
      (wrong: Comparison) => { (wrong as unknown as Record<string, unknown>)['schema'] = 'ringside.compare/2'; },
      (wrong: Comparison) => { wrong.results[1]!.traceId = 'short'; },
    ]) {
      const wrong = comparison();
      spoil(wrong);
      expect(validate(wrong)).toBe(false);
    }
  });

  test('what a path adds is its total less native\'s; nothing is added where native is missing', () => {
    const [first, second, third] = comparison().results;
    expect(first!.addsOverNative).toBeNull();
    expect(second!.addsOverNative).toEqual({ retired: 0, executed: 0, exits: 5, messages: 5 });
    expect(second!.wall.addsOverNativeP50Ns).toBe(0);
    expect(third!.addsOverNative).toBeNull();
  });

  test('one repetition: the measuring loop is taken off, boot stays whole', () => {
    const { results } = comparison();
    expect(perOperation(results[1]!, results[4])).toMatchObject({ retired: 1, exits: { 'io-instruction': 1 }, exitTotal: 1, messages: 2 });
    expect(perOperation(resultOf(native, record('boot', 1, { retired: 1_000 })), results[3])).toMatchObject({ retired: 1_000 });
  });

  test('cycles are those of the last repetition without the loop; none under the virtual clock, or where nothing ran', () => {
    const [first, second, third, empty] = modelled().results;
    expect(first!.cycles).toBe(modelledCycles(PENTIUM_4, { instruction: 1, 'port-cycle': 1 }));
    expect(second!.cycles).toBe(modelledCycles(PENTIUM_4, { instruction: 1, 'vm-exit': 1, 'vm-entry': 1, 'device-access': 1 }));
    expect(third!.cycles).toBeNull();
    expect(empty!.cycles).toBe(0);
    expect(comparison().results.map(({ cycles, primitives }) => [cycles, primitives])).toEqual(comparison().results.map(() => [null, null]));
  });

  test('the table of cycles names what they are made of, and what an ordering hangs on; no time stands in it', () => {
    const text = renderCycles(modelled(), PENTIUM_4, { paint: (plain) => plain }).join('\n');
    expect(text).toMatch(/^in {2,}native +3,210 +port-cycle 3,209, instruction 1$/m);
    expect(text).toMatch(/^ +hardware-assisted +4,441 +1\.38 +vm-entry 2,409, vm-exit 1,931, device-access 100, instruction 1$/m);
    expect(text).toContain('0 of 1 orderings survive');
    expect(text).toMatch(/^in +native < hardware-assisted +port-cycle doubled$/m);
    expect(text).not.toMatch(/\d (?:ns|µs|ms|s)\b/);
  });

  test('percentiles by nearest rank', () => {
    expect([percentile([1, 2, 3, 4], 0.5), percentile([1, 2, 3, 4], 0.99), percentile([7], 0.5), percentile([], 0.5)]).toEqual([2, 4, 7, 0]);
  });

  test('the table: a group for each operation, a line for each path, why one did not run', () => {
    const lines = renderComparison(comparison(), { paint: (text) => text });
    expect(lines.map((line) => line.split(/ {2,}/))).toEqual([
      ['OPERATION', 'PATH', 'RETIRED', 'EXECUTED', 'EXITS', 'HYPERCALLS', 'MESSAGES', 'p50', 'p99', 'GUEST', 'BUS', 'HANDLERS', '+NATIVE', 'LEAVES FOR'],
      ['in', 'native', '1', '0', '0', '0', '1', '0 ns', '2 ns', '0 ns', '0 ns', '0 ns'],
      ['', 'hardware-assisted', '1', '0', '1', '0', '2', '0 ns', '2 ns', '0 ns', '0 ns', '0 ns', '+0 ns', 'io-instruction'],
      ['', 'paravirt', ...Array.from({ length: 11 }, () => '–'), 'the guest ended before: crashed, it broke a rule'],
    ]);
  });
});
