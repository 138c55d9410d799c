import {
  ARENA_BASE, CODE, CODE_LINEAR, CODE_SELECTORS, CODE0, DATA, DATA0, DATA_LINEAR, DATA_SELECTORS, descriptor, FREE_SELECTOR, gate, GDT, IDT, LANDING, PAE_DIRECTORY, PDPT, STACK0, TSS,
} from './testing/arena.js';
import { GENERAL_REGISTER_NAMES, type ArenaPatch, type OracleCase, type OracleResult } from './testing/case.js';
import { CaseRunner } from './testing/run-case.js';

/**
 * Single cases that once went wrong here, or that no oracle can judge because QEMU departs from the SDM there and the host's processor
 * shows no privileged state (tools/oracle/qemu-exceptions.ts). A new difference is a new row.
 */
interface Row {
  what: string;
  /** The rule, or who showed it. */
  source: string;
  code: number[];
  cpl?: number;
  registers?: Partial<Record<(typeof GENERAL_REGISTER_NAMES)[number], number>>;
  eflags?: number;
  patches?: ArenaPatch[];
  delivered?: number;
  expect: Partial<Pick<OracleResult, 'vector' | 'error' | 'cr2' | 'eip'>> & { cs?: number; eax?: number; ecx?: number };
  /** A word of the arena afterwards. */
  word?: [offset: number, value: number];
}

const bytes16 = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff];
const bytes32 = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
const patch = (offset: number, bytes: ArrayLike<number>): ArenaPatch => ({ offset, bytes: Uint8Array.from(bytes) });

const START = 0x100;
const EIP = CODE_LINEAR + START;
const FLAT = 0xf_ffff, G32 = 0xc, CODE_R = 0x1b, CODE_CONFORMING = 0x1f, DATA_W = 0x13;
const free = FREE_SELECTOR;
const define = (index: number, bytes: Uint8Array): ArenaPatch => patch(GDT + free + index * 8, bytes);
const landing = ARENA_BASE + LANDING;
/** The stack pointer of ring 3 in the data window. */
const USER_STACK = DATA_LINEAR + 0x800;
const userStack = (words: number[]): ArenaPatch => patch(DATA + 0x800, words.flatMap(bytes32));
const ring0Stack = (words: number[]): ArenaPatch => patch(STACK0 + 0x800, words.flatMap(bytes32));

