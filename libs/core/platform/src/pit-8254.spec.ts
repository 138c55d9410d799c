import { nsToPitTicks, pitTicksToNs } from './pit-clock.js';
import { Pit8254 } from './pit-8254.js';
import { Random } from './testing/random.js';

const COUNTER_0 = 0, COUNTER_2 = 2, CONTROL = 3;
/** A PIT whose time is told in ticks. */
class Bench {
  readonly pit = new Pit8254();
  control(value: number, tick: number): void { this.pit.write(CONTROL, 1, value, pitTicksToNs(tick)); }
  count(value: number, tick: number, counter = COUNTER_0): void {
    this.pit.write(counter, 1, value & 0xff, pitTicksToNs(tick));
    this.pit.write(counter, 1, value >> 8, pitTicksToNs(tick));
  }
  read(tick: number, counter = COUNTER_0): number {
    const low = this.pit.read(counter, 1, pitTicksToNs(tick));
    return low | (this.pit.read(counter, 1, pitTicksToNs(tick)) << 8);
  }
  /** OUT 0 at each tick from..to as a string of 0 and 1. */
  wave(from: number, to: number): string {
    let wave = '';
    for (let tick = from; tick <= to; tick++) {
      this.pit.advance(pitTicksToNs(tick));
      wave += this.pit.out0 ? '1' : '0';
    }
    return wave;
  }
}

/** Control words for counter 0, two bytes. */
const MODE = (mode: number): number => 0x30 | (mode << 1);

