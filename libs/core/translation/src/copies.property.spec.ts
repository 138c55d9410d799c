import { ENTRIES, ExitReason, getEflags, NO_CONTROLS, Processor, RAM_BASE, StepResult } from '@ringside/x86';
import { LAYOUT_VERSION } from './monitor-data.js';
import { Random } from './testing/random.js';
import { translate } from './translate.js';
import { isRefused, MODE_CODE32, MODE_IOPL, MODE_STACK32 } from './unit.js';
import { decodeGuest } from './guest-instruction.js';

/**
 * Popek and Goldberg by execution (CACM 17(7), 1974): an instruction is innocuous if it does the same in the guest's ring 0 and in ring 1 on the
 * monitor's state. Every encoding that the translator copies, over both opcode maps and all ModRM bytes, is executed on two processors that
 * differ in everything that a guest must not see: CPL, IF, IOPL, the descriptor tables, LDTR, TR, CR2 and debug registers.
 */
const LONG = process.env.RINGSIDE_LONG === '1';
const RAM = 0x4_0000, CODE = 0x1_0000, DATA = 0x2_0000, STACK = 0x2_0800, DATA_BYTES = 0x1000, GDT = 0x1000, OTHER_GDT = 0x2000;
const IF = 1 << 9, IOPL = 0x3000, INT3 = 0xcc;
const GENERAL = 8, EIP = 9;

function processor(ring: 0 | 1): Processor {
  const one = new Processor({ ramBytes: RAM });
  one.setControls({ ...NO_CONTROLS, exceptionBitmap: -1 });
  const dpl = ring << 5;
  // Both tables lie in both memories: reading them is no difference.
  for (const [base, bits] of [[GDT, 0], [OTHER_GDT, 0x20]] as const) {
    const descriptor = (access: number): number[] => [0xff, 0xff, 0, 0, 0, access | bits, 0xc0, 0];
    one.writePhysical('guest', base, Uint8Array.from([...new Array<number>(8).fill(0), ...descriptor(0x9b), ...descriptor(0x93)]));
  }
  one.setTable('gdtr', { base: ring === 0 ? GDT : OTHER_GDT, limit: ring === 0 ? 0x17 : 0xffff, space: 'guest' });
  one.setTable('idtr', { base: 0x3000 + ring * 0x800, limit: 0x7ff, space: 'guest' });
  one.setSegment('tr', { selector: ring === 0 ? 0x28 : 0xffe0, base: 0x3800, limit: 0x67, rights: 0x8b });
  if (ring === 1) one.setSegment('ldtr', { selector: 0xffe8, base: 0x3c00, limit: 0xf, rights: 0x82 });
  // Only RAM lies inside the limits.
  one.setSegment('cs', { selector: 8 | ring, base: 0, limit: RAM - 1, rights: 0xc09b | dpl });
  for (const name of ['ss', 'ds', 'es', 'fs'] as const) one.setSegment(name, { selector: 0x10 | (name === 'ss' ? ring : 0), base: 0, limit: RAM - 1, rights: 0xc093 | dpl });
  one.setSegment('gs', { selector: ring === 0 ? 0x10 : 0, base: 0, limit: RAM - 1, rights: ring === 0 ? 0xc093 : 0x1_0000 });
  one.setRegister('cpl', ring);
  one.setRegister('cr2', ring * 0x1234);
  one.cpu.i32.set(ring === 0 ? [0, 0, 0, 0] : [1, 2, 3, 4], 24);
  return one;
}

const [kernel, compressed] = [processor(0), processor(1)];
const pristine = new Uint8Array(DATA_BYTES).map((_, n) => (n * 37) ^ (n >> 3));
const registers = new Int32Array(GENERAL);

/** One instruction; what the guest can see afterwards. */
function execute(one: Processor, code: Uint8Array, flags: number, hidden: number): string {
  const { i32 } = one.cpu;
  one.writePhysical('guest', CODE, code);
  one.cpu.u8.set(pristine, RAM_BASE + DATA);
  i32.set(registers);
  i32[EIP] = CODE;
  one.setRegister('eflags', flags | hidden);
  let result = one.step(1);
  for (let more = 0; result === StepResult.Budget && i32[EIP] === CODE && more < 3; more++) result = one.step(1); // REP
  const event = result === StepResult.Exit && one.exit.reason === ExitReason.ExceptionOrNmi ? `${one.exit.event!.vector}/${one.exit.event!.errorCode}` : '';
  if (one.exit.access !== null && result !== StepResult.Budget) return `leaves for ${one.exit.access.space}`;
  return `${result} ${event} ${i32.slice(0, GENERAL + 2).join()} ${getEflags(one.cpu) & ~(IF | IOPL)}`;
}

