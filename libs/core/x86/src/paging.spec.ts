import { Cpu, RAM_BASE } from './cpu.js';
import { I686_FEATURES } from './cpuid.js';
import { FAULT } from './fault.js';
import { readLinear16, readLinear32, readLinear8, writeLinear16, writeLinear32, writeLinear8 } from './memory.js';
import { EXECUTE, flushPage, flushTlb, peekLinear, READ, resetTlb, translate, WRITE, type Access } from './paging.js';
import { CR0, CR2, CR3, CR4, EFER, FAULT_ERROR, FAULT_VECTOR, PDPTE } from './state.js';

/** SDM Vol. 3A chapter 4, through `translate` and the tables in memory. */

const RAM = 0x10_0000;
const PG = 0x8000_0000, WP = 0x1_0000;
const PSE = 0x10, PAE = 0x20, PGE = 0x80, NXE = 0x800;
const P = 1, W = 2, U = 4, A = 0x20, D = 0x40, LARGE = 0x80, G = 0x100;
const XD = -0x8000_0000;
const DIRECTORY = 0x1000, TABLE = 0x2000;
const PAGE = 0x40_5000; // directory entry 1, table entry 5
const FRAME = 0x7000;

class Machine {
  readonly cpu = new Cpu(RAM, 0x1_0000, I686_FEATURES);
  constructor(cr4 = 0, cr0 = WP) {
    const { i32 } = this.cpu;
    resetTlb(this.cpu);
    i32[CR0] = PG | 1 | cr0;
    i32[CR3] = DIRECTORY;
    i32[CR4] = cr4;
    if ((cr4 & PAE) !== 0) i32[PDPTE] = DIRECTORY | P;
  }
  put(at: number, value: number): this {
    this.cpu.i32[(RAM_BASE + at) >> 2] = value;
    return this;
  }
  get(at: number): number {
    return this.cpu.i32[(RAM_BASE + at) >> 2]!;
  }
  /** Map PAGE with these directory and table bits. */
  map(directory: number, table: number): this {
    if ((this.cpu.i32[CR4]! & PAE) !== 0) return this.put(DIRECTORY + 2 * 8, TABLE | directory).put(TABLE + 5 * 8, FRAME | table);
    return this.put(DIRECTORY + 4, TABLE | directory).put(TABLE + 5 * 4, FRAME | table);
  }
  /** Guest-physical address, or the error code of the #PF as `fault …`. */
  try(linear: number, access: Access, user: boolean): number | string {
    try {
      return translate(this.cpu, linear, access, user) - RAM_BASE;
    } catch (thrown) {
      if (thrown !== FAULT) throw thrown;
      expect([this.cpu.i32[FAULT_VECTOR], this.cpu.i32[CR2]]).toEqual([14, linear | 0]);
      return `fault ${this.cpu.i32[FAULT_ERROR]}`;
    }
  }
}

