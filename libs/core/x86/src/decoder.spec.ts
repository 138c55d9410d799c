import { createRequire } from 'node:module';
import { decode, MORE } from './decoder.js';
import { disassembleBytes } from './disassembler.js';
import { MODE_CODE32, MODE_FLAT_CODE, MODE_FLAT_DATA, MODE_STACK32 } from './mode.js';
import { FUNCTIONS, OP_GP_TOO_LONG, OP_UNDEFINED, OPERATION_NAMES } from './operations.js';
import { OPCODES } from './opcodes.js';
import { Processor } from './processor.js';
import { SLOT_META, SLOT_OP } from './slot-layout.js';
import { Random } from './testing/random.js';

/** The decoder against iced-x86, which shares nothing with our table. */
const { Code, CpuidFeature, Decoder } = createRequire(import.meta.url)('iced-x86') as typeof import('iced-x86');

const FLAT32 = MODE_CODE32 | MODE_STACK32 | MODE_FLAT_DATA | MODE_FLAT_CODE;
const SLOT = 64;
/** Features whose instructions this processor has; those of others are #UD here. */
const OURS = /^(?:INTEL(?:8086|186|286|386|486)(?:_ONLY)?|CMOV|CX8|PAUSE|SEP|MSR|TSC|CPUID|MULTIBYTENOP)$/;

/** Encodings that iced calls invalid and that are #UD when they are executed: a segment, control or debug register that does not exist. */
const CHECKED_WHEN_EXECUTED = /^MOV (?:Sw,Ew|Ev,Sw|Cd,Rd|Rd,Cd|Dd,Rd|Rd,Dd)/;

describe.each([[32, FLAT32], [16, FLAT32 & ~MODE_CODE32]])('in %i-bit code', (bits, mode) => {
  it('random bytes have the same length, and are undefined or not, as iced-x86 says', () => {
    const { cpu } = new Processor({ ramBytes: 0x10000 });
    const random = new Random(bits);
    const differences: string[] = [];
    for (let n = 0; n < 30_000; n++) {
      const bytes = Uint8Array.from({ length: 15 }, () => random.u32() & 0xff);
      if (random.oneIn(3)) bytes[0] = 0x0f;
      if (random.oneIn(6)) bytes.set([[0x66, 0x67, 0xf3, 0xf2, 0xf0, 0x64][random.below(6)]!, random.oneIn(2) ? 0x0f : bytes[1]!]);
      const length = decode(cpu, bytes, 0, 15, SLOT, 0, mode);
      const operation = cpu.code.slots[SLOT + SLOT_OP]!;
      const undefinedHere = operation === OP_UNDEFINED || operation === OP_GP_TOO_LONG;
      const decoder = new Decoder(bits, bytes, 0);
      const instruction = decoder.decode();
      const invalid = instruction.code === Code.INVALID;
      const features = invalid ? [] : Array.from(instruction.cpuidFeatures(), (feature) => CpuidFeature[feature]!);
      const text = `${[...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(' ')}: ${OPERATION_NAMES[operation] ?? operation}`;
      if (undefinedHere && !invalid) {
        if (features.every((feature) => OURS.test(feature))) differences.push(`${text}, iced decodes it`);
      } else if (!undefinedHere && invalid) {
        if (!CHECKED_WHEN_EXECUTED.test(OPERATION_NAMES[operation] ?? '')) differences.push(`${text}, iced does not decode it`);
      } else if (!undefinedHere && length !== instruction.length) differences.push(`${text}, ${length} bytes, iced ${instruction.length}`);
      else if (!undefinedHere && bits === 32 && disassembleBytes(bytes, 0, 1)[0]!.bytes.length !== length) differences.push(`${text}, disassembled to another length`);
      instruction.free();
      decoder.free();
    }
    expect(differences).toEqual([]);
  });
});

it('asks for more bytes when an instruction is cut off anywhere', () => {
  const { cpu } = new Processor({ ramBytes: 0x10000 });
  const bytes = Uint8Array.of(0x66, 0x64, 0xf0, 0x81, 0x84, 0x88, 1, 2, 3, 4, 5, 6, 0); // lock add word fs:[eax+ecx*4+…],…
  for (let end = 0; end < 12; end++) expect(decode(cpu, bytes, 0, end, SLOT, 0, FLAT32)).toBe(MORE);
  expect(decode(cpu, bytes, 0, 13, SLOT, 0x123, FLAT32)).toBe(12);
  expect((cpu.code.slots[SLOT + SLOT_META]! >>> 8) & 0xffff).toBe(12 | (0x123 << 4));
});

it('has one row for each encoding, and a function for each row that is built', () => {
  const keys = OPCODES.map(({ opcode, extension, modrm }) => `${opcode}/${extension}:${modrm}`);
  expect(new Set(keys).size).toBe(keys.length);
  for (const number of [OP_UNDEFINED, OP_GP_TOO_LONG]) expect(FUNCTIONS[number]).toBeDefined();
  expect(OPCODES.filter(({ needs }) => needs !== null).map(({ mnemonic }) => mnemonic)).toContain('ESC');
  // The seventeen instructions of Robin and Irvine, and their neighbours, carry the flag.
  for (const mnemonic of ['SGDT', 'SIDT', 'SLDT', 'STR', 'SMSW', 'PUSHF', 'POPF', 'LAR', 'LSL', 'VERR', 'VERW', 'CALLF', 'JMPF', 'INT', 'RETF', 'IRET']) {
    expect(OPCODES.filter((row) => row.mnemonic === mnemonic).every(({ attributes }) => attributes.has('sensitive'))).toBe(true);
  }
});
