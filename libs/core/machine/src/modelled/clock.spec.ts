import { CLOCKS, generationRefusal, modelledTable, parseClockName } from './clock.js';
import { COST_TABLES, NEHALEM, PENTIUM_4 } from './generations.js';

describe('clocks', () => {
  it('are virtual, real, and one for each table', () => {
    expect(CLOCKS).toEqual(['virtual', 'real', ...COST_TABLES.map(({ name }) => `modelled:${name}`)]);
    for (const clock of CLOCKS) expect(parseClockName(clock)).toBe(clock);
    for (const wrong of ['modelled:', 'modelled:80286', 'pentium4', 'Virtual', '', 0, null, undefined, ['virtual']]) expect(parseClockName(wrong)).toBeUndefined();
  });

  it('model the hardware of their table', () => {
    expect([modelledTable('virtual'), modelledTable('real'), modelledTable('modelled:pentium4'), modelledTable('modelled:80286')]).toEqual([null, null, PENTIUM_4, null]);
  });
});

describe('what hardware of a generation cannot be', () => {
  const without = { ...PENTIUM_4, processor: 'Pentium III', features: { vmx: false, ept: false, umip: false } };

  it('nested paging without EPT, hardware assistance without VMX; all else it can', () => {
    expect(generationRefusal(PENTIUM_4, { path: 'hardware-assisted', mmu: 'nested' })).toContain('has no EPT: there is mmu shadow, not nested');
    expect(generationRefusal(PENTIUM_4, { path: 'hardware-assisted', mmu: 'shadow' })).toBeNull();
    expect(generationRefusal(NEHALEM, { path: 'hardware-assisted', mmu: 'nested' })).toBeNull();
    for (const mmu of ['shadow', 'nested'] as const) expect(generationRefusal(without, { path: 'hardware-assisted', mmu })).toBe('the Pentium III has no VMX: nothing there is hardware-assisted');
    for (const [path, mmu] of [['native', 'none'], ['paravirt', 'direct'], ['trap-and-emulate', 'shadow'], ['binary-translation', 'shadow']] as const) expect(generationRefusal(without, { path, mmu })).toBeNull();
  });
});
