import { describe, expect, test } from '@jest/globals';
import type { OperationName, OperationRecord } from '@ringside/machine';
import { Ajv } from 'ajv';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { resultOf, unsupported, type Comparison, type OperationResult, type Setting } from '../compare/result.js';
import { repositoryRoot } from '../context.js';
import { renderRecap } from '../render/recap.js';
import { runInProcess } from '../testing/run-in-process.js';
import { LINES } from './lines.js';
import { recap, type Recap, type RecapLine } from './recap.js';

const schema = JSON.parse(readFileSync(join(repositoryRoot(), 'docs/schemas/recap-1.json'), 'utf8')) as object;
const MACHINES = {
  native: { path: 'native', mmu: 'none', guestKernelRing: 0 },
  trapping: { path: 'trap-and-emulate', mmu: 'shadow', guestKernelRing: 1 },
  paravirt: { path: 'paravirt', mmu: 'direct', guestKernelRing: 1 },
  translated: { path: 'binary-translation', mmu: 'shadow', guestKernelRing: 1 },
  nested: { path: 'hardware-assisted', mmu: 'nested', guestKernelRing: 0 },
  shadowed: { path: 'hardware-assisted', mmu: 'shadow', guestKernelRing: 0 },
} as const satisfies Record<string, Setting>;
type Machine = keyof typeof MACHINES;
interface Figures { exits?: number; hypercalls?: number; retired?: number; executed?: number; p50?: number; cycles?: number; misled?: boolean }

/** Operation → machine → what was counted for one repetition; `empty` costs nothing. */
type Crafted = Partial<Record<OperationName, Partial<Record<Machine, Figures>>>>;

function result(machine: Machine, operation: OperationName, { exits = 0, hypercalls = 0, retired = 10, executed = retired, p50 = 100, cycles, misled = false }: Figures): OperationResult {
  const record: OperationRecord = {
    operation, complete: true, repetitions: 1, retired, executed, virtualNs: 0, exits: exits === 0 ? {} : { callout: exits }, hypercalls, messages: {},
    wall: { guestNs: 0, busNs: 0, handlersNs: 0, totalNs: p50, resends: 0, lapsNs: [p50] }, traceId: null, stateHash: null,
  };
  const misledBy = { mnemonic: 'PUSHF', eip: 0x10_0000, bytes: '9c', ring: 1, saw: 'EFLAGS 0x202', shouldHaveSeen: 'EFLAGS 0x2', retired: 7, count: 3 };
  return { ...resultOf(MACHINES[machine], record, misled ? misledBy : null), cycles: cycles ?? null };
}
const comparison = (crafted: Crafted, clock: Comparison['clock'] = 'virtual'): Comparison => ({
  schema: 'ringside.compare/1', guest: 'ringlet', clock,
  results: Object.entries(crafted).flatMap(([operation, machines]) => Object.entries(machines).map(([machine, figures]) => result(machine as Machine, operation as OperationName, figures))),
});
const everywhere = (figures: (machine: Machine) => Figures): Record<Machine, Figures> => Object.fromEntries((Object.keys(MACHINES) as Machine[]).map((machine) => [machine, figures(machine)])) as Record<Machine, Figures>;
const line = ({ lines }: Recap, id: string): RecapLine => lines.find((one) => one.id === id)!;
const verdict = (crafted: Crafted, id: string): string => line(recap([comparison(crafted)]), id).verdict;

