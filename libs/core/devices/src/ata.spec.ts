import { NEXT_SECTOR_NS, READ_ACCESS_NS, WRITE_SECTOR_NS } from './ata.js';
import { diskOf } from './create-board.js';
import { BoardBench, Outlets, request, testBoard } from './testing/board-bench.js';

const DATA = 0x1f0, ERROR = 0x1f1, COUNT = 0x1f2, LOW = 0x1f3, MID = 0x1f4, HIGH = 0x1f5, DEVICE = 0x1f6, STATUS = 0x1f7, CONTROL = 0x3f6;
const IRQ = 14;
const SECTORS = 2048;
const IMAGE = Uint8Array.from({ length: SECTORS * 512 }, (_, index) => (index >> 9) * 3 + index);

class Disk extends BoardBench {
  constructor() {
    super(testBoard(new Outlets(), { composition: 'virtualized', disk: IMAGE }));
  }
  command(code: number, lba = 0, count = 1): void {
    this.out(DEVICE, 0xe0 | (lba >>> 24));
    this.out(COUNT, count);
    this.out(LOW, lba);
    this.out(MID, lba >> 8);
    this.out(HIGH, lba >> 16);
    this.out(STATUS, code);
  }
  /** One string read of the data register. */
  block(bytes = 512): Uint8Array {
    this.last = this.board.cycle(request(this.now, { address: DATA, size: 2, count: bytes / 2 }));
    return this.last.data;
  }
  send(bytes: Uint8Array): void {
    this.last = this.board.cycle(request(this.now, { address: DATA, size: 2, count: bytes.length / 2, write: true, data: bytes }));
  }
  /** Wait for the interrupt and take it. */
  finish(): number {
    this.toDeadline();
    expect(this.irq(IRQ)).toBe(true);
    const status = this.in(STATUS);
    expect(this.irq(IRQ)).toBe(false);
    return status;
  }
  get digest(): string {
    return diskOf(this.board)!.digest();
  }
}
const sector = (lba: number): Uint8Array => IMAGE.slice(lba * 512, lba * 512 + 512);

