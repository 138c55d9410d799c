import { printerOf } from './create-board.js';
import { DebugPort } from './debug-port.js';
import { BoardBench, Outlets, testBoard } from './testing/board-bench.js';

const DATA = 0x378, STATUS = 0x379, CONTROL = 0x37a;
function print(bus: BoardBench, text: string, control = 0x0c): void {
  for (const character of text) {
    bus.out(DATA, character.charCodeAt(0));
    bus.out(CONTROL, control | 1);
    bus.out(CONTROL, control);
  }
}

describe('parallel port', () => {
  it('prints documents that end with a form feed', () => {
    const outlets = new Outlets();
    const bus = new BoardBench(testBoard(outlets));
    print(bus, 'Page one\n\fPage two');
    expect(outlets.documents.map((document) => [document.number, new TextDecoder().decode(document.bytes)])).toEqual([[0, 'Page one\n']]);
    printerOf(bus.board).finish();
    expect(new TextDecoder().decode(outlets.documents[1]!.bytes)).toBe('Page two');
    printerOf(bus.board).finish();
    expect(outlets.documents).toHaveLength(2);
  });

  it('takes a byte once per strobe, and is busy while it lasts', () => {
    const outlets = new Outlets();
    const bus = new BoardBench(testBoard(outlets));
    expect(bus.in(STATUS)).toBe(0xdc);
    bus.out(DATA, 65);
    bus.out(CONTROL, 0x0d);
    bus.out(CONTROL, 0x0d);
    expect(bus.in(STATUS) & 0x80).toBe(0);
    bus.out(CONTROL, 0x0c);
    expect(bus.in(STATUS) & 0x84).toBe(0x80); // Ready; nIRQ is low until this read.
    expect(bus.in(STATUS) & 0x84).toBe(0x84);
    bus.out(CONTROL, 0x08); // nInit low: what is there comes out.
    expect(outlets.documents[0]!.bytes).toEqual(Uint8Array.of(65));
    expect([bus.in(CONTROL), bus.in(DATA)]).toEqual([0xc8, 65]);
  });

  it('interrupts on the acknowledge pulse when enabled', () => {
    const bus = new BoardBench(testBoard(new Outlets(), { composition: 'virtualized' }));
    print(bus, 'a', 0x1c);
    expect(bus.irq(7)).toBe(true);
    print(bus, 'b', 0x1c);
    expect(bus.last.rose).toBe(1 << 7);
    bus.in(STATUS);
    expect(bus.irq(7)).toBe(false);
  });
});

describe('ports of one register', () => {
  it('80h reads back what was written', () => {
    const bus = new BoardBench(testBoard(new Outlets()));
    bus.out(0x80, 0x1234, 2);
    expect([bus.in(0x80), bus.in(0x81)]).toEqual([0x34, 0xff]);
  });

  it('E9h keeps a log', () => {
    const board = testBoard(new Outlets());
    const bus = new BoardBench(board);
    for (const character of 'debug') bus.out(0xe9, character.charCodeAt(0));
    expect(bus.in(0xe9)).toBe(0xe9);
    const debug = board.devices.find((device) => device instanceof DebugPort)!;
    expect(new TextDecoder().decode(debug.log.bytes)).toBe('debug');
    for (let index = 0; index < 50_000; index++) bus.out(0xe9, index);
    expect([debug.log.bytes.length, debug.log.written]).toEqual([16_384, 50_005]);
  });

  it('604h powers off with SLP_EN and SLP_TYP 0, not otherwise', () => {
    const bus = new BoardBench(testBoard(new Outlets()));
    const stopped = (): boolean => bus.last.effects.some((effect) => effect.kind === 'activity' && effect.activity === 'stopped' && effect.state === 'shutdown');
    bus.out(0x604, 0x0400, 2);
    expect(stopped()).toBe(false);
    bus.out(0x604, 0x3400, 2);
    expect(stopped()).toBe(false);
    bus.out(0x604, 0x2000, 2);
    expect(stopped()).toBe(true);
    bus.in(0x604, 2);
    expect(stopped()).toBe(false);
    bus.out(0x605, 0x20);
    expect(stopped()).toBe(true);
  });
});