describe.each([['two levels', 0], ['PAE', PAE]])('%s', (_, cr4) => {
  it('translates, and sets accessed and dirty bits when they are due', () => {
    const machine = new Machine(cr4).map(P | W | U, P | W | U);
    const [directoryAt, tableAt] = cr4 === 0 ? [DIRECTORY + 4, TABLE + 20] : [DIRECTORY + 16, TABLE + 40];
    expect(machine.try(PAGE + 0x123, READ, true)).toBe(FRAME + 0x123);
    expect([machine.get(directoryAt) & (A | D), machine.get(tableAt) & (A | D)]).toEqual([A, A]);
    expect(machine.try(PAGE, WRITE, true)).toBe(FRAME);
    expect([machine.get(directoryAt) & (A | D), machine.get(tableAt) & (A | D)]).toEqual([A, A | D]);
  });

  it.each([
    // directory, table, access, user, without WP, with WP
    [0, P | W | U, READ, true, 'fault 4', 'fault 4'],
    [P | W | U, 0, WRITE, false, 'fault 2', 'fault 2'],
    [P | W, P | W | U, READ, true, 'fault 5', 'fault 5'],
    [P | W | U, P | W, WRITE, true, 'fault 7', 'fault 7'],
    [P | W | U, P | U, WRITE, true, 'fault 7', 'fault 7'],
    [P | U, P | W | U, WRITE, true, 'fault 7', 'fault 7'],
    [P | W | U, P | U, WRITE, false, FRAME, 'fault 3'],
    [P | U, P | W | U, WRITE, false, FRAME, 'fault 3'],
    [P | W, P | W, WRITE, false, FRAME, FRAME],
    [P | W, P | W, EXECUTE, true, 'fault 5', 'fault 5'],
  ] as const)('checks rights: entries %i %i, access %i, user %s', (directory, table, access, user, free, protectedResult) => {
    expect(new Machine(cr4, 0).map(directory, table).try(PAGE, access, user)).toBe(free);
    expect(new Machine(cr4, WP).map(directory, table).try(PAGE, access, user)).toBe(protectedResult);
  });

  it('leaves entries alone when the access faults', () => {
    const machine = new Machine(cr4).map(P | W | U, P | U);
    expect(machine.try(PAGE, WRITE, true)).toBe('fault 7');
    expect([machine.get(cr4 === 0 ? DIRECTORY + 4 : DIRECTORY + 16) & A, machine.get(cr4 === 0 ? TABLE + 20 : TABLE + 40) & (A | D)]).toEqual([0, 0]);
  });

  it('keeps a translation until it is flushed', () => {
    const machine = new Machine(cr4).map(P | W | U, P | W | U);
    expect(machine.try(PAGE, READ, true)).toBe(FRAME);
    machine.put(cr4 === 0 ? TABLE + 20 : TABLE + 40, 0);
    expect(machine.try(PAGE, READ, true)).toBe(FRAME);
    flushPage(machine.cpu, PAGE + 0x1000);
    expect(machine.try(PAGE, READ, true)).toBe(FRAME);
    flushPage(machine.cpu, PAGE + 0xfff);
    expect(machine.try(PAGE, READ, true)).toBe('fault 4');
  });

  it('keeps global pages over a reload of CR3, where CR4.PGE is set', () => {
    for (const [enable, kept] of [[PGE, true], [0, false]] as const) {
      const machine = new Machine(cr4 | enable).map(P | W | U, P | W | U | G);
      machine.try(PAGE, READ, false);
      machine.map(0, 0);
      flushTlb(machine.cpu, true);
      expect(machine.try(PAGE, READ, false)).toBe(kept ? FRAME : 'fault 0');
      flushTlb(machine.cpu, false);
      expect(machine.try(PAGE, READ, false)).toBe('fault 0');
    }
  });

  it('flushes them all when more are in use than it keeps track of', () => {
    const machine = new Machine(cr4);
    for (let page = 0; page < 1500; page++) {
      machine.map(P | W | U, P | W | U | (page % 2 === 0 ? G : 0));
      machine.cpu.i32[CR4]! |= PGE;
      machine.try(PAGE, READ, false);
      flushPage(machine.cpu, PAGE);
    }
    machine.try(PAGE, READ, false);
    flushTlb(machine.cpu, true);
    machine.map(0, 0);
    expect(machine.try(PAGE, READ, false)).toBe('fault 0');
  });

  it('is seen by a debugger without a trace', () => {
    const machine = new Machine(cr4).map(P | W | U, P | W | U);
    expect(peekLinear(machine.cpu, PAGE + 4) - RAM_BASE).toBe(FRAME + 4);
    expect(machine.get(cr4 === 0 ? TABLE + 20 : TABLE + 40) & A).toBe(0);
    machine.cpu.i32[CR2] = 77;
    expect(peekLinear(machine.cpu, PAGE + 0x1000)).toBe(-1);
    expect(machine.cpu.i32[CR2]).toBe(77);
  });
});

