import { describe, expect, test } from '@jest/globals';
import { choicesFor, settingName } from './settings.js';
import type { Setting } from './result.js';

describe('the machines of a comparison', () => {
  test('are one for each path, unless there is a choice', () => {
    expect(choicesFor(['native', 'paravirt'], [], [])).toEqual([{ path: 'native' }, { path: 'paravirt' }]);
    expect(choicesFor(['hardware-assisted'], [], [])).toEqual([{ path: 'hardware-assisted', mmu: 'nested' }, { path: 'hardware-assisted', mmu: 'shadow' }]);
    expect(choicesFor(['hardware-assisted'], [], [], 'modelled:core2')).toEqual([{ path: 'hardware-assisted', mmu: 'shadow' }]);
    expect(choicesFor(['native', 'hardware-assisted'], ['nested'], [])).toEqual([{ path: 'native' }, { path: 'hardware-assisted', mmu: 'nested' }]);
    expect(choicesFor(['native', 'paravirt'], [], [1, 3])).toEqual([{ path: 'native' }, { path: 'paravirt', guestKernelRing: 1 }, { path: 'paravirt', guestKernelRing: 3 }]);
    expect(choicesFor(['paravirt'], ['direct'], [3, 3])).toEqual([{ path: 'paravirt', mmu: 'direct', guestKernelRing: 3 }]);
  });

  test('a choice that no path has is a usage error', () => {
    expect(() => choicesFor(['native', 'paravirt'], [], [2])).toThrow(expect.objectContaining({ exitCode: 2, message: expect.stringContaining('ring 0, not 2') }));
    expect(() => choicesFor(['native'], ['direct'], [])).toThrow('there is no mmu "direct"');
  });

  test('are those of the hardware that a clock models', () => {
    const paths = ['native', 'hardware-assisted'] as const;
    expect(choicesFor(paths, ['shadow'], [], 'modelled:pentium4')).toEqual([{ path: 'native' }, { path: 'hardware-assisted', mmu: 'shadow' }]);
    expect(() => choicesFor(paths, ['nested'], [], 'modelled:pentium4')).toThrow('With --clock modelled:pentium4: the Pentium 4 672, 3.8 GHz (2005) has no EPT');
  });

  test('are named by what distinguishes them', () => {
    const of = (guestKernelRing: 1 | 3): Setting => ({ path: 'paravirt', mmu: 'direct', guestKernelRing });
    const native: Setting = { path: 'native', mmu: 'none', guestKernelRing: 0 };
    expect(settingName(of(3), [native, of(3)])).toBe('paravirt');
    expect([of(1), of(3), native].map((setting) => settingName(setting, [native, of(1), of(3)]))).toEqual(['paravirt, ring 1', 'paravirt, ring 3', 'native']);
    expect(settingName({ ...of(1), mmu: 'shadow' }, [of(1)])).toBe('paravirt, shadow');
  });
});