describe('ATA disk', () => {
  it('is ready at power-on, with the signature of a disk', () => {
    const disk = new Disk();
    expect([disk.in(STATUS), disk.in(ERROR), disk.in(COUNT), disk.in(LOW), disk.in(MID), disk.in(HIGH)]).toEqual([0x50, 1, 1, 1, 0, 0]);
    expect(disk.last.deadline).toBe(Infinity);
  });

  it('reads sectors, one interrupt each', () => {
    const disk = new Disk();
    disk.command(0x20, 5, 2);
    expect(disk.in(CONTROL)).toBe(0xd0);
    expect(disk.last.deadline).toBe(READ_ACCESS_NS);
    expect(disk.finish()).toBe(0x58);
    expect(disk.block()).toEqual(sector(5));
    expect(disk.last.deadline).toBe(disk.now + NEXT_SECTOR_NS);
    expect(disk.finish()).toBe(0x58);
    expect(disk.block()).toEqual(sector(6));
    expect(disk.in(STATUS)).toBe(0x50);
    expect([disk.in(LOW), disk.in(COUNT), disk.last.deadline]).toEqual([6, 0, Infinity]);
  });

  it('gives data by bytes, words and doublewords', () => {
    const disk = new Disk();
    disk.command(0x20, 1);
    disk.finish();
    const expected = new DataView(sector(1).buffer);
    expect([disk.in(DATA, 4), disk.in(DATA, 2), disk.in(DATA, 1)]).toEqual([expected.getUint32(0, true), expected.getUint16(4, true), expected.getUint8(6)]);
  });

  it('writes sectors over a copy; the image itself stays', () => {
    const disk = new Disk();
    const before = disk.digest;
    const image = IMAGE.slice();
    disk.command(0x30, 9, 2);
    expect(disk.in(STATUS)).toBe(0x58); // Asked for at once, without an interrupt.
    disk.send(new Uint8Array(512).fill(0xaa));
    expect(disk.last.deadline).toBe(disk.now + WRITE_SECTOR_NS);
    expect(disk.finish()).toBe(0x58);
    disk.send(new Uint8Array(512).fill(0xbb));
    expect(disk.finish()).toBe(0x50);
    disk.command(0x20, 10);
    disk.finish();
    expect(disk.block()[7]).toBe(0xbb);
    expect(disk.digest).not.toBe(before);
    expect(IMAGE.every((byte, index) => byte === image[index])).toBe(true);
    for (const lba of [9, 10]) {
      disk.command(0x30, lba);
      disk.send(sector(lba));
      disk.finish();
    }
    expect(disk.digest).toBe(before);
  });

  it('moves blocks of several sectors once SET MULTIPLE MODE allows it', () => {
    const disk = new Disk();
    disk.command(0xc4, 0, 3);
    expect(disk.finish()).toBe(0x51);
    expect(disk.in(ERROR)).toBe(0x04);
    disk.command(0xc6, 0, 2);
    expect(disk.finish()).toBe(0x50);
    disk.command(0xc4, 20, 3);
    disk.finish();
    expect(disk.block(1024)).toEqual(IMAGE.slice(20 * 512, 22 * 512));
    disk.finish();
    expect(disk.block()).toEqual(sector(22));
    disk.command(0xc5, 30, 3);
    disk.send(new Uint8Array(1024).fill(1));
    disk.finish();
    disk.send(new Uint8Array(512).fill(2));
    expect(disk.finish()).toBe(0x50);
    expect(diskOf(disk.board)!.disk.contents().slice(32 * 512, 32 * 512 + 2)).toEqual(Uint8Array.of(2, 2));
    disk.command(0xc6, 0, 3);
    expect(disk.finish()).toBe(0x51);
  });

  it('identifies itself', () => {
    const disk = new Disk();
    disk.command(0xec);
    disk.finish();
    const data = new DataView(disk.block().slice().buffer);
    const text = (word: number, words: number): string => Array.from({ length: words }, (_, index) => { const value = data.getUint16((word + index) * 2, true); return String.fromCharCode(value >> 8, value & 0xff); }).join('').trim();
    expect(text(27, 20)).toBe('Ringside disk');
    expect(data.getUint16(60 * 2, true) | (data.getUint16(61 * 2, true) << 16)).toBe(SECTORS);
    expect([data.getUint16(2, true), data.getUint16(6, true), data.getUint16(12, true)]).toEqual([2, 16, 63]);
    expect(data.getUint16(98, true) & 0x200).toBe(0x200);
  });

  it('translates CHS addresses', () => {
    const disk = new Disk();
    disk.out(DEVICE, 0xa0 | 3);
    disk.out(COUNT, 1);
    disk.out(LOW, 4);
    disk.out(MID, 1);
    disk.out(HIGH, 0);
    disk.out(STATUS, 0x20);
    disk.finish();
    expect(disk.block()).toEqual(sector((1 * 16 + 3) * 63 + 3));
    disk.out(LOW, 0); // There is no sector 0.
    disk.out(STATUS, 0x20);
    expect(disk.finish()).toBe(0x51);
    expect(disk.in(ERROR)).toBe(0x10);
  });

  it('ends with IDNF behind the last sector, after those before it', () => {
    const disk = new Disk();
    disk.command(0x20, SECTORS - 1, 2);
    expect(disk.finish()).toBe(0x58);
    disk.block();
    expect(disk.finish()).toBe(0x51);
    expect(disk.in(ERROR)).toBe(0x10);
    disk.command(0x20, SECTORS, 1);
    expect(disk.finish()).toBe(0x51);
    disk.command(0x40, 0, 0); // Verify 256 sectors.
    expect(disk.finish()).toBe(0x50);
  });

  it('aborts what it does not have', () => {
    for (const code of [0x00, 0x08, 0xa1, 0xc8, 0xff]) {
      const disk = new Disk();
      disk.command(code);
      expect([disk.finish(), disk.in(ERROR)]).toEqual([0x51, 0x04]);
    }
    const disk = new Disk();
    disk.out(ERROR, 0x03);
    disk.command(0xef, 0, 0x42); // DMA modes are not there.
    expect(disk.finish()).toBe(0x51);
    disk.out(ERROR, 0x03);
    disk.command(0xef, 0, 0x0c);
    expect(disk.finish()).toBe(0x50);
  });

  it('keeps its line low while nIEN is set, and remembers', () => {
    const disk = new Disk();
    disk.out(CONTROL, 0x02);
    disk.command(0xe7);
    disk.toDeadline();
    expect(disk.irq(IRQ)).toBe(false);
    expect(disk.in(CONTROL)).toBe(0x50);
    disk.out(CONTROL, 0);
    expect(disk.irq(IRQ)).toBe(true);
    disk.in(CONTROL); // Alternate status does not acknowledge.
    expect(disk.irq(IRQ)).toBe(true);
  });

  it('answers for the missing device 1 with zero status and no command', () => {
    const disk = new Disk();
    disk.out(DEVICE, 0xf0);
    expect([disk.in(STATUS), disk.in(CONTROL)]).toEqual([0, 0]);
    disk.out(STATUS, 0xec);
    expect(disk.last.deadline).toBe(Infinity);
    disk.out(STATUS, 0x90);
    expect(disk.last.deadline).not.toBe(Infinity);
  });

  it('resets by SRST in the middle of a command', () => {
    const disk = new Disk();
    disk.command(0x20, 0, 4);
    disk.finish();
    disk.in(DATA, 2);
    disk.out(CONTROL, 0x04);
    expect(disk.in(CONTROL)).toBe(0x80);
    disk.out(CONTROL, 0x00);
    disk.toDeadline();
    expect([disk.in(STATUS), disk.in(ERROR), disk.in(LOW)]).toEqual([0x50, 1, 1]);
    expect(disk.in(DATA, 2)).toBe(0xffff);
  });

  it('is an empty bus when the machine has no disk', () => {
    const bus = new BoardBench(testBoard(new Outlets()));
    expect(bus.in(STATUS)).toBe(0xff);
    expect(() => testBoard(new Outlets(), { disk: new Uint8Array(100) })).toThrow('512');
  });
});