describe('large pages', () => {
  it('are 4 MiB with two levels where CR4.PSE is set', () => {
    const machine = new Machine(PSE).put(DIRECTORY + 4, P | W | U | LARGE);
    expect(machine.try(PAGE + 0x12, WRITE, true)).toBe(0x5012);
    expect(machine.get(DIRECTORY + 4) & (A | D)).toBe(A | D);
    expect(new Machine().put(DIRECTORY + 4, P | W | U | LARGE).try(PAGE, READ, true)).toBe('fault 4'); // without PSE: a table at 0
  });
  it('are 2 MiB under PAE', () => {
    const machine = new Machine(PAE).put(DIRECTORY + 16, P | W | U | LARGE);
    expect(machine.try(PAGE + 0x12, WRITE, true)).toBe(0x5012);
  });
  it('are flushed whole by INVLPG anywhere in them', () => {
    const machine = new Machine(PSE).put(DIRECTORY + 4, P | W | U | LARGE);
    machine.try(PAGE, READ, true);
    machine.put(DIRECTORY + 4, 0);
    flushPage(machine.cpu, PAGE + 0x3000);
    expect(machine.try(PAGE, READ, true)).toBe('fault 4');
  });
});

describe('reserved bits', () => {
  it('raise RSVD', () => {
    expect(new Machine(PSE).put(DIRECTORY + 4, P | W | U | LARGE | (1 << 21)).try(PAGE, READ, true)).toBe('fault 13');
    expect(new Machine(PAE).put(DIRECTORY + 16, P | W | U | LARGE | (1 << 13)).try(PAGE, READ, false)).toBe('fault 9');
    expect(new Machine(PAE).map(P | W | U, P | W | U).put(TABLE + 44, 0x10).try(PAGE, WRITE, true)).toBe('fault 15'); // address bit 36
    expect(new Machine(PAE).map(P | W | U, P | W | U).put(TABLE + 44, XD).try(PAGE, READ, true)).toBe('fault 13'); // XD without EFER.NXE
  });
});

describe('execute-disable', () => {
  it('forbids fetches only, and is reported as such', () => {
    const machine = new Machine(PAE).map(P | W | U, P | W | U).put(TABLE + 44, XD);
    machine.cpu.i32[EFER] = NXE;
    expect(machine.try(PAGE, WRITE, true)).toBe(FRAME);
    expect(machine.try(PAGE, EXECUTE, true)).toBe('fault 21');
    expect(machine.try(PAGE + 0x1000, EXECUTE, false)).toBe('fault 16');
  });
});

describe('accesses', () => {
  const mapped = (): Machine => {
    const machine = new Machine().map(P | W | U, P | W | U);
    return machine.put(TABLE + 6 * 4, 0x9000 | P | W | U); // the next page lies elsewhere
  };
  it('of any alignment read what was written, across pages too', () => {
    for (const offset of [0, 1, 2, 3, 0xffd, 0xffe, 0xfff]) {
      const { cpu } = mapped();
      writeLinear32(cpu, PAGE + offset, 0x8765_4321 | 0, true);
      expect(readLinear32(cpu, PAGE + offset, true)).toBe(0x8765_4321 | 0);
      expect([readLinear16(cpu, PAGE + offset, true), readLinear8(cpu, PAGE + offset + 3, true)]).toEqual([0x4321, 0x87]);
      writeLinear16(cpu, PAGE + offset, 0xabcd, true);
      writeLinear8(cpu, PAGE + offset + 2, 0xef, true);
      expect(readLinear32(cpu, PAGE + offset, true)).toBe(0x87ef_abcd | 0);
    }
  });
  it('across pages write nothing when the second page faults', () => {
    const machine = mapped().put(TABLE + 6 * 4, 0);
    expect(() => writeLinear32(machine.cpu, PAGE + 0xffe, -1, true)).toThrow();
    expect([machine.get(FRAME + 0xffc), machine.cpu.i32[CR2]]).toEqual([0, PAGE + 0x1000]);
  });
});
