import { GP } from './fault.js';
import { ioIntercepted, ioQualification, IoQualification } from './intercepts.js';
import { checkIo } from './io.js';
import { SystemMachine, TSS, TSS_LIMIT, TSS_SELECTOR } from './testing/system-machine.js';

const MAP = 0x68;
/** Level 3, IOPL 0, a bitmap for ports 0–0xff in which all bits are 1 but those given. */
function withPorts(...open: number[]): SystemMachine {
  const machine = new SystemMachine().atLevel(3);
  machine.setHalf(TSS + 102, MAP);
  for (let n = 0; n <= 0x20; n += 2) machine.setHalf(TSS + MAP + n, 0xffff);
  for (const port of open) {
    const at = TSS + MAP + (port >>> 3);
    machine.setHalf(at, machine.half(at) & ~(1 << (port & 7)));
  }
  return machine;
}
const refused = { vector: GP, error: 0 };

describe('I/O permission', () => {
  it('needs no bitmap where CPL ≤ IOPL', () => {
    for (const level of [0, 1, 2, 3]) {
      const machine = withPorts().atLevel(level).iopl(level);
      expect(machine.fault(() => checkIo(machine.cpu, 0x3f8, 4))).toBeNull();
    }
  });

  it('goes by every bit of the access', () => {
    const machine = withPorts(0x17, 0x18, 0x40);
    expect(machine.fault(() => checkIo(machine.cpu, 0x17, 1))).toBeNull();
    expect(machine.fault(() => checkIo(machine.cpu, 0x17, 2))).toBeNull();
    expect(machine.fault(() => checkIo(machine.cpu, 0x17, 4))).toEqual(refused);
    expect(machine.fault(() => checkIo(machine.cpu, 0x40, 2))).toEqual(refused);
    expect(machine.fault(() => checkIo(machine.cpu, 0x16, 2))).toEqual(refused);
  });

  it('wants both bytes it reads inside the TSS', () => {
    const machine = withPorts(0xff, 0x100);
    expect(TSS_LIMIT).toBe(MAP + 0x21);
    expect(machine.fault(() => checkIo(machine.cpu, 0x100, 1))).toBeNull();
    machine.hidden(7, TSS_SELECTOR, TSS, MAP + 0x20, 0x8b);
    expect(machine.fault(() => checkIo(machine.cpu, 0x100, 1))).toEqual(refused);
    expect(machine.fault(() => checkIo(machine.cpu, 0xff, 1))).toBeNull();
  });

  it('refuses everything without a bitmap: base beyond the limit, a 16-bit TSS, a TSS too short for the base', () => {
    const machine = withPorts(0);
    machine.setHalf(TSS + 102, 0xffff);
    expect(machine.fault(() => checkIo(machine.cpu, 0, 1))).toEqual(refused);
    machine.setHalf(TSS + 102, MAP).hidden(7, TSS_SELECTOR, TSS, 0xfff, 0x83);
    expect(machine.fault(() => checkIo(machine.cpu, 0, 1))).toEqual(refused);
    machine.hidden(7, TSS_SELECTOR, TSS, 102, 0x8b);
    expect(machine.fault(() => checkIo(machine.cpu, 0, 1))).toEqual(refused);
  });

  it('reads the bitmap of a deprivileged guest in monitor space', () => {
    const machine = new SystemMachine({ nonRoot: true, deprivileged: true }).atLevel(1);
    machine.tableWord(TSS + 100, MAP << 16);
    machine.tableWord(TSS + MAP, -1 << 8);
    expect(machine.fault(() => checkIo(machine.cpu, 7, 1))).toBeNull();
    expect(machine.fault(() => checkIo(machine.cpu, 8, 1))).toEqual(refused);
  });
});

describe('I/O exits', () => {
  const bitmap = new Uint8Array(8192);
  bitmap[0x3f8 >>> 3] = 1; // port 0x3f8

  it.each<[string, 'all' | 'none' | Uint8Array, boolean, number, number, boolean]>([
    ['root operation', 'all', false, 0x80, 1, false], ['none', 'none', true, 0x80, 1, false], ['all', 'all', true, 0x80, 1, true],
    ['its bit', bitmap, true, 0x3f8, 1, true], ['a neighbour', bitmap, true, 0x3f9, 4, false], ['one of its ports', bitmap, true, 0x3f5, 4, true],
    ['the last port', bitmap, true, 0xffff, 1, false], ['a wrap past port 0xffff', bitmap, true, 0xffff, 2, true],
  ])('%s', (_what, ioExiting, nonRoot, port, size, expected) => {
    expect(ioIntercepted(new SystemMachine({ ioExiting, nonRoot }).cpu, port, size)).toBe(expected);
  });

  it('lays the qualification out as SDM Vol. 3C Table 27-5', () => {
    expect(ioQualification(0x3f8, 1, 0)).toBe(0x03f8_0000);
    expect(ioQualification(0xffff, 4, IoQualification.In | IoQualification.Immediate)).toBe(0xffff_004b);
    expect(ioQualification(0x1f0, 2, IoQualification.In | IoQualification.String | IoQualification.Rep)).toBe(0x01f0_0039);
  });
});
