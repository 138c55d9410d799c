import { describe, expect, test } from '@jest/globals';
import { Terminal } from '../terminal.js';
import { renderExits } from './exits.js';

const summary = (count: number, totalNs: number, minNs: number, maxNs: number) => ({ count, totalNs, minNs, maxNs, buckets: [] });

describe('renderExits', () => {
  test('the columns of perf kvm stat, most time first', () => {
    const lines = renderExits({ cpuid: summary(1, 10_000, 10_000, 10_000), 'io-instruction': summary(3, 90_000, 20_000, 40_000), hlt: summary(0, 0, 0, 0) }, new Terminal(process.stdout, process.stderr, { NO_COLOR: '1' }));
    expect(lines).toEqual([
      'VM-EXIT         Samples  Samples%   Time%  Min Time  Max Time  Avg time',
      'io-instruction        3    75.00%  90.00%   20.00us   40.00us   30.00us',
      'cpuid                 1    25.00%  10.00%   10.00us   10.00us   10.00us',
      '',
      'Total Samples:4, Total events handled time:100.00us.',
    ]);
  });
});