describe('8254', () => {
  it('mode 0: OUT rises N + 1 pulses after the count, and stays', () => {
    const bench = new Bench();
    bench.control(MODE(0), 0);
    bench.count(4, 0);
    expect(bench.pit.nextDeadline()).toBe(pitTicksToNs(5));
    expect(bench.wave(0, 8)).toBe('000001111');
    expect(bench.pit.nextDeadline()).toBe(Infinity);
    bench.count(3, 20);
    expect(bench.wave(20, 25)).toBe('000011');
  });

  it('mode 0: the first byte of a new count stops counting', () => {
    const bench = new Bench();
    bench.control(MODE(0), 0);
    bench.count(10, 0);
    bench.pit.write(COUNTER_0, 1, 2, pitTicksToNs(5));
    expect(bench.wave(5, 40)).not.toContain('1');
    bench.pit.write(COUNTER_0, 1, 0, pitTicksToNs(40));
    expect(bench.wave(40, 44)).toBe('00011');
  });

  it('mode 2: low for one pulse in N', () => {
    const bench = new Bench();
    bench.control(MODE(2), 0);
    bench.count(3, 0);
    expect(bench.wave(0, 10)).toBe('11101101101');
    expect(bench.pit.nextDeadline()).toBe(pitTicksToNs(13));
  });

  it('mode 2: a new count waits for the end of the period', () => {
    const bench = new Bench();
    bench.control(MODE(2), 0);
    bench.count(4, 0);
    bench.count(2, 2);
    //                               1  load at 1: 1110, then period 2: 10 10
    expect(bench.wave(2, 9)).toBe('11010101');
  });

  it('mode 3: half high, half low; an odd count is high one pulse longer', () => {
    const bench = new Bench();
    bench.control(MODE(3), 0);
    bench.count(4, 0);
    expect(bench.wave(0, 9)).toBe('1110011001');
    const odd = new Bench();
    odd.control(MODE(3), 0);
    odd.count(5, 0);
    expect(odd.wave(0, 11)).toBe('111100111001');
  });

  it('mode 3: a new count begins with the next half', () => {
    const bench = new Bench();
    bench.control(MODE(3), 0);
    bench.count(8, 0); // high 1–4, low 5–8
    bench.count(4, 2); // low 5–6, high 7–8, low 9–10
    expect(bench.wave(2, 11)).toBe('1110011001');
  });

  it('mode 4: one low pulse N pulses after the load', () => {
    const bench = new Bench();
    bench.control(MODE(4), 0);
    bench.count(3, 0);
    expect(bench.pit.nextDeadline()).toBe(pitTicksToNs(5));
    expect(bench.wave(0, 8)).toBe('111101111');
  });

  it('modes 1 and 5 wait for the gate of counter 2', () => {
    for (const [mode, wave] of [[1, '1000011'], [5, '1111101']] as const) {
      const { pit } = new Bench();
      pit.write(CONTROL, 1, 0xb0 | (mode << 1), 0);
      pit.write(COUNTER_2, 1, 4, 0);
      pit.write(COUNTER_2, 1, 0, 0);
      expect(pit.out2(pitTicksToNs(50))).toBe(true);
      pit.setGate2(true, pitTicksToNs(100));
      let seen = '';
      for (let tick = 100; tick <= 106; tick++) seen += pit.out2(pitTicksToNs(tick)) ? '1' : '0';
      expect(seen).toBe(wave);
    }
  });

  it('the gate of counter 2 stops mode 0 and forces mode 3 high', () => {
    const { pit } = new Bench();
    pit.setGate2(true, 0);
    pit.write(CONTROL, 1, 0xb0, 0);
    pit.write(COUNTER_2, 1, 10, 0);
    pit.write(COUNTER_2, 1, 0, 0);
    pit.setGate2(false, pitTicksToNs(4));
    expect(pit.out2(pitTicksToNs(1000))).toBe(false);
    pit.setGate2(true, pitTicksToNs(1000));
    expect(pit.out2(pitTicksToNs(1006))).toBe(false);
    expect(pit.out2(pitTicksToNs(1007))).toBe(true);
    pit.write(CONTROL, 1, 0xb6, pitTicksToNs(2000));
    pit.write(COUNTER_2, 1, 4, pitTicksToNs(2000));
    pit.write(COUNTER_2, 1, 0, pitTicksToNs(2000));
    expect(pit.out2(pitTicksToNs(2003))).toBe(false);
    pit.setGate2(false, pitTicksToNs(2003));
    expect(pit.out2(pitTicksToNs(2003))).toBe(true);
  });

  it('counts down as read; 0 means 65,536; BCD counts in tens', () => {
    const bench = new Bench();
    bench.control(MODE(0), 0);
    bench.count(0, 0);
    expect(bench.read(1)).toBe(0);
    expect(bench.read(2)).toBe(0xffff);
    expect(bench.read(101)).toBe(0x10000 - 100);
    bench.control(MODE(0) | 1, 200);
    bench.count(0x1000, 200);
    expect(bench.read(202)).toBe(0x0999);
  });

  it('mode 3 counts by two', () => {
    const bench = new Bench();
    bench.control(MODE(3), 0);
    bench.count(8, 0);
    expect([1, 2, 3, 4, 5, 6].map((tick) => bench.read(tick))).toEqual([8, 6, 4, 2, 8, 6]);
  });

  it('a latched count holds until it is read', () => {
    const bench = new Bench();
    bench.control(MODE(2), 0);
    bench.count(1000, 0);
    bench.control(0x00, 101);
    bench.control(0x00, 300); // Ignored.
    expect(bench.read(500)).toBe(900);
    expect(bench.read(501)).toBe(500);
  });

  it('read-back latches status, then count', () => {
    const bench = new Bench();
    bench.control(MODE(2), 0);
    bench.control(0xc0 | 0x20 | 2, 0); // Status of counter 0: no count yet.
    expect(bench.pit.read(COUNTER_0, 1, 0)).toBe(0x80 | 0x40 | 0x34);
    bench.count(50, 0);
    bench.control(0xc0 | 2, 11); // Status and count.
    expect(bench.pit.read(COUNTER_0, 1, pitTicksToNs(20))).toBe(0x80 | 0x34);
    expect(bench.read(30)).toBe(40);
  });

  it('access modes of one byte', () => {
    const bench = new Bench();
    bench.control(0x14, 0); // LSB only, mode 2.
    bench.pit.write(COUNTER_0, 1, 100, 0);
    expect(bench.pit.read(COUNTER_0, 1, pitTicksToNs(11))).toBe(90);
    bench.control(0x24, 50); // MSB only.
    bench.pit.write(COUNTER_0, 1, 2, pitTicksToNs(50));
    expect(bench.pit.read(COUNTER_0, 1, pitTicksToNs(52))).toBe(1);
  });

  it('has no deadline before it is programmed', () => {
    expect(new Pit8254().nextDeadline()).toBe(Infinity);
  });

  // Whatever is programmed: looking at every tick and jumping from deadline to deadline see the same rising edges.
  it('announces every rising edge of OUT 0, whatever is written', () => {
    const random = new Random(7);
    for (let round = 0; round < 120; round++) {
      const writes = Array.from({ length: 12 }, () => ({ tick: random.below(400), offset: random.pick([0, 0, 0, 3]), value: random.pick([random.below(12), random.below(256), MODE(random.below(6)), 0x14, 0]) }));
      writes.sort((a, b) => a.tick - b.tick);
      const run = (stepwise: boolean): number[] => {
        const pit = new Pit8254();
        const edges: number[] = [];
        const note = (tick: number): void => { if (pit.takeRose()) edges.push(tick); };
        let at = 0;
        const to = (tick: number): void => {
          while (at < tick) {
            const deadline = pit.nextDeadline();
            if (deadline <= pitTicksToNs(at)) throw new Error(`deadline ${deadline} is not after tick ${at}`);
            const next = stepwise ? at + 1 : Math.min(tick, deadline === Infinity ? tick : nsToPitTicks(deadline));
            at = next;
            pit.advance(pitTicksToNs(at));
            note(at);
          }
        };
        for (const { tick, offset, value } of writes) {
          to(tick);
          pit.write(offset, 1, value, pitTicksToNs(tick));
          note(tick);
        }
        to(1000);
        return edges;
      };
      expect(run(false)).toEqual(run(true));
    }
  });

  it('is the same after restore(snapshot())', () => {
    const random = new Random(9);
    const pit = new Pit8254();
    let now = 0;
    for (let round = 0; round < 1000; round++) {
      now += random.below(5000);
      const copy = new Pit8254();
      copy.restore(pit.snapshot());
      const offset = random.below(4);
      if (random.below(2) === 0) {
        const value = random.below(256);
        pit.write(offset, 1, value, now);
        copy.write(offset, 1, value, now);
      } else {
        expect(copy.read(offset, 1, now)).toBe(pit.read(offset, 1, now));
      }
      expect(copy.snapshot()).toEqual(pit.snapshot());
      expect(copy.nextDeadline()).toBe(pit.nextDeadline());
    }
  });
});
