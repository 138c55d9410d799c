const { imul } = Math;

/** A seeded generator (xorshift32): the same seed, the same test. */
export class Random {
  private state: number;
  constructor(seed: number) {
    this.state = imul(seed + 1, 0x9e3779b1) | 1;
  }
  word(): number {
    let { state } = this;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.state = state;
    return state >>> 0;
  }
  below(limit: number): number {
    return this.word() % limit;
  }
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}
