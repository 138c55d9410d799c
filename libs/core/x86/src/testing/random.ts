const { imul } = Math;

/** A small deterministic generator (mulberry32): the same seed gives the same cases on every machine. */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed | 0;
  }

  /** 32 random bits, as an unsigned number. */
  u32(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let mixed = imul(this.state ^ (this.state >>> 15), 1 | this.state);
    mixed = (mixed + imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** An integer in [0, count). */
  below(count: number): number {
    return this.u32() % count;
  }

  /** True once in `count` times. */
  oneIn(count: number): boolean {
    return this.u32() % count === 0;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.u32() % items.length] as T;
  }

  /** An operand worth testing: often at an edge of 8, 16 or 32 bits, else random. */
  operand(): number {
    return this.oneIn(3) ? (EDGES[this.below(EDGES.length)] as number) : this.u32();
  }
}

const EDGES = [0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0xffff_ff80, 0xffff_8000, 0x0f, 0x99, 31, 32];