describe('a line comes out as its numbers do', () => {
  test.each<[string, Crafted, Crafted]>([
    ['pv-direct-calls', { syscall: everywhere((machine) => ({ exits: machine === 'trapping' ? 2 : 0 })) }, { syscall: everywhere(() => ({ exits: 1 })) }],
    ['pv-batches', { 'pte-modify-batch': everywhere((machine) => ({ exits: machine === 'paravirt' ? 1 : 32 })) }, { 'pte-modify-batch': everywhere((machine) => ({ exits: machine === 'translated' ? 1 : 32 })) }],
    ['pv-fewer-exits', { boot: everywhere((machine) => ({ exits: machine === 'trapping' ? 900 : 90 })) }, { boot: everywhere((machine) => ({ exits: machine === 'trapping' ? 90 : 900 })) }],
    ['pv-modified', { syscall: everywhere((machine) => ({ hypercalls: machine === 'paravirt' ? 1 : 0 })) }, { syscall: everywhere(() => ({})) }],
    ['pv-page-tables', { 'pte-modify': everywhere((machine) => ({ exits: machine === 'paravirt' ? 1 : 0 })) }, { 'pte-modify': everywhere(() => ({})) }],
    ['pv-faults', { 'page-fault': everywhere((machine) => ({ exits: machine === 'paravirt' ? 1 : 0 })) }, { 'page-fault': everywhere(() => ({})) }],
    ['bt-unmodified', { fork: everywhere(() => ({ retired: 500 })) }, { fork: everywhere((machine) => ({ retired: machine === 'translated' ? 501 : 500 })) }],
    ['bt-in-cache', { syscall: everywhere(() => ({})), 'call-ret': everywhere(() => ({})) }, { syscall: everywhere(() => ({ exits: 2 })), 'call-ret': everywhere(() => ({})) }],
    ['bt-extra-step', { boot: everywhere((machine) => ({ retired: 100, executed: machine === 'translated' ? 130 : 100 })) }, { boot: everywhere(() => ({ retired: 100, executed: 100 })) }],
    ['bt-page-tables', { 'pte-modify': everywhere((machine) => ({ exits: machine === 'translated' ? 1 : 0 })) }, { 'pte-modify': everywhere(() => ({})) }],
    ['te-misled', { boot: everywhere((machine) => ({ misled: machine === 'trapping' })) }, { boot: everywhere(() => ({})) }],
    ['te-exits', { boot: everywhere((machine) => ({ exits: machine === 'trapping' ? 9 : 3 })) }, { boot: everywhere((machine) => ({ exits: machine === 'trapping' ? 3 : 9 })) }],
    ['hw-unmodified', { fork: everywhere(() => ({ retired: 500 })) }, { fork: everywhere((machine) => ({ retired: 500, executed: machine === 'nested' ? 600 : 500 })) }],
    ['hw-direct', { syscall: everywhere(() => ({})), 'divide-error': everywhere(() => ({})), 'cr-write': everywhere(() => ({})) }, { syscall: everywhere(() => ({})), 'divide-error': everywhere(() => ({})), 'cr-write': everywhere(() => ({ exits: 1 })) }],
    ['hw-nested', { 'pte-modify': everywhere((machine) => ({ exits: machine === 'shadowed' ? 1 : 0 })), 'page-fault': everywhere(() => ({})) }, { 'pte-modify': everywhere(() => ({ exits: 1 })), 'page-fault': everywhere(() => ({})) }],
    ['hw-first-generation', { 'pte-modify': everywhere(() => ({ exits: 1 })), 'page-fault': everywhere(() => ({ exits: 1 })), 'context-switch': everywhere(() => ({ exits: 1 })) }, { 'pte-modify': everywhere(() => ({ exits: 1 })), 'page-fault': everywhere(() => ({})), 'context-switch': everywhere(() => ({})) }],
    ['hw-devices', { in: everywhere((machine) => ({ exits: machine === 'nested' ? 1 : 0 })) }, { in: everywhere(() => ({})) }],
  ])('%s', (id, holding, contradicting) => {
    expect([verdict(holding, id), verdict(contradicting, id)]).toEqual(['holds', 'does not hold']);
    expect(verdict({}, id)).toBe('not measured');
  });

  test('the table above has every line that is counted', () => {
    expect(LINES.filter(({ basis }) => basis === 'counts')).toHaveLength(17);
  });
});

