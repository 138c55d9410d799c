import { describe, expect, test } from '@jest/globals';
import { parseClock, parsePath, parsePortRange, vmSpec } from './vm-spec.js';

describe('vmSpec', () => {
  test('defaults follow the path', () => {
    const base = { id: 'a', clock: 'virtual', guest: 'ringlet' } as const;
    expect(vmSpec({ ...base, path: 'native' })).toMatchObject({ mmu: 'none', guestKernelRing: 0, disk: 'ringlet', grantedPorts: [] });
    expect(vmSpec({ ...base, path: 'hardware-assisted' })).toMatchObject({ mmu: 'nested', guestKernelRing: 0, grantedPorts: [] });
    expect(vmSpec({ ...base, path: 'paravirt' })).toMatchObject({ mmu: 'direct', guestKernelRing: 1, guest: 'ringlet-pv' });
    expect(vmSpec({ ...base, path: 'paravirt', guestKernelRing: 3 })).toMatchObject({ guestKernelRing: 3, guest: 'ringlet-pv' });
    expect(vmSpec({ ...base, path: 'binary-translation' })).toMatchObject({ mmu: 'shadow', guestKernelRing: 1, guest: 'ringlet' });
    expect(vmSpec({ ...base, path: 'paravirt' }).grantedPorts).toContainEqual({ from: 0x378, to: 0x37a });
  });

  test('a guest of one\'s own gets no disk and no ports unless asked for', () => {
    expect(vmSpec({ id: 'a', clock: 'real', guest: 'sha256:00', path: 'paravirt' })).toMatchObject({ disk: null, grantedPorts: [] });
  });

  test('hardware without EPT has shadow page tables, and no others', () => {
    const base = { id: 'a', guest: 'ringlet', path: 'hardware-assisted' } as const;
    expect(vmSpec({ ...base, clock: 'modelled:pentium4' }).mmu).toBe('shadow');
    expect(vmSpec({ ...base, clock: 'modelled:nehalem' }).mmu).toBe('nested');
    expect(() => vmSpec({ ...base, clock: 'modelled:core2', mmu: 'nested' })).toThrow('With --clock modelled:core2: the Core 2 Duo E6600, 2.4 GHz (2006) has no EPT: there is mmu shadow, not nested.');
  });

  test.each([
    [{ mmu: 'shadow' }, 'On native there is no mmu "shadow"'],
    [{ guestKernelRing: 1 }, 'runs in ring 0, not 1'],
    [{ id: 'No.Dots' }, 'cannot name a VM'],
  ])('refuses %j by a usage error', (change, message) => {
    expect(() => vmSpec({ id: 'a', path: 'native', clock: 'real', guest: 'ringlet', ...change })).toThrow(expect.objectContaining({ message: expect.stringContaining(message), exitCode: 2 }));
  });

  test('words of the command line', () => {
    expect(parsePath('native')).toBe('native');
    expect(parsePath('binary-translation')).toBe('binary-translation');
    expect(() => parsePath('warp')).toThrow('There is no path "warp"');
    expect(() => parseClock('modelled')).toThrow('There is no clock "modelled"; there are virtual, real, modelled:pentium4, modelled:core2, modelled:nehalem.');
    expect(parseClock('modelled:core2')).toBe('modelled:core2');
    expect(parsePortRange('0x378-0x37a')).toEqual({ from: 0x378, to: 0x37a });
    expect(parsePortRange('128')).toEqual({ from: 128, to: 128 });
    expect(() => parsePortRange('5-1')).toThrow('is no port range');
    expect(() => parsePortRange('0x10000')).toThrow('is no port range');
  });
});
