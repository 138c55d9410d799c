import { setFlagsFromString } from 'node:v8';
import { hostileGuest, type HostileGuest } from '@ringside/guests';
import { OPCODES, Processor, RAM_BASE, StepResult } from '@ringside/x86';

// A fault that unwinds through the run loop while V8 has it in baseline code costs 50 µs: its offset table is walked from the start.
setFlagsFromString('--no-sparkplug');

/**
 * Random code against the processor alone: whatever a guest does, a run ends in a named way, its counts are numbers, and it is the same
 * run however it is cut into slices, and whether it is watched or not.
 */
const SEEDS = process.env.RINGSIDE_LONG === '1' ? 10_000 : 100;
/** Instructions a seed may run: those that loop stop here. */
const BUDGET = 14_000;
const RAM_BYTES = 4 << 20;

const { imul } = Math;

type Ending = 'power off' | 'halted' | 'triple fault' | 'unsupported mode' | 'budget';

interface Run {
  processor: Processor;
  ending: Ending;
}

function start({ image }: HostileGuest): Processor {
  const processor = new Processor({ ramBytes: RAM_BYTES });
  const header = new DataView(image.buffer, image.byteOffset);
  const [offset, physical, bytes] = [header.getUint32(52 + 4, true), header.getUint32(52 + 12, true), header.getUint32(52 + 16, true)];
  processor.writePhysical('guest', physical, image.subarray(offset, offset + bytes));
  processor.setRegister('eip', header.getUint32(24, true));
  return processor;
}

/** Runs to the end of the guest or of the budget. `slice` gives the size of each step. Nothing is on the bus. */
function run(guest: HostileGuest, slice: () => number, processor = start(guest)): Run {
  const { exit } = processor;
  while (processor.retired < BUDGET) {
    const result = processor.step(Math.min(slice(), BUDGET - processor.retired));
    if (result === StepResult.BusCycle && exit.access !== null) {
      const { space, address, size, count, write, data } = exit.access;
      if (space === 'port' && address === 0x604 && write && data[1] === 0x20) return { processor, ending: 'power off' };
      processor.completeAccess(write ? null : new Uint8Array(size * count).fill(0xff));
    } else if (result === StepResult.Halted) {
      return { processor, ending: 'halted' };
    } else if (result === StepResult.Stopped) {
      return { processor, ending: exit.reason === 2 ? 'triple fault' : 'unsupported mode' };
    } else if (result !== StepResult.Budget && result !== StepResult.Mark) {
      throw new Error(`step answered ${result}`);
    }
  }
  return { processor, ending: 'budget' };
}

const REGISTERS = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi', 'eip', 'eflags', 'cr0', 'cr2', 'cr3', 'cr4', 'cpl'] as const;

/** All that a guest could see, and the counts. */
const visible = ({ processor, ending }: Run): unknown => ({
  ending, retired: processor.retired, executed: processor.executed, time: processor.virtualTime,
  registers: REGISTERS.map((name) => processor.getRegister(name)),
  segments: (['es', 'cs', 'ss', 'ds', 'fs', 'gs', 'ldtr', 'tr'] as const).map((name) => processor.getSegment(name)),
});
const ram = ({ processor }: Run): Buffer => Buffer.from(processor.cpu.memory.buffer, RAM_BASE, RAM_BYTES);

function slices(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state = imul(state, 0x19660d) + 0x3c6ef35f;
    return 1 + ((state >>> 16) % 61);
  };
}

describe('hostile guests on the processor alone', () => {
  const retired: number[] = [];

  it(`${SEEDS} seeds end in a named way, the same however they are cut`, () => {
    for (let seed = 0; seed < SEEDS; seed++) {
      const guest = hostileGuest(seed);
      const whole = run(guest, () => BUDGET), cut = run(guest, slices(seed));
      expect({ seed, state: visible(cut) }).toEqual({ seed, state: visible(whole) });
      if (ram(cut).compare(ram(whole)) !== 0) throw new Error(`seed ${seed}: memory differs between slices`);
      const { processor } = whole;
      for (const count of [processor.retired, processor.executed, processor.virtualTime]) expect(Number.isSafeInteger(count)).toBe(true);
      expect(processor.executed).toBe(processor.retired);
      retired.push(processor.retired);
    }
  }, 1_800_000);

  it('one step at a time, and with an observer, is the same run', () => {
    for (let seed = 0; seed < SEEDS; seed += 10) {
      const guest = hostileGuest(seed);
      const whole = run(guest, () => BUDGET), single = run(guest, () => 1);
      const watched = start(guest);
      let seen = 0;
      watched.setObserver(() => { seen++; });
      const observed = run(guest, () => BUDGET, watched);
      for (const other of [single, observed]) {
        expect({ seed, state: visible(other) }).toEqual({ seed, state: visible(whole) });
        if (ram(other).compare(ram(whole)) !== 0) throw new Error(`seed ${seed}: memory differs`);
      }
      expect(seen).toBeGreaterThan(0);
    }
  }, 1_800_000);

  it('most of them get far', () => {
    retired.sort((a, b) => a - b);
    expect(retired[retired.length >> 1]).toBeGreaterThanOrEqual(1000);
  });

  it('every row of the opcode table comes up', () => {
    const reached = new Set<string>();
    for (let seed = 0; seed < 120; seed++) {
      const guest = hostileGuest(seed);
      const processor = start(guest);
      const seen = new Set<number>();
      const look = (): void => {
        const eip = processor.getRegister('eip') >>> 0;
        if (seen.has(eip)) return;
        seen.add(eip);
        const inBody = [guest.ring3, guest.ring0].some(([first, end]) => eip >= first && eip < end);
        if (!inBody) return;
        const bytes = processor.readLinear(eip, 16);
        const row = bytes === null ? null : rowOf(bytes);
        if (row !== null) reached.add(row);
      };
      processor.setObserver(look);
      run(guest, () => BUDGET, processor);
    }
    const missing = OPCODES.filter(({ code }) => !reached.has(code)).map(({ code, mnemonic }) => `${code} ${mnemonic}`);
    expect(missing).toEqual([]);
  }, 600_000);
});

const PREFIXES = new Set([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3]);

/** The row of the opcode table an instruction belongs to, by the table's columns. */
function rowOf(bytes: Uint8Array): string | null {
  let at = 0;
  while (at < 14 && PREFIXES.has(bytes[at]!)) at++;
  let opcode = bytes[at++]!;
  if (opcode === 0x0f) opcode = 0x100 + bytes[at++]!;
  const modrm = bytes[at]!;
  const rows = OPCODES.filter((row) => row.opcode === opcode);
  const row = rows.find((each) => each.modrm === modrm)
    ?? rows.find((each) => each.modrm < 0 && each.extension === ((modrm >>> 3) & 7))
    ?? rows.find((each) => each.modrm < 0 && each.extension < 0);
  return row?.code ?? null;
}