const ROWS: Row[] = [
  {
    what: 'REP OUTSB with ECX = 0 still needs permission', source: 'host processor', code: [0xf3, 0x6e], cpl: 3, registers: { ecx: 0 }, expect: { vector: 13, error: 0, eip: EIP },
  },
  {
    what: 'CMPXCHG8B over a page boundary faults at its own first byte that is missing', source: 'host processor', code: [0x0f, 0xc7, 0x0d, ...bytes32(0x2fff_fffa)], cpl: 3, expect: { vector: 14, error: 6, cr2: 0x2fff_fffa },
  },
  {
    what: 'CMPS of two bad addresses faults at ES:EDI', source: 'host processor', code: [0xa6], cpl: 3, registers: { esi: 0x4000_0000, edi: 0x5000_0000 }, expect: { vector: 14, error: 4, cr2: 0x5000_0000 },
  },
  { what: 'CR0.PG without PE', source: 'SDM Vol. 2, MOV CR', code: [0x0f, 0x22, 0xc0], registers: { eax: 0x8000_0000 }, expect: { vector: 13, error: 0 } },
  { what: 'CR0.NW without CD', source: 'SDM Vol. 2, MOV CR', code: [0x0f, 0x22, 0xc0], registers: { eax: 0xa000_0011 }, expect: { vector: 13, error: 0 } },
  {
    what: 'MOV CR3 checks the reserved bits of PDPTEs at once', source: 'SDM Vol. 3A 4.4.1', code: [0x0f, 0x22, 0xd8], registers: { eax: ARENA_BASE + PDPT + 0x40 },
    patches: [patch(PDPT + 0x40, [...bytes32((ARENA_BASE + PAE_DIRECTORY) | 3), ...bytes32(0)])], expect: { vector: 13, error: 0 },
  },
  {
    what: 'the PDPTEs stay as they were loaded until MOV CR3', source: 'SDM Vol. 3A 4.4.1', code: [0xc7, 0x05, ...bytes32(ARENA_BASE + PDPT), 0, 0, 0, 0, 0x0f, 0x01, 0x3d, ...bytes32(DATA_LINEAR), 0xa1, ...bytes32(DATA_LINEAR + 0x100)],
    patches: [patch(DATA + 0x100, bytes32(0x1234_5678))], expect: { vector: 3, eax: 0x1234_5678 },
  },
  { what: 'RDMSR of an unknown MSR', source: 'SDM Vol. 2, RDMSR', code: [0x0f, 0x32], registers: { ecx: 0x1fe3 }, expect: { vector: 13, error: 0 } },
  { what: 'LTR of a null selector', source: 'SDM Vol. 2, LTR', code: [0x0f, 0x00, 0xd8], registers: { eax: 0 }, expect: { vector: 13, error: 0 } },
  {
    what: 'far RET beyond the code segment', source: 'SDM Vol. 2, RET', code: [0xcb], cpl: 3, patches: [define(0, descriptor(0, 0xfff, CODE_R, 3, true, 4)), userStack([0x1000, free | 3])], expect: { vector: 13, error: 0, eip: EIP },
  },
  {
    what: 'IRET beyond the code segment', source: 'SDM Vol. 2, IRET', code: [0xcf], patches: [define(0, descriptor(0, 0xfff, CODE_R, 0, true, 4)), ring0Stack([0x1000, free, 2])], expect: { vector: 13, error: 0, eip: EIP },
  },
  {
    what: 'INT through a gate that leads beyond the code segment', source: 'SDM Vol. 2, INT n', code: [0xcd, 0x14], cpl: 3,
    patches: [define(0, descriptor(0, 0xfff, CODE_R, 0, true, 4)), patch(IDT + 0x14 * 8, gate(free, 0x1000, 0x0e, 3, true))], expect: { vector: 13, error: 0, eip: EIP },
  },
  {
    what: 'far CALL beyond the code segment: #GP(0), nothing pushed', source: 'SDM Vol. 2, CALL', code: [0x9a, ...bytes32(0x1000), ...bytes16(free | 3)], cpl: 3,
    patches: [define(0, descriptor(0, 0xfff, CODE_R, 3, true, 4)), patch(DATA + 0x7fc, bytes32(0x5555_5555))], expect: { vector: 13, error: 0, eip: EIP }, word: [DATA + 0x7fc, 0x5555_5555],
  },
  {
    what: 'a call gate whose inner stack segment is absent: #SS(selector)', source: 'SDM Vol. 2, CALL', code: [0x9a, ...bytes32(0), ...bytes16(free | 3)], cpl: 3,
    patches: [define(0, gate(CODE0, landing, 0x0c, 3, true)), define(1, descriptor(0, FLAT, DATA_W, 0, false, G32)), patch(TSS + 8, bytes32(free + 8))], expect: { vector: 12, error: free + 8, eip: EIP },
  },
  {
    what: 'an interrupt whose inner stack segment is absent: #SS(selector)', source: 'SDM Vol. 2, INT n', code: [0xcd, 0x14], cpl: 3,
    patches: [patch(IDT + 0x14 * 8, gate(CODE0, landing, 0x0e, 3, true)), define(1, descriptor(0, FLAT, DATA_W, 0, false, G32)), patch(TSS + 8, bytes32(free + 8))], expect: { vector: 12, error: free + 8, eip: EIP },
  },
  {
    what: 'a call gate to conforming code keeps CPL as RPL of CS', source: 'SDM Vol. 2, CALL', code: [0x9a, ...bytes32(0), ...bytes16(free | 3)], cpl: 3,
    patches: [define(0, gate(free + 8, landing, 0x0c, 3, true)), define(1, descriptor(0, FLAT, CODE_CONFORMING, 1, true, G32))], expect: { vector: 3, cs: (free + 8) | 3, eip: landing + 1 },
  },
  {
    what: 'JMP through a call gate to absent code: #NP(selector)', source: 'SDM Vol. 2, JMP', code: [0xea, ...bytes32(0), ...bytes16(free)],
    patches: [define(0, gate(free + 8, landing, 0x0c, 0, true)), define(1, descriptor(0, FLAT, CODE_R, 0, false, G32))], expect: { vector: 11, error: free + 8, eip: EIP },
  },
  {
    what: 'a fault pushes EFLAGS with RF', source: 'SDM Vol. 3A 17.3.1.1', code: [0x0f, 0x0b], delivered: 1 << 6, eflags: 0x2,
    patches: [patch(IDT + 6 * 8, gate(CODE0, landing, 0x0e, 0, true))], expect: { vector: 3, eip: landing + 1 }, word: [STACK0 + 0x800 - 4, 0x1_0002],
  },
  {
    what: 'INT n pushes EFLAGS without RF', source: 'SDM Vol. 3A 17.3.1.1', code: [0xcd, 0x14], eflags: 0x2,
    patches: [patch(IDT + 0x14 * 8, gate(CODE0, landing, 0x0e, 0, true))], expect: { vector: 3, eip: landing + 1 }, word: [STACK0 + 0x800 - 4, 0x2],
  },
  {
    what: 'an exception met while an exception is delivered has EXT in its error code', source: 'SDM Vol. 3A 6.13', code: [0x0f, 0x0b], delivered: 1 << 6,
    patches: [patch(IDT + 6 * 8, gate(free, landing, 0x0e, 0, true)), define(0, descriptor(0, FLAT, CODE_R, 0, false, G32))], expect: { vector: 11, error: free | 1, eip: EIP },
  },
  {
    what: 'an exception met while INT n is delivered has none', source: 'SDM Vol. 3A 6.13', code: [0xcd, 0x14],
    patches: [patch(IDT + 0x14 * 8, gate(free, landing, 0x0e, 0, true)), define(0, descriptor(0, FLAT, CODE_R, 0, false, G32))], expect: { vector: 11, error: free, eip: EIP },
  },
  { what: 'SYSENTER with IA32_SYSENTER_CS below 4', source: 'SDM Vol. 2, SYSENTER', code: [0xb8, 3, 0, 0, 0, 0x31, 0xd2, 0xb9, 0x74, 1, 0, 0, 0x0f, 0x30, 0x0f, 0x34], expect: { vector: 13, error: 0, eip: EIP + 14 } },
  { what: '8F /1 is not POP', source: 'SDM Vol. 2, Table A-6', code: [0x8f, 0xc8], expect: { vector: 6, eip: EIP } },
  { what: 'C6 /1 is not MOV', source: 'SDM Vol. 2, Table A-6', code: [0xc6, 0xc8, 0], expect: { vector: 6, eip: EIP } },
  { what: 'DR6 reads its reserved bits as fixed', source: 'SDM Vol. 3B 17.2.3', code: [0x0f, 0x23, 0xf0, 0x0f, 0x21, 0xf1], registers: { eax: 0xffff_ffff }, expect: { vector: 3, ecx: 0xffff_efff } },
  { what: 'LOCK is refused where it is not allowed', source: 'SDM Vol. 2, LOCK', code: [0xf0, 0x90], cpl: 3, expect: { vector: 6, eip: EIP } },
  {
    what: 'a far transfer marks its code segment accessed', source: 'SDM Vol. 3A 3.4.5.1', code: [0xea, ...bytes32(landing), ...bytes16(free)],
    patches: [define(0, descriptor(0, FLAT, 0x1a, 0, true, G32))], expect: { vector: 3 }, word: [GDT + free + 4, 0x00cf_9b00],
  },
];

