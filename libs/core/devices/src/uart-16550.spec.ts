import { BoardBench, Outlets, testBoard } from './testing/board-bench.js';
import { consoleOf } from './create-board.js';
import type { BoardSpec } from './device-factory.js';
import { INPUT_QUEUE_BYTES } from './uart-16550.js';

const COM1 = 0x3f8, IER = 0x3f9, IIR = 0x3fa, FCR = 0x3fa, LCR = 0x3fb, MCR = 0x3fc, LSR = 0x3fd, MSR = 0x3fe, SCR = 0x3ff;
const IRQ = 4;

function bench(options: Partial<BoardSpec> = {}): { bus: BoardBench; outlets: Outlets; type: (text: string) => void } {
  const outlets = new Outlets();
  const board = testBoard(outlets, { composition: 'virtualized', ...options });
  const bus = new BoardBench(board);
  const type = (text: string): void => {
    consoleOf(board).queueInput(new TextEncoder().encode(text));
    bus.last = board.cycle({ vmId: 'test', epoch: 1, seq: 1, ordinal: 0, bus: 'input', now: bus.now, address: 0, size: 1, write: false, count: 0, data: new Uint8Array(0), interruptible: false });
  };
  return { bus, outlets, type };
}

describe('16550A', () => {
  it('sends at once, one byte or a string', () => {
    const { bus, outlets } = bench();
    bus.out(COM1, 'H'.charCodeAt(0));
    bus.last = bus.board.cycle({ vmId: 't', epoch: 1, seq: 2, ordinal: 0, bus: 'port', now: 1, address: COM1, size: 1, write: true, count: 3, data: new TextEncoder().encode('ey!'), interruptible: false });
    expect(outlets.text).toBe('Hey!');
    expect(bus.in(LSR)).toBe(0x60);
  });

  it('has a divisor latch behind DLAB and a scratch register', () => {
    const { bus, outlets } = bench();
    bus.out(LCR, 0x83);
    bus.out(COM1, 0x0c);
    bus.out(IER, 0x01);
    expect([bus.in(COM1), bus.in(IER)]).toEqual([0x0c, 0x01]);
    bus.out(LCR, 0x03);
    expect(bus.in(IER)).toBe(0);
    expect(outlets.text).toBe('');
    bus.out(SCR, 0x5a);
    expect(bus.in(SCR)).toBe(0x5a);
  });

  it('shows FIFOs in IIR only while they are on', () => {
    const { bus } = bench();
    expect(bus.in(IIR)).toBe(0x01);
    bus.out(FCR, 0x01);
    expect(bus.in(IIR)).toBe(0xc1);
    bus.out(FCR, 0xc0);
    expect(bus.in(IIR)).toBe(0x01);
  });

  it('receives without loss, sixteen bytes at a time', () => {
    const { bus, type } = bench();
    bus.out(FCR, 0x01);
    const text = 'The quick brown fox jumps over the lazy dog';
    type(text);
    let got = '';
    while ((bus.in(LSR) & 1) !== 0) got += String.fromCharCode(bus.in(COM1));
    expect(got).toBe(text);
    expect(bus.in(LSR) & 2).toBe(0);
  });

  it('receives without FIFO too', () => {
    const { bus, type } = bench();
    type('abc');
    expect([bus.in(COM1), bus.in(COM1), bus.in(COM1), bus.in(LSR) & 1]).toEqual([97, 98, 99, 0]);
  });

  it('drives IRQ 4 only through OUT2', () => {
    const { bus, type } = bench();
    bus.out(IER, 0x01);
    type('x');
    expect(bus.irq(IRQ)).toBe(false);
    bus.out(MCR, 0x08);
    expect(bus.irq(IRQ)).toBe(true);
    expect(bus.in(IIR)).toBe(0x04);
    bus.in(COM1);
    expect(bus.irq(IRQ)).toBe(false);
  });

  it('asks at the trigger level, and for less after four character times', () => {
    const { bus, type } = bench();
    bus.out(FCR, 0x81); // Trigger at 8.
    bus.out(IER, 0x01);
    bus.out(MCR, 0x0b);
    type('12345678');
    expect(bus.in(IIR)).toBe(0xc4);
    bus.in(COM1);
    expect(bus.irq(IRQ)).toBe(false);
    expect(bus.last.deadline).toBe(Math.ceil((4 * 10 * 1e9) / 115200));
    bus.toDeadline();
    expect(bus.irq(IRQ)).toBe(true);
    expect(bus.in(IIR)).toBe(0xcc);
    bus.in(COM1);
    expect(bus.irq(IRQ)).toBe(false);
  });

  it('reports the transmitter as one request for each emptying, cleared by IIR', () => {
    const { bus } = bench();
    bus.out(MCR, 0x08);
    bus.out(IER, 0x02);
    expect(bus.irq(IRQ)).toBe(true);
    expect(bus.in(IIR)).toBe(0x02);
    expect(bus.irq(IRQ)).toBe(false);
    expect(bus.in(IIR)).toBe(0x01);
    bus.out(COM1, 65);
    expect(bus.irq(IRQ)).toBe(true);
    bus.out(COM1, 66); // Emptied again: the line fell and rose.
    expect(bus.last.rose).toBe(1 << IRQ);
  });

  it('gives the highest priority first', () => {
    const { bus } = bench();
    bus.out(MCR, 0x10); // Loopback without FIFO: two bytes overrun.
    bus.out(IER, 0x0f);
    bus.out(COM1, 1);
    bus.out(COM1, 2);
    bus.out(MCR, 0x1f);
    const seen: number[] = [bus.in(IIR)];
    expect(bus.in(LSR) & 0x02).toBe(2);
    seen.push(bus.in(IIR));
    expect(bus.in(COM1)).toBe(2);
    seen.push(bus.in(IIR));
    seen.push(bus.in(IIR));
    bus.in(MSR);
    seen.push(bus.in(IIR));
    expect(seen).toEqual([0x06, 0x04, 0x02, 0x00, 0x01]);
  });

  it('loops back: data, modem lines, nothing to the outside', () => {
    const { bus, outlets } = bench();
    expect(bus.in(MSR)).toBe(0xb0);
    bus.out(MCR, 0x10);
    expect(bus.in(MSR) & 0xf0).toBe(0);
    bus.out(MCR, 0x1a);
    expect(bus.in(MSR)).toBe(0x90 | 0x09);
    bus.out(COM1, 0x77);
    expect(bus.in(COM1)).toBe(0x77);
    expect(outlets.text).toBe('');
  });

  it('answers a script on its output bytes', () => {
    const { bus, outlets } = bench({ script: [{ expect: '$ ', send: 'ls\r' }, { expect: 'ls', send: 'x' }, { expect: '', send: 'y' }] });
    for (const character of 'login$ ') bus.out(COM1, character.charCodeAt(0));
    const read = (): string => {
      let text = '';
      while ((bus.in(LSR) & 1) !== 0) text += String.fromCharCode(bus.in(COM1));
      return text;
    };
    expect(read()).toBe('ls\r');
    for (const character of 'llls') bus.out(COM1, character.charCodeAt(0));
    expect(read()).toBe('xy');
    expect(outlets.text).toBe('login$ llls');
  });

  it('bounds what people type ahead, and counts what it drops', () => {
    const outlets = new Outlets();
    const uart = consoleOf(testBoard(outlets));
    uart.queueInput(new Uint8Array(INPUT_QUEUE_BYTES + 5));
    expect(uart.droppedInput).toBe(5);
  });

  it('takes wide and crossing accesses byte by byte', () => {
    const { bus } = bench();
    bus.out(0x3fe, 0xa5, 2); // MSR ignored, SCR written.
    expect(bus.in(SCR)).toBe(0);
    bus.out(0x3fe, 0xa500, 2);
    expect(bus.in(SCR)).toBe(0xa5);
    expect(bus.in(0x3ff, 4)).toBe(0xffffffa5);
    expect(bus.in(0x3f6, 4) >>> 24).toBe(0);
  });
});
