import { describe, expect, test } from '@jest/globals';
import type { OperationName } from '@ringside/machine';
import { unsupported, type OperationResult } from '../compare/result.js';
import { findings } from './demo.js';

const settings = { native: { mmu: 'none', guestKernelRing: 0 }, paravirt: { mmu: 'direct', guestKernelRing: 1 }, 'hardware-assisted': { mmu: 'nested', guestKernelRing: 0 } } as const;

function result(operation: OperationName, path: keyof typeof settings, exits: Record<string, number>, hypercalls = 0, messages: Record<string, number> = {}): OperationResult {
  return { ...unsupported({ path, ...settings[path] }, operation, ''), status: 'ok', reason: null, repetitions: 1, exits, hypercalls, messages };
}

describe('findings', () => {
  test('are read from the counts', () => {
    const lines = findings([
      result('call-ret', 'native', {}), result('call-ret', 'paravirt', {}), result('call-ret', 'hardware-assisted', {}),
      result('pte-modify', 'paravirt', { hypercall: 1 }, 1), result('pte-modify-batch', 'paravirt', { hypercall: 2 }, 2), result('pte-modify', 'hardware-assisted', {}),
      result('page-fault', 'paravirt', { 'deprivileged-exception': 1, hypercall: 1 }, 1), result('page-fault', 'hardware-assisted', {}),
      result('print', 'native', {}, 0, { 'io.port': 1_500 }), result('print', 'hardware-assisted', { 'io-instruction': 1_500 }, 0, { 'io.port': 1_500, 'exit.io-instruction': 1_500 }),
    ]);
    expect(lines).toEqual([
      'call-ret: no exit on any path. What is not privileged costs nothing extra.',
      'pte-modify: paravirt asks ring -1 (1 hypercall); 32 in one batch take 2 hypercalls. With nested paging they are the guest\'s own: no exit.',
      'page-fault: 2 exits on paravirt, no exits on hardware-assisted.',
      'print: 1,500 exits and 3,000 messages a page with hardware assistance, 1,500 messages natively.',
    ]);
  });

  test('nothing is said of what did not run', () => {
    expect(findings([unsupported({ path: 'paravirt', ...settings.paravirt }, 'pte-modify', 'crashed')])).toEqual([]);
  });
});
