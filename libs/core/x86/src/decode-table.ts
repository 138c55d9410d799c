import { OPCODES, type OpcodeRow } from './opcodes.js';

/** What follows the opcode and ModRM bytes. */
export const Immediate = { None: 0, Byte: 1, SignedByte: 2, Word: 3, Full: 4, Enter: 5, FarPointer: 6, Offset: 7, RelativeByte: 8, RelativeFull: 9 } as const;
export type Immediate = (typeof Immediate)[keyof typeof Immediate];

/** An opcode row, prepared for the decoder. */
export interface DecodeEntry {
  readonly row: OpcodeRow;
  /** Place in `OPCODES`. */
  readonly number: number;
  readonly modrm: boolean;
  readonly memoryOnly: boolean;
  readonly registerOnly: boolean;
  readonly inOpcode: boolean;
  readonly accumulator: boolean;
  readonly byteE: boolean;
  readonly byteG: boolean;
  readonly immediate: Immediate;
  readonly lockable: boolean;
  /** SETcc and CMOVcc: the condition, which their hot forms find in the slot's immediate; else -1. */
  readonly conditionCode: number;
  /** Shifts by 1 are hot as shifts by an immediate. */
  readonly shiftByOne: boolean;
  /** Operands in the form the instruction functions know: accumulator, opcode register and moffs forms are E and G forms. */
  readonly shape: string;
}

export interface DecodeGroup {
  modrm: boolean;
  /** The row, where ModRM does not choose it. */
  only: DecodeEntry | undefined;
  choose(modrm: number): DecodeEntry | undefined;
}

const IMMEDIATES: Record<string, Immediate> = {
  'Ib': Immediate.Byte, 'Is': Immediate.SignedByte, 'Iw': Immediate.Word, 'Iz': Immediate.Full, 'Iw,Ib': Immediate.Enter,
  'Ap': Immediate.FarPointer, 'Ob': Immediate.Offset, 'Ov': Immediate.Offset, 'Jb': Immediate.RelativeByte, 'Jz': Immediate.RelativeFull,
};
const IMMEDIATE_OPERAND = /^(?:I[bswz]|Ap|O[bv]|J[bz])$/;

function prepare(row: OpcodeRow, number: number): DecodeEntry {
  const { operands } = row;
  const immediate = IMMEDIATES[operands.filter((operand) => IMMEDIATE_OPERAND.test(operand)).join(',')] ?? Immediate.None;
  const modrm = row.extension >= 0 || row.modrm >= 0 || operands.some((operand) => /^[EGMRSCD][bwvdspatq]?$/.test(operand) && !/^(?:ES|CS|SS|DS|FS|GS|CL|DX|GS)$/.test(operand));
  const accumulator = immediate !== Immediate.Offset && operands.length === 2 && /^(?:AL|eAX)$/.test(operands[0]!) && operands[1]!.startsWith('I') && !['IN', 'OUT'].includes(row.mnemonic);
  return {
    row, number, modrm, immediate, accumulator,
    memoryOnly: operands.some((operand) => /^M/.test(operand)),
    // Control- and debug-register moves ignore ModRM.mod (SDM Vol. 2B, MOV).
    registerOnly: operands.some((operand) => /^R/.test(operand)),
    inOpcode: operands.some((operand) => /^Z/.test(operand)),
    byteE: operands.some((operand) => /^[EZ]b$/.test(operand)) || operands[0] === 'AL',
    byteG: operands.includes('Gb'),
    lockable: row.attributes.has('lock'),
    conditionCode: /^(?:SET|CMOV)/.test(row.mnemonic) ? row.opcode & 15 : -1,
    shiftByOne: operands[1] === '1',
    shape: shapeOf(row, accumulator, immediate),
  };
}

function shapeOf(row: OpcodeRow, accumulator: boolean, immediate: Immediate): string {
  if (immediate === Immediate.Offset) {
    return row.operands.map((operand) => ({ AL: 'Gb', eAX: 'Gv', Ob: 'Eb', Ov: 'Ev' })[operand] ?? operand).join(',');
  }
  return row.operands.map((operand, n) => {
    if (accumulator && n === 0) return operand === 'AL' ? 'Eb' : 'Ev';
    if (row.mnemonic === 'XCHG' && operand === 'eAX') return 'Gv';
    if (operand === 'Zb' || operand === 'Zv') return `E${operand[1]}`;
    if (operand === 'Is' || operand === 'Iz') return 'Iv';
    return operand;
  }).join(',');
}

export const DECODE_ENTRIES: readonly DecodeEntry[] = OPCODES.map(prepare);

class Group implements DecodeGroup {
  only: DecodeEntry | undefined = undefined;
  modrm = false;
  private readonly byExtension: (DecodeEntry | undefined)[] = new Array<undefined>(8).fill(undefined);
  private readonly byModrm = new Map<number, DecodeEntry>();

  add(entry: DecodeEntry): void {
    if (entry.modrm) this.modrm = true;
    if (entry.row.modrm >= 0) this.byModrm.set(entry.row.modrm, entry);
    else if (entry.row.extension >= 0) this.byExtension[entry.row.extension] = entry;
    else this.only = entry;
  }

  choose(modrm: number): DecodeEntry | undefined {
    return this.only ?? this.byModrm.get(modrm) ?? this.byExtension[(modrm >> 3) & 7];
  }
}

/** By opcode: 0x00–0xFF, 0x100–0x1FF behind 0F. */
export const ENTRIES: readonly (DecodeGroup | undefined)[] = (() => {
  const groups: (Group | undefined)[] = new Array<undefined>(0x200).fill(undefined);
  for (const entry of DECODE_ENTRIES) {
    const group = (groups[entry.row.opcode] ??= new Group());
    group.add(entry);
  }
  return groups;
})();
