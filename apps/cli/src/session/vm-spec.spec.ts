import { describe, expect, test } from '@jest/globals';
import { parseClock, parsePath, parsePortRange, vmSpec } from './vm-spec.js';

describe('vmSpec', () => {
  test('defaults follow the path', () => {
    const base = { id: 'a', clock: 'virtual', guest: 'ringlet' } as const;
    expect(vmSpec({ ...base, path: 'native' })).toMatchObject({ mmu: 'none', guestKernelRing: 0, disk: 'ringlet', grantedPorts: [] });
    expect(vmSpec({ ...base, path: 'hardware-assisted' })).toMatchObject({ mmu: 'nested', guestKernelRing: 0, grantedPorts: [] });
    expect(vmSpec({ ...base, path: 'paravirt' })).toMatchObject({ mmu: 'direct', guestKernelRing: 1, guest: 'ringlet-pv' });
    expect(vmSpec({ ...base, path: 'paravirt', guestKernelRing: 3 })).toMatchObject({ guestKernelRing: 3, guest: 'ringlet-pv' });
    expect(vmSpec({ ...base, path: 'paravirt' }).grantedPorts).toContainEqual({ from: 0x378, to: 0x37a });
  });

  test('a guest of one\'s own gets no disk and no ports unless asked for', () => {
    expect(vmSpec({ id: 'a', clock: 'real', guest: 'sha256:00', path: 'paravirt' })).toMatchObject({ disk: null, grantedPorts: [] });
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
    expect(() => parsePath('binary-translation')).toThrow('is not built yet');
    expect(() => parsePath('warp')).toThrow('There is no path "warp"');
    expect(() => parseClock('modelled')).toThrow('There is no clock');
    expect(parsePortRange('0x378-0x37a')).toEqual({ from: 0x378, to: 0x37a });
    expect(parsePortRange('128')).toEqual({ from: 128, to: 128 });
    expect(() => parsePortRange('5-1')).toThrow('is no port range');
    expect(() => parsePortRange('0x10000')).toThrow('is no port range');
  });
});