describe('speed', () => {
  const times = (translated: number, paravirt: number): Crafted => ({
    syscall: { native: { p50: 100 }, translated: { p50: translated, executed: 20 }, paravirt: { p50: paravirt } },
    fork: { native: { p50: 1000 }, translated: { p50: 10 * translated, executed: 20 }, paravirt: { p50: 10 * paravirt } },
  });

  test('what is the same work counts as the same time, whatever was measured', () => {
    const crafted: Crafted = { syscall: { native: { p50: 100 }, nested: { p50: 900 } }, fork: { native: { p50: 100 }, nested: { p50: 10 } }, in: { native: { p50: 100 }, nested: { p50: 300, exits: 1 } } };
    expect(line(recap([comparison(crafted)]), 'hw-not-free-wall')).toMatchObject({ verdict: 'no difference', says: 'hardware-assisted, nested takes 1.00 × native (median of 3 operations, 2 of them the same work; in 300 ns : 100 ns)' });
  });

  test('by the median: faster, slower, and no difference below a tenth', () => {
    expect(verdict(times(300, 150), 'pv-faster-wall')).toBe('holds');
    expect(verdict(times(150, 300), 'pv-faster-wall')).toBe('does not hold');
    expect(verdict(times(105, 100), 'pv-faster-wall')).toBe('no difference');
    expect(line(recap([comparison(times(300, 150))]), 'pv-faster-wall').says).toBe('binary-translation takes 2.00 × paravirt (median of 2 operations; from syscall 300 ns : 150 ns to fork 3.00 µs : 1.50 µs)');
  });

  test('one operation that is out of proportion decides nothing', () => {
    const crafted = (odd: number): Crafted => ({
      syscall: { translated: { p50: 100, executed: 11 }, paravirt: { p50: 200 } }, in: { translated: { p50: 100, executed: 11 }, paravirt: { p50: 180 } }, fork: { translated: { p50: odd, executed: 11 }, paravirt: { p50: 100 } },
    });
    expect([verdict(crafted(90), 'pv-faster-wall'), verdict(crafted(1e6), 'pv-faster-wall')]).toEqual(['does not hold', 'does not hold']);
  });

  test('boot is no part of it: it is one piece, and translates', () => {
    expect(verdict({ boot: { translated: { p50: 900 }, paravirt: { p50: 1 } }, syscall: { translated: { p50: 1, executed: 11 }, paravirt: { p50: 1 } } }, 'pv-faster-wall')).toBe('no difference');
  });

  test('times and cycles are never read from each other\'s comparison', () => {
    const wall = comparison(times(300, 150));
    const cycles = comparison({ syscall: { native: { cycles: 200, p50: 1 }, translated: { cycles: 800, p50: 1 }, shadowed: { cycles: 1_600, p50: 1 } } }, 'modelled:pentium4');
    const both = recap([wall, cycles]);
    expect(line(both, 'pv-faster-wall')).toMatchObject({ verdict: 'holds', clock: 'virtual' });
    // No nested paging there: hardware assistance is the one with shadow page tables.
    expect(line(both, 'hw-faster-modelled')).toMatchObject({ verdict: 'does not hold', clock: 'modelled:pentium4', rests: expect.arrayContaining([{ operation: 'syscall', machine: 'hardware-assisted, shadow', quantity: 'cycles', value: 1_600, clock: 'modelled:pentium4' }]) });
    for (const { basis, rests } of both.lines) for (const { quantity, clock } of rests) {
      if (basis === 'wall') expect([quantity, clock]).toEqual(['p50Ns', 'virtual']);
      if (basis === 'modelled') expect([quantity, clock]).toEqual(['cycles', 'modelled:pentium4']);
      if (basis === 'counts') expect(['p50Ns', 'cycles']).not.toContain(quantity);
    }
    expect(line(recap([wall]), 'hw-faster-modelled').verdict).toBe('not measured');
    expect(line(recap([cycles]), 'pv-faster-wall').verdict).toBe('not measured');
  });

  test('the measuring loop is taken off', () => {
    const crafted: Crafted = { syscall: { translated: { p50: 200 }, paravirt: { p50: 150 } }, empty: { translated: { p50: 100 }, paravirt: { p50: 100 } } };
    expect(line(recap([comparison(crafted)]), 'pv-faster-wall').rests.map(({ value }) => value)).toEqual([100, 50]);
  });
});

test('an operation that did not run is missing, not zero', () => {
  const { results } = comparison({ syscall: everywhere(() => ({})) });
  const without = results.map((one) => one.path === 'paravirt' ? unsupported(one, 'syscall', 'the guest ended before: crashed') : one);
  expect(line(recap([{ schema: 'ringside.compare/1', guest: 'ringlet', clock: 'virtual', results: without }]), 'pv-direct-calls')).toMatchObject({ verdict: 'not measured', says: 'the comparison has no syscall on paravirt', rests: [] });
});

