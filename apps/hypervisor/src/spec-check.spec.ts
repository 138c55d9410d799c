import { describe, expect, it } from '@jest/globals';
import type { VmSpec } from '@ringside/machine';
import fc from 'fast-check';
import { ControlFailure } from '@ringside/nats-transport';
import { checkSpec } from './spec-check.js';

const SPEC: VmSpec = { id: 'a', path: 'hardware-assisted', mmu: 'nested', guestKernelRing: 0, memoryMiB: 32, clock: 'virtual', guest: 'ringlet', commandLine: '', disk: null, script: [], grantedPorts: [], hashStates: false };

describe('checkSpec', () => {
  it('takes what is built', () => {
    expect(() => checkSpec(SPEC)).not.toThrow();
    expect(() => checkSpec({ ...SPEC, path: 'native', mmu: 'none' })).not.toThrow();
    expect(() => checkSpec({ ...SPEC, clock: 'modelled:pentium4', mmu: 'shadow' })).not.toThrow();
    expect(() => checkSpec({ ...SPEC, clock: 'modelled:nehalem' })).not.toThrow();
    expect(() => checkSpec({ ...SPEC, path: 'paravirt', mmu: 'direct', guestKernelRing: 1, grantedPorts: [{ from: 0x378, to: 0x37a }] })).not.toThrow();
  });

  it.each<[string, Partial<Record<keyof VmSpec, unknown>>, RegExp]>([
    ['an id with a dot', { id: 'a.b' }, /"a\.b" cannot name a VM/],
    ['an unknown path', { path: 'warp' }, /there is no path "warp"; there are native/],
    ['an mmu of another path', { mmu: 'direct' }, /no mmu "direct"/],
    ['a ring of another path', { guestKernelRing: 3 }, /runs in ring 0, not 3/],
    ['no memory', { memoryMiB: 0 }, /not 0/],
    ['an unknown clock', { clock: 'sundial' }, /no clock "sundial"; there are virtual, real, modelled:pentium4/],
    ['hardware that is not modelled', { clock: 'modelled:80286' }, /no clock "modelled:80286"/],
    ['a clock that is no word', { clock: ['virtual'] }, /no clock "object"/],
    ['nested paging on hardware without EPT', { clock: 'modelled:pentium4' }, /Pentium 4 672.* has no EPT: there is mmu shadow, not nested/],
    ['a script that is none', { script: [{ expect: 1 }] }, /list of \{ expect, send \}/],
    ['ports the wrong way round', { grantedPorts: [{ from: 2, to: 1 }] }, /granted ports/],
  ])('refuses %s in one sentence', (_, change, sentence) => {
    expect(() => checkSpec({ ...SPEC, ...change } as VmSpec)).toThrow(sentence);
    expect(() => checkSpec({ ...SPEC, ...change } as VmSpec)).toThrow(ControlFailure);
  });

  it('throws nothing but its own sentence, whatever it is given', () => {
    fc.assert(fc.property(fc.oneof(fc.anything(), fc.record(Object.fromEntries(Object.keys(SPEC).map((key) => [key, fc.oneof(fc.constant(SPEC[key as keyof VmSpec]), fc.anything())])))), (spec) => {
      try {
        checkSpec(spec as VmSpec);
      } catch (error) {
        expect(error).toBeInstanceOf(ControlFailure);
      }
    }));
  });
});
