import { civilFromSeconds, secondsFromCivil } from './civil-time.js';
import { BoardBench, Outlets, testBoard } from './testing/board-bench.js';
import { Random } from './testing/random.js';

const SECOND = 1_000_000_000;
/** Sunday 2023-12-31 23:59:58 UTC. */
const EPOCH = Date.UTC(2023, 11, 31, 23, 59, 58) / 1000;
class Clock extends BoardBench {
  constructor(memoryBytes = 64 << 20) {
    super(testBoard(new Outlets(), { composition: 'virtualized', epochSeconds: EPOCH, memoryBytes }));
  }
  get(index: number): number { this.out(0x70, index); return this.in(0x71); }
  set(index: number, value: number): void { this.out(0x70, index); this.out(0x71, value); }
  time(): string { return [0x32, 9, 8, 7, 4, 2, 0].map((index) => this.get(index).toString(16).padStart(2, '0')).join(' '); }
}

describe('civil time', () => {
  it('agrees with the calendar of ECMAScript', () => {
    const random = new Random(5);
    for (let round = 0; round < 2000; round++) {
      const seconds = random.below(2 ** 31) * 4 - 2 ** 31;
      const date = new Date(seconds * 1000);
      const time = civilFromSeconds(seconds);
      expect([time.year, time.month, time.day, time.weekday, time.hour, time.minute, time.second]).toEqual([date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate(), date.getUTCDay(), date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()]);
      expect(secondsFromCivil(time)).toBe(seconds);
    }
    expect(secondsFromCivil({ year: 2023, month: 14, day: 30, weekday: 0, hour: 0, minute: 0, second: 0 })).toBe(Date.UTC(2023, 13, 30) / 1000);
  });
});

describe('MC146818A', () => {
  it('shows power-on time plus virtual time, in BCD', () => {
    const clock = new Clock();
    expect(clock.time()).toBe('20 23 12 31 23 59 58');
    clock.now = 2 * SECOND;
    expect(clock.time()).toBe('20 24 01 01 00 00 00');
    expect(clock.get(6)).toBe(2);
    expect(clock.get(0x0d)).toBe(0x80);
  });

  it('shows binary and twelve hours if asked', () => {
    const clock = new Clock();
    clock.set(0x0b, 0x06);
    expect([clock.get(4), clock.get(2)]).toEqual([23, 59]);
    clock.set(0x0b, 0x04);
    expect(clock.get(4)).toBe(0x8b);
    clock.set(4, 12);
    clock.set(0x0b, 0x06);
    expect(clock.get(4)).toBe(0);
  });

  it('is set while it is held, and runs on from there', () => {
    const clock = new Clock();
    clock.now = SECOND / 2;
    clock.set(0x0b, 0x82);
    for (const [index, value] of [[0x32, 0x19], [9, 0x99], [8, 0x02], [7, 0x28], [4, 0x12], [2, 0x34], [0, 0x56]] as const) clock.set(index, value);
    clock.now = 10 * SECOND;
    expect(clock.time()).toBe('19 99 02 28 12 34 56');
    clock.set(0x0b, 0x02);
    clock.now = 14 * SECOND;
    expect(clock.time()).toBe('19 99 02 28 12 35 00');
  });

  it('warns before each update', () => {
    const clock = new Clock();
    expect(clock.get(0x0a) & 0x80).toBe(0);
    clock.now = SECOND - 244_000;
    expect(clock.get(0x0a) & 0x80).toBe(0x80);
    clock.now = SECOND;
    expect(clock.get(0x0a) & 0x80).toBe(0);
  });

  it('interrupts at the periodic rate, once until register C is read', () => {
    const clock = new Clock();
    clock.set(0x0b, 0x42); // 1,024 Hz by default.
    expect(clock.last.deadline).toBe(Math.ceil(SECOND / 1024));
    clock.toDeadline();
    expect(clock.irq(8)).toBe(true);
    expect(clock.last.deadline).toBe(Infinity);
    expect(clock.get(0x0c)).toBe(0xc0);
    expect(clock.irq(8)).toBe(false);
    expect(clock.last.deadline).toBe(Math.ceil((2 * SECOND) / 1024));
  });

  it('interrupts at the alarm and after updates', () => {
    const clock = new Clock();
    for (const [index, value] of [[1, 0x00], [3, 0xff], [5, 0xc0]] as const) clock.set(index, value);
    clock.set(0x0b, 0x22);
    clock.toDeadline(); // 23:59:59
    expect(clock.irq(8)).toBe(false);
    clock.toDeadline(); // 00:00:00
    expect(clock.irq(8)).toBe(true);
    expect(clock.get(0x0c) & 0xb0).toBe(0xb0);
    clock.set(0x0b, 0x12);
    expect(clock.last.deadline).toBe(3 * SECOND);
  });

  it('tells the memory size and keeps 114 bytes', () => {
    const clock = new Clock();
    expect(clock.get(0x15) | (clock.get(0x16) << 8)).toBe(640);
    expect(clock.get(0x17) | (clock.get(0x18) << 8)).toBe(63 * 1024);
    expect(clock.get(0x34) | (clock.get(0x35) << 8)).toBe(48 * 16);
    clock.set(0x50, 0xa5);
    expect(clock.get(0xd0)).toBe(0xa5); // Bit 7 of the index is not the memory's.
  });
});
