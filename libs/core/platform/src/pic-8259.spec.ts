import { Pic8259Pair } from './pic-8259.js';
import { Random } from './testing/random.js';

const MASTER = 0, SLAVE = 1, ELCR = 2;
class Bench {
  readonly pic = new Pic8259Pair();
  constructor(icw4 = 0x01) {
    for (const [chip, base] of [[MASTER, 0x20], [SLAVE, 0x28]] as const) {
      this.command(0x11, chip);
      this.data(base, chip);
      this.data(chip === MASTER ? 4 : 2, chip);
      this.data(icw4, chip);
    }
  }
  command(value: number, chip = MASTER): void { this.pic.write(0, 1, value, 0, chip); }
  data(value: number, chip = MASTER): void { this.pic.write(1, 1, value, 0, chip); }
  irr(chip = MASTER): number { this.command(0x0a, chip); return this.pic.read(0, 1, 0, chip); }
  isr(chip = MASTER): number { this.command(0x0b, chip); return this.pic.read(0, 1, 0, chip); }
  raise(irq: number): void { this.pic.setLine(irq, true); }
  lower(irq: number): void { this.pic.setLine(irq, false); }
  pulse(irq: number): void { this.lower(irq); this.raise(irq); }
}

describe('8259A pair', () => {
  it('asks for nothing before it is initialized, and takes the idle timer line for no edge', () => {
    expect(new Bench().irr()).toBe(0);
    const pic = new Pic8259Pair();
    pic.setLine(1, true);
    expect(pic.intr).toBe(false);
  });

  it('gives vectors in order of priority, the slave between IRQ 1 and 3', () => {
    const bench = new Bench();
    for (const irq of [3, 9, 1, 8]) bench.raise(irq);
    const vectors: number[] = [];
    while (bench.pic.intr) {
      const vector = bench.pic.acknowledge();
      vectors.push(vector);
      if (vector >= 0x28) bench.command(0x20, SLAVE);
      bench.command(0x20);
    }
    expect(vectors).toEqual([0x21, 0x28, 0x29, 0x23]);
  });

  it('holds back lower and equal priorities until the end of interrupt', () => {
    const bench = new Bench();
    bench.raise(3);
    expect(bench.pic.acknowledge()).toBe(0x23);
    expect(bench.isr()).toBe(8);
    bench.raise(4);
    bench.pulse(3);
    expect(bench.pic.intr).toBe(false);
    bench.raise(1);
    expect(bench.pic.intr).toBe(true);
    expect(bench.pic.acknowledge()).toBe(0x21);
    bench.command(0x20);
    expect(bench.isr()).toBe(8);
    bench.command(0x63); // Specific end of interrupt 3.
    expect(bench.pic.acknowledge()).toBe(0x23);
  });

  it('masks', () => {
    const bench = new Bench();
    bench.data(0x02);
    bench.raise(1);
    expect(bench.pic.intr).toBe(false);
    expect(bench.irr()).toBe(2);
    bench.data(0);
    expect(bench.pic.intr).toBe(true);
    expect(bench.pic.read(1, 1, 0, MASTER)).toBe(0);
  });

  it('a request falls with its line, and then INTA finds nothing: IR7, nothing in service', () => {
    const bench = new Bench();
    bench.raise(4);
    bench.lower(4);
    expect(bench.pic.intr).toBe(false);
    expect(bench.pic.acknowledge()).toBe(0x27);
    expect(bench.isr()).toBe(0);
  });

  it('the slave answers IR15 when its request went away under the master', () => {
    const bench = new Bench();
    bench.command(0x68); // OCW3: special mask mode, so that the master's cascade request can stand alone.
    bench.pic.write(0, 1, 0x02, 0, ELCR); // Not writable for IRQ 1: stays edge.
    expect(bench.pic.read(0, 1, 0, ELCR)).toBe(0);
    bench.raise(10);
    bench.command(0x0c); // Poll the master: it acknowledges the cascade input.
    expect(bench.pic.read(0, 1, 0, MASTER)).toBe(0x82);
    bench.command(0x0c, SLAVE);
    expect(bench.pic.read(0, 1, 0, SLAVE)).toBe(0x82);
    expect(bench.isr(SLAVE)).toBe(4);
  });

  it('needs a new edge after each acknowledge; a level input asks again', () => {
    const bench = new Bench();
    bench.raise(5);
    expect(bench.pic.acknowledge()).toBe(0x25);
    bench.command(0x20);
    expect(bench.pic.intr).toBe(false);
    bench.pic.write(0, 1, 0x20, 0, ELCR);
    expect(bench.pic.intr).toBe(true);
    bench.pic.acknowledge();
    bench.command(0x20);
    expect(bench.pic.intr).toBe(true);
    bench.lower(5);
    expect(bench.pic.intr).toBe(false);
  });

  it('an edge counts even if the line was high before and after', () => {
    const bench = new Bench();
    bench.raise(4);
    bench.pic.acknowledge();
    bench.command(0x20);
    bench.pic.setLine(4, true, true);
    expect(bench.pic.intr).toBe(true);
  });

  it('automatic end of interrupt leaves nothing in service', () => {
    const bench = new Bench(0x03);
    bench.raise(1);
    expect(bench.pic.acknowledge()).toBe(0x21);
    expect(bench.isr()).toBe(0);
  });

  it('rotates priorities', () => {
    const bench = new Bench();
    bench.pulse(0);
    bench.raise(1);
    expect(bench.pic.acknowledge()).toBe(0x20);
    bench.command(0xa0); // Rotate on non-specific end: IRQ 0 becomes the last.
    bench.pulse(0);
    expect(bench.pic.acknowledge()).toBe(0x21);
    bench.command(0xc4); // Set priority: IRQ 4 is the last, 5 the first.
    bench.command(0x61);
    bench.raise(5);
    expect(bench.pic.acknowledge()).toBe(0x25);
  });

  it('special mask mode lets lower priorities through while one is in service and masked', () => {
    const bench = new Bench();
    bench.raise(1);
    bench.pic.acknowledge();
    bench.raise(6);
    expect(bench.pic.intr).toBe(false);
    bench.command(0x68);
    bench.data(0x02);
    expect(bench.pic.acknowledge()).toBe(0x26);
    bench.command(0x20); // Ends 6; the masked 1 is not touched.
    expect(bench.isr()).toBe(2);
  });

  it('special fully nested mode lets a higher input of the same slave interrupt', () => {
    for (const [icw4, nested] of [[0x01, false], [0x11, true]] as const) {
      const bench = new Bench(icw4);
      bench.raise(12);
      expect(bench.pic.acknowledge()).toBe(0x2c);
      bench.raise(9);
      expect(bench.pic.intr).toBe(nested);
    }
  });

  it('ICW1 clears masks, service and edges', () => {
    const bench = new Bench();
    bench.raise(1);
    bench.pic.acknowledge();
    bench.raise(3);
    bench.data(0xff);
    for (const [value, write] of [[0x11, 'command'], [0x40, 'data'], [4, 'data'], [1, 'data']] as const) bench[write](value);
    expect(bench.isr()).toBe(0);
    expect(bench.irr()).toBe(0);
    expect(bench.pic.read(1, 1, 0, MASTER)).toBe(0);
    bench.pulse(3);
    expect(bench.pic.acknowledge()).toBe(0x43);
  });

  // `wouldInterrupt` is what allows a board not to announce timer edges: it must be exact.
  it('knows whether an edge would raise INTR, and restores its state', () => {
    const random = new Random(3);
    const { pic } = new Bench();
    for (let round = 0; round < 20_000; round++) {
      const irq = random.pick([0, 1, 3, 7, 8, 12, 15]);
      const copy = new Pic8259Pair();
      copy.restore(pic.snapshot());
      const before = copy.intr;
      const predicted = copy.wouldInterrupt(irq);
      copy.setLine(irq, true, true);
      expect(!before && copy.intr).toBe(predicted);
      switch (random.below(5)) {
        case 0: pic.setLine(irq, random.below(2) === 0, random.below(2) === 0); break;
        case 1: pic.write(random.below(2), 1, random.below(256), 0, random.below(3)); break;
        case 2: pic.write(0, 1, random.pick([0x20, 0x60, 0x61, 0xa0, 0x0a, 0x0b]), 0, random.below(2)); break;
        case 3: pic.read(random.below(2), 1, 0, random.below(3)); break;
        default: if (pic.intr) expect(pic.acknowledge()).toBeLessThan(256);
      }
      if (round % 50 === 49) for (const [at, value] of [[0, 0x11], [1, 0x20], [1, 4], [1, 1]] as const) for (const chip of [MASTER, SLAVE]) pic.write(at, 1, value, 0, chip);
    }
  });
});