const PREFIXES = [[], [0x66], [0x67], [0xf3], [0xf2], [0xf0], [0x64], [0x36], [0x66, 0xf3], [0x66, 0x67]];

/** Each ModRM byte without a prefix (`thorough`), and some of them with each. */
function* encodings(random: Random, thorough: boolean): Generator<Uint8Array> {
  for (let opcode = 0; opcode < 512; opcode++) {
    const group = ENTRIES[opcode];
    if (group === undefined) continue;
    for (const prefixes of PREFIXES) {
      const few = !LONG && (prefixes.length > 0 || !thorough);
      for (let second = 0; second < 256; second += group.modrm ? (few ? 1 + random.below(50) : 1) : 1 + random.below(100)) {
        const bytes = [...prefixes, ...opcode >= 0x100 ? [0x0f, opcode & 0xff] : [opcode], second];
        // A displacement into the data where a whole one follows at once, small numbers elsewhere.
        while (bytes.length < 16) bytes.push(...random.below(2) === 0 ? [random.below(256), (DATA >>> 8) & 0xff, DATA >>> 16, 0] : [random.below(16), 0, 0, 0]);
        yield Uint8Array.from([...bytes.slice(0, 16), INT3]);
      }
    }
  }
}

it.each([['IOPL 0', 0], ['IOPL 3', MODE_IOPL]])('every copied encoding does the same in ring 0 and in ring 1: %s', (_, iopl) => {
  const random = new Random(iopl + 1);
  const rows = new Set<string>();
  let copied = 0, faults = 0;
  for (const bytes of encodings(random, iopl === 0)) {
    const request = { bytes, eip: CODE, pageOffset: 0, mode: MODE_CODE32 | MODE_STACK32 | iopl, layout: LAYOUT_VERSION };
    const unit = translate({ ...request, bytes: bytes.slice(0, decodeGuest(bytes, 0, bytes.length)?.bytes.length ?? bytes.length) });
    if (isRefused(unit)) throw new Error(unit.refused);
    const [first] = unit.instructions;
    if (first!.treatment !== 'ident') continue;
    for (let n = 0; n < GENERAL; n++) registers[n] = random.below(8) === 0 ? random.word() : DATA + random.below(0x400) * 4;
    registers[1] = random.below(4) === 0 ? random.word() : random.below(4); // ECX: a count
    registers[4] = STACK + 4 * random.below(8);
    const flags = (random.word() & 0x8d5) | 2;
    const [one, other] = [execute(kernel, bytes, flags, 0), execute(compressed, bytes, flags, IF | (iopl === 0 ? IOPL : 0))];
    if (one !== other) throw new Error(`${Buffer.from(bytes).toString('hex')}: ring 0 ${one}, ring 1 ${other}`);
    for (let at = DATA; at < DATA + DATA_BYTES; at += 4) {
      if (kernel.cpu.i32[(RAM_BASE + at) >> 2] !== compressed.cpu.i32[(RAM_BASE + at) >> 2]) throw new Error(`${Buffer.from(bytes).toString('hex')} writes another word at ${at.toString(16)}`);
    }
    copied++;
    if (one.startsWith(`${StepResult.Exit}`)) faults++;
    rows.add(decodeGuest(bytes, 0, bytes.length)!.row!.code);
  }
  expect(rows.size).toBeGreaterThan(250);
  expect(copied).toBeGreaterThan(10_000);
  // Most of them execute; the rest fault, alike.
  expect(faults / copied).toBeLessThan(0.5);
}, 600_000);

/**
 * The first opcode bytes, and ModRM.reg where it decides, of what no unit may copy: by hand from the manual, not from the opcode table. Robin and
 * Irvine's seventeen (USENIX Security 2000, Table 3), the privileged instructions of SDM Vol. 3A 5.9, those of IOPL (Vol. 1 19.5.1), what goes
 * through descriptor tables or gates, and every transfer.
 */
