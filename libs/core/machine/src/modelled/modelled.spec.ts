import { COST_TABLES, CORE_2, costTable, NEHALEM, PENTIUM_4 } from './generations.js';
import { modelledCycles, NotOfThisGenerationError, PRIMITIVES, type CostTable, type Primitive } from './cost-table.js';
import { orderings, testOrderings, type Sample } from './sensitivity.js';

const NAMES = Object.keys(PRIMITIVES) as Primitive[];

describe('cost tables', () => {
  it.each(COST_TABLES.map((table) => [table.name, table] as const))('%s: each figure is a positive number with a source or an assumption', (_, table) => {
    expect(Object.keys(table.figures).sort()).toEqual([...NAMES].sort());
    for (const name of NAMES) {
      const figure = table.figures[name];
      if (figure === null) continue;
      expect(figure.cycles).toBeGreaterThan(0);
      expect(Number.isFinite(figure.cycles)).toBe(true);
      if ('quoted' in figure.source) expect([name, figure.source]).toEqual([name, { quoted: expect.stringMatching(/\d/), url: expect.stringMatching(/^https:\/\//) }]);
      else expect(figure.source.assumed.length).toBeGreaterThan(10);
    }
  });

  it.each(COST_TABLES.map((table) => [table.name, table] as const))('%s: what the processor does not have has no figure', (_, { features, figures }) => {
    for (const name of ['vm-exit', 'vm-entry', 'vmcs-read', 'vmcs-write'] as const) expect(figures[name] !== null).toBe(features.vmx);
    expect(figures['nested-walk-read'] !== null).toBe(features.ept);
  });

  it('are found by name', () => {
    expect(costTable('pentium4')).toBe(PENTIUM_4);
    expect(costTable('80286')).toBeUndefined();
    expect(new Set(COST_TABLES.map(({ name }) => name)).size).toBe(COST_TABLES.length);
  });
});

describe('modelled cycles', () => {
  it('are the sum of count times figure', () => {
    expect(modelledCycles(PENTIUM_4, {})).toBe(0);
    const { figures } = PENTIUM_4;
    expect(modelledCycles(PENTIUM_4, { 'port-cycle': 1, 'instruction': 3 })).toBe(figures['port-cycle']!.cycles + 3 * figures.instruction!.cycles);
    const all = Object.fromEntries(NAMES.filter((name) => NEHALEM.figures[name] !== null).map((name) => [name, 1]));
    expect(modelledCycles(NEHALEM, all)).toBeCloseTo(NAMES.reduce((sum, name) => sum + (NEHALEM.figures[name]?.cycles ?? 0), 0), 6);
  });

  it('of counts added are cycles added', () => {
    const one = { 'gate-entry': 2, 'iret': 2, 'page-walk-read': 5 };
    const other = { 'gate-entry': 1, 'division': 7 };
    expect(modelledCycles(CORE_2, { 'gate-entry': 3, 'iret': 2, 'page-walk-read': 5, 'division': 7 })).toBeCloseTo(modelledCycles(CORE_2, one) + modelledCycles(CORE_2, other), 9);
  });

  it('refuse what the hardware cannot do', () => {
    expect(() => modelledCycles(PENTIUM_4, { 'nested-walk-read': 4 })).toThrow(NotOfThisGenerationError);
    expect(() => modelledCycles(PENTIUM_4, { 'nested-walk-read': 4 })).toThrow('Pentium 4');
    expect(modelledCycles(NEHALEM, { 'nested-walk-read': 4 })).toBeGreaterThan(0);
  });

  it('of an exit and the entry after it have fallen from generation to generation', () => {
    const roundTrips = [PENTIUM_4, CORE_2, NEHALEM].map((table) => modelledCycles(table, { 'vm-exit': 1, 'vm-entry': 1 }));
    expect([...roundTrips].sort((a, b) => b - a)).toEqual(roundTrips);
  });
});

describe('sensitivity', () => {
  const table: CostTable = {
    ...PENTIUM_4,
    figures: {
      ...PENTIUM_4.figures,
      'instruction': { cycles: 1, source: { assumed: 'for this test' } }, 'vm-exit': { cycles: 100, source: { assumed: 'for this test' } }, 'gate-entry': { cycles: 60, source: { assumed: 'for this test' } },
    },
  };
  const samples: Sample[] = [{
    operation: 'fault',
    counts: new Map([['native', { instruction: 10 }], ['gate', { 'gate-entry': 1 }], ['exit', { 'vm-exit': 1 }], ['same', { instruction: 10 }]]),
  }];

  it('finds the orderings, and no ordering in a tie', () => {
    expect(orderings(table, samples).map(({ faster, slower }) => `${faster} < ${slower}`).sort()).toEqual([
      'gate < exit', 'native < exit', 'native < gate', 'same < exit', 'same < gate',
    ]);
    expect(orderings(table, samples, { 'gate-entry': 2 }).some(({ faster, slower }) => faster === 'exit' && slower === 'gate')).toBe(true);
  });

  it('says which figure an ordering hangs on', () => {
    const tested = testOrderings(table, samples);
    const lostBy = (faster: string, slower: string): unknown => tested.find((one) => one.faster === faster && one.slower === slower)!.lostBy;
    expect(lostBy('gate', 'exit')).toEqual([{ primitive: 'gate-entry', factor: 2 }, { primitive: 'vm-exit', factor: 0.5 }]);
    expect(lostBy('native', 'exit')).toEqual([]);
  });
});
