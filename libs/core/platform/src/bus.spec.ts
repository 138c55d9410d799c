import type { BusDevice } from './bus-device.js';
import { Bus, BusOverlapError } from './bus.js';

/** Remembers what it was asked. */
class Recorder implements BusDevice {
  readonly mmio = [];
  readonly log: string[] = [];
  readonly label: string;
  constructor(readonly id: string, readonly ports: BusDevice['ports'], private readonly value = 0) {
    this.label = `device ${id}`;
  }
  read(offset: number, size: number, now: number, range: number): number {
    this.log.push(`r${range}+${offset}/${size}@${now}`);
    return this.value + offset;
  }
  write(offset: number, size: number, value: number, now: number, range: number): void {
    this.log.push(`w${range}+${offset}/${size}=${value.toString(16)}@${now}`);
  }
  advance(): void { /* Nothing. */ }
  nextDeadline(): number { return Infinity; }
  reset(): void { this.log.length = 0; }
  snapshot(): null { return null; }
  restore(): void { /* Nothing. */ }
}
const range = (from: number, to: number, width: 1 | 2 | 4 = 1): BusDevice['ports'][number] => ({ from, to, width, registers: ['zero', 'one'] });

describe('bus', () => {
  it('gives a device its offset, range and time', () => {
    const bus = new Bus('port');
    const device = new Recorder('a', [range(0x10, 0x13), range(0x20, 0x21, 2)]);
    bus.attach(device);
    bus.write(0x12, 1, 0xff, 5);
    bus.write(0x20, 2, 0xabcd, 6);
    expect(device.log).toEqual(['w0+2/1=ff@5', 'w1+0/2=abcd@6']);
    expect(bus.describe(0x11)).toEqual({ device, register: 'one' });
    expect(bus.describe(0x13)?.register).toBe('+3');
    expect(bus.describe(0x30)).toBeNull();
  });

  it('refuses overlaps and keeps nothing of the refused device', () => {
    const bus = new Bus('port');
    bus.attach(new Recorder('a', [range(0x10, 0x13)]));
    expect(() => bus.attach(new Recorder('b', [range(0x30, 0x31), range(0x13, 0x14)]))).toThrow(BusOverlapError);
    expect(() => bus.attach(new Recorder('c', [range(0x40, 0x42), range(0x41, 0x41)]))).toThrow('device c and device c both claim port 0x41');
    expect(bus.claims(0x30)).toBe(false);
    bus.attach(new Recorder('d', [range(0x0, 0xf), range(0x14, 0x14)]));
    expect([0xf, 0x10, 0x13, 0x14, 0x15].map((port) => bus.claims(port))).toEqual([true, true, true, true, false]);
  });

  it('reads all ones where nobody is, ignores writes, and counts both', () => {
    const bus = new Bus('port');
    expect([bus.read(0x50, 1, 0), bus.read(0x50, 2, 0), bus.read(0x50, 4, 0)]).toEqual([0xff, 0xffff, 0xffff_ffff]);
    bus.write(0x51, 4, 1, 0);
    expect(bus.unclaimed.reads).toBe(3);
    expect(bus.unclaimed.byAddress).toEqual(new Map([[0x50, { reads: 3, writes: 0 }], [0x51, { reads: 0, writes: 1 }]]));
  });

  it('splits what is wider than the device, low byte first, across devices and gaps', () => {
    const bus = new Bus('port');
    const a = new Recorder('a', [range(0x10, 0x11)], 0x40);
    const b = new Recorder('b', [range(0x13, 0x13)], 0x77);
    bus.attach(a);
    bus.attach(b);
    expect(bus.read(0x10, 4, 1)).toBe(0x77ff4140);
    expect(bus.read(0xf, 2, 1)).toBe(0x40ff);
    bus.write(0x11, 4, 0x44332211, 2);
    expect(a.log.at(-1)).toBe('w0+1/1=11@2');
    expect(b.log.at(-1)).toBe('w0+0/1=33@2');
    expect(bus.unclaimed).toMatchObject({ reads: 2, writes: 2 });
  });

  it('wraps ports at 64 Ki', () => {
    const bus = new Bus('port');
    bus.attach(new Recorder('a', [range(0, 0)], 0x12));
    expect(bus.read(0xffff, 2, 0)).toBe(0x12ff);
  });
});