test('a line names its numbers', () => {
  const { says, rests } = line(recap([comparison({ 'pte-modify-batch': everywhere((machine) => ({ exits: machine === 'paravirt' ? 1 : 32 })) })]), 'pv-batches');
  expect(says).toBe('32 entries at once; pte-modify-batch: 1 exit on paravirt, 32 exits on trap-and-emulate, 32 exits on binary-translation');
  expect(rests.map(({ machine, quantity, value }) => `${machine} ${quantity} ${value}`)).toEqual(['paravirt exits 1', 'trap-and-emulate exits 32', 'binary-translation exits 32']);
});

describe('recap --from', () => {
  const directory = mkdtempSync(join(tmpdir(), 'ringside-recap-'));
  const file = (name: string, value: unknown): string => {
    writeFileSync(join(directory, name), typeof value === 'string' ? value : JSON.stringify(value));
    return join(directory, name);
  };
  const counted = file('compare.json', comparison({ syscall: everywhere((machine) => ({ exits: machine === 'trapping' ? 2 : 0, p50: machine === 'trapping' ? 400 : 100 })) }));
  const cycles = file('cycles.json', comparison({ syscall: everywhere((machine) => ({ cycles: machine === 'native' ? 200 : 400 })) }, 'modelled:core2'));

  test('prints what its schema says', async () => {
    const { code, out } = await runInProcess(['recap', '--json', '--from', counted, cycles]);
    expect(code).toBe(0);
    const validate = new Ajv({ allErrors: true }).compile(schema);
    expect(validate(JSON.parse(out)) ? null : validate.errors).toBeNull();
    expect(line(JSON.parse(out) as Recap, 'bt-slower-modelled')).toMatchObject({ verdict: 'holds', clock: 'modelled:core2' });
  });

  test('as a table: counts, times and cycles under headings of their own', async () => {
    const { out } = await runInProcess(['recap', '--from', counted, cycles]);
    const headings = out.split('\n').filter((text) => /^\S/.test(text));
    expect(headings).toEqual(['What is counted: the same on every run', 'Times of this system: messages between services, not silicon', 'Cycles of modelled hardware (core2): no times of this system']);
    expect(out).toContain('+ A system call reaches the guest\'s kernel without the hypervisor: holds.');
    expect(renderRecap(recap([]), { paint: (text) => text, columns: 100 }).filter((text) => text.endsWith(': not measured.'))).toHaveLength(LINES.length);
  });

  test('--only, one basis alone; compare --from, the same file as a table of what is the same on every run', async () => {
    const { out } = await runInProcess(['recap', '--only', 'wall', '--from', counted, cycles]);
    expect(out.split('\n').filter((text) => /^\S/.test(text))).toEqual(['Times of this system: messages between services, not silicon']);
    const table = await runInProcess(['compare', '--from', counted, '--counts', '--ops', 'syscall', '--paths', 'native,trap-and-emulate']);
    expect(table.out.split('\n')).toEqual([
      'OPERATION  PATH              RETIRED  EXECUTED  EXITS  HYPERCALLS  MESSAGES  LEAVES FOR',
      'syscall    native                 10        10      0           0         0', '           trap-and-emulate       10        10      2           0         0  2 callout', '',
    ]);
    expect(await runInProcess(['compare', '--from', counted, '--ops', 'fork'])).toMatchObject({ code: 1, err: expect.stringContaining('has none of these operations on these paths') });
  });

  test.each([
    ['there-is-none.json', null, /^ringside: There is no file .*there-is-none\.json\.\n$/],
    ['text.json', 'not JSON', /cannot be read as JSON/],
    ['other.json', { schema: 'ringside.compare/2', results: [] }, /is not what compare --json of this version prints/],
    ['half.json', { schema: 'ringside.compare/1', clock: 'virtual', results: [{ operation: 'in' }] }, /is not what compare --json of this version prints/],
  ])('%s is refused in a sentence', async (name, value, said) => {
    const { code, err } = await runInProcess(['recap', '--from', value === null ? join(directory, name) : file(name, value)]);
    expect([code, err]).toEqual([1, expect.stringMatching(said)]);
  });
});