function caseOf({ what, code, cpl = 0, registers = {}, eflags = 0x3002, patches = [], delivered = 0 }: Row): OracleCase {
  const data = DATA_SELECTORS[cpl] as number;
  const general = Uint32Array.from(GENERAL_REGISTER_NAMES, (name) => registers[name] ?? (name === 'esp' ? (cpl === 3 ? USER_STACK : ARENA_BASE + STACK0 + 0x800) : 0));
  return {
    name: what, registers: general, eip: EIP, eflags: cpl === 3 ? eflags & ~0x3000 : eflags, selectors: Uint32Array.of(data, CODE_SELECTORS[cpl] as number, cpl === 0 ? DATA0 : data, data, 0, 0),
    cr0: 0x8001_0039, cr3: ARENA_BASE + PDPT, cr4: 0x20, efer: 0, sysenter: new Uint32Array(3), patches: [...patches, patch(CODE + START, code)], undefinedFlags: 0, delivered,
  };
}

describe('regressions', () => {
  const runner = new CaseRunner();

  it.each(ROWS.map((row) => [row.what, row] as const))('%s', (_, row) => {
    const result = runner.run(caseOf(row));
    const { vector, error, cr2, eip } = result;
    const all = { vector, error, cr2, eip, cs: result.selectors[1], eax: result.registers[0], ecx: result.registers[1] };
    expect(all).toMatchObject(row.expect);
    if (row.word) {
      const [offset, value] = row.word;
      expect(new DataView(runner.processor.readPhysical('guest', ARENA_BASE + offset, 4).slice().buffer).getUint32(0, true)).toBe(value);
    }
  });
});