const NEVER: readonly (readonly [name: string, ...bytes: (number | `/${number}`)[]])[] = [
  ['SGDT', 0x0f, 0x01, '/0'], ['SIDT', 0x0f, 0x01, '/1'], ['SLDT', 0x0f, 0x00, '/0'], ['STR', 0x0f, 0x00, '/1'], ['SMSW', 0x0f, 0x01, '/4'], ['PUSHF', 0x9c], ['POPF', 0x9d],
  ['LAR', 0x0f, 0x02], ['LSL', 0x0f, 0x03], ['VERR', 0x0f, 0x00, '/4'], ['VERW', 0x0f, 0x00, '/5'],
  ['PUSH ES', 0x06], ['PUSH CS', 0x0e], ['PUSH SS', 0x16], ['PUSH DS', 0x1e], ['PUSH FS', 0x0f, 0xa0], ['PUSH GS', 0x0f, 0xa8],
  ['POP ES', 0x07], ['POP SS', 0x17], ['POP DS', 0x1f], ['POP FS', 0x0f, 0xa1], ['POP GS', 0x0f, 0xa9], ['MOV from segment', 0x8c], ['MOV to segment', 0x8e],
  ['LES', 0xc4], ['LDS', 0xc5], ['LSS', 0x0f, 0xb2], ['LFS', 0x0f, 0xb4], ['LGS', 0x0f, 0xb5],
  ['CALL far', 0x9a], ['CALL far', 0xff, '/3'], ['JMP far', 0xea], ['JMP far', 0xff, '/5'], ['RETF', 0xcb], ['RETF', 0xca], ['IRET', 0xcf], ['INT n', 0xcd], ['INT3', 0xcc], ['INTO', 0xce], ['INT1', 0xf1],
  ['SYSENTER', 0x0f, 0x34], ['SYSEXIT', 0x0f, 0x35], ['CPUID', 0x0f, 0xa2], ['RDTSC', 0x0f, 0x31], ['RDPMC', 0x0f, 0x33], ['RDMSR', 0x0f, 0x32], ['WRMSR', 0x0f, 0x30],
  ['LGDT', 0x0f, 0x01, '/2'], ['LIDT', 0x0f, 0x01, '/3'], ['LLDT', 0x0f, 0x00, '/2'], ['LTR', 0x0f, 0x00, '/3'], ['LMSW', 0x0f, 0x01, '/6'], ['INVLPG', 0x0f, 0x01, '/7'], ['CLTS', 0x0f, 0x06],
  ['MOV from CR', 0x0f, 0x20], ['MOV from DR', 0x0f, 0x21], ['MOV to CR', 0x0f, 0x22], ['MOV to DR', 0x0f, 0x23], ['INVD', 0x0f, 0x08], ['WBINVD', 0x0f, 0x09], ['HLT', 0xf4],
  ['CLI', 0xfa], ['STI', 0xfb], ['IN', 0xe4], ['IN', 0xe5], ['IN', 0xec], ['IN', 0xed], ['OUT', 0xe6], ['OUT', 0xe7], ['OUT', 0xee], ['OUT', 0xef], ['INS', 0x6c], ['INS', 0x6d], ['OUTS', 0x6e], ['OUTS', 0x6f],
  ['CALL', 0xe8], ['JMP', 0xe9], ['JMP', 0xeb], ['RET', 0xc3], ['RET', 0xc2], ['CALL indirect', 0xff, '/2'], ['JMP indirect', 0xff, '/4'], ['LOOPNE', 0xe0], ['LOOPE', 0xe1], ['LOOP', 0xe2], ['JECXZ', 0xe3],
  ...Array.from({ length: 16 }, (_, n) => ['Jcc', 0x70 + n] as const), ...Array.from({ length: 16 }, (_, n) => ['Jcc near', 0x0f, 0x80 + n] as const),
];

it('nothing privileged, sensitive or that transfers is copied, with any prefix and any ModRM byte', () => {
  for (const [name, ...pattern] of NEVER) {
    const opcode = pattern.filter((byte): byte is number => typeof byte === 'number');
    const reg = pattern.find((byte): byte is `/${number}` => typeof byte === 'string');
    for (const prefixes of [...PREFIXES, [0x65], [0x26], [0x2e], [0x3e], [0x65, 0x66], [0x2e, 0xf3]]) {
      for (let second = 0; second < 256; second += prefixes.length === 0 || LONG ? 1 : 7) {
        if (reg !== undefined && (second >> 3 & 7) !== Number(reg[1])) continue;
        const bytes = Uint8Array.from([...prefixes, ...opcode, second, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        for (const mode of [MODE_CODE32 | MODE_STACK32, MODE_CODE32 | MODE_STACK32 | MODE_IOPL]) {
          const unit = translate({ bytes, eip: CODE, pageOffset: 0, mode, layout: LAYOUT_VERSION });
          if (isRefused(unit)) throw new Error(`${name}: ${unit.refused}`);
          if (unit.instructions[0]!.treatment === 'ident') throw new Error(`${name} is copied: ${Buffer.from(bytes).toString('hex')}`);
        }
      }
    }
  }
  expect(NEVER.length).toBeGreaterThan(100);
});
