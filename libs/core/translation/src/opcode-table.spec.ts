import { OPCODES, type OpcodeRow } from '@ringside/x86';
import { planFor } from './treatment.js';
import { decodeGuest } from './guest-instruction.js';
import { LAYOUT_VERSION } from './monitor-data.js';
import { translate } from './translate.js';
import { isRefused, MODE_CODE32, MODE_IOPL, MODE_STACK32, type TranslationRequest } from './unit.js';
import { verifyUnit } from './verify.js';

/** Each register field with [ecx], [disp32], [esp+d] and a register. */
const MODRM = Array.from({ length: 8 }, (_, n) => n << 3).flatMap((reg) => [reg | 1, reg | 5, reg | 0x44, reg | 0xc3]);

/** Encodings of a row that the translator could take for another: with ModRM bytes of each kind where there is one, and under each prefix. */
function* encodings({ opcode, extension, modrm, operands }: OpcodeRow): Generator<Uint8Array> {
  const escape = opcode >= 0x100 ? [0x0f, opcode & 0xff] : [opcode];
  const hasModrm = extension >= 0 || modrm >= 0 || operands.some((operand) => /^[EGMRSCD][bwvdspatq]?$/.test(operand) && !/^(?:ES|CS|SS|DS|FS|GS|CL|DX)$/.test(operand));
  const bytes = modrm >= 0 ? [modrm] : hasModrm ? MODRM.filter((n) => extension < 0 || ((n >> 3) & 7) === extension) : [-1];
  for (const prefixes of [[], [0x66], [0x67], [0xf0], [0xf3], [0x65]]) {
    for (const byte of bytes) yield Uint8Array.from([...prefixes, ...escape, ...(byte < 0 ? [] : [byte]), 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x90]);
  }
}

const requestFor = (bytes: Uint8Array, mode: number): TranslationRequest => ({ bytes, eip: 0xc010_0ff0, pageOffset: 0xf00, mode, layout: LAYOUT_VERSION });

describe('the whole opcode table', () => {
  const idents = new Set<string>();
  const others = new Set<string>();

  it.each([['IOPL 0', MODE_CODE32 | MODE_STACK32], ['IOPL 3', MODE_CODE32 | MODE_STACK32 | MODE_IOPL]])('has no privileged or sensitive row that is copied: %s', (_name, mode) => {
    for (const row of OPCODES) {
      for (const bytes of encodings(row)) {
        const request = requestFor(bytes, mode);
        const unit = translate(request);
        if (isRefused(unit)) throw new Error(`${row.code}: ${unit.refused}`);
        const wrong = verifyUnit(request, unit);
        if (wrong !== null) throw new Error(`${row.code} ${Buffer.from(bytes).toString('hex')}: ${wrong}`);
        const [first] = unit.instructions;
        const dangerous = row.attributes.has('cpl0') || row.attributes.has('iopl') || row.attributes.has('sensitive');
        if (first!.treatment === 'ident') {
          if (dangerous) throw new Error(`${row.code} ${row.mnemonic} is copied`);
          for (let n = 0; n < first!.length; n++) if (unit.code[first!.from + n] !== bytes[n]) throw new Error(`${row.code} is copied wrong`);
          idents.add(row.code);
        } else others.add(row.code);
      }
    }
  });

  it('is judged by its rows: some copied, some not, each dangerous one never', () => {
    const dangerous = OPCODES.filter(({ attributes }) => attributes.has('cpl0') || attributes.has('iopl') || attributes.has('sensitive'));
    expect(dangerous.length).toBeGreaterThan(50);
    expect(dangerous.filter(({ code }) => idents.has(code) || !others.has(code))).toEqual([]);
    expect(idents.size).toBeGreaterThan(300);
  });

  it('says why of each instruction that is not copied', () => {
    const plans = OPCODES.flatMap((row) => [...encodings(row)].map((bytes) => planFor(decodeGuest(bytes, 0, bytes.length)!, MODE_CODE32 | MODE_STACK32)));
    expect(plans.filter(({ kind, why }) => (kind === 'ident') !== (why === ''))).toEqual([]);
  });
});
