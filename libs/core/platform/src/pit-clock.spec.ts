import { nsToPitTicks, pitTicksToNs, PIT_HZ } from './pit-clock.js';
import { Random } from './testing/random.js';

describe('PIT clock', () => {
  it('has 1,193,182 ticks in each second, also after years', () => {
    expect(nsToPitTicks(1_000_000_000)).toBe(PIT_HZ);
    expect(nsToPitTicks(999_999_999)).toBe(PIT_HZ - 1);
    expect(nsToPitTicks(4_000_000 * 1_000_000_000)).toBe(4_000_000 * PIT_HZ);
  });

  it('gives the first ns of each tick, exactly as integers of any size would', () => {
    const random = new Random(1);
    for (let round = 0; round < 5000; round++) {
      const tick = random.below(2 ** 31) * 1000 + random.below(1000);
      const ns = pitTicksToNs(tick);
      expect(BigInt(ns)).toBe((BigInt(tick) * 1_000_000_000n + BigInt(PIT_HZ) - 1n) / BigInt(PIT_HZ));
      expect(nsToPitTicks(ns)).toBe(tick);
      expect(nsToPitTicks(ns - 1)).toBe(tick - 1);
    }
  });
});
