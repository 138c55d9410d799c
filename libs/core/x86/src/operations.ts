import { ALU_INSTRUCTIONS } from './alu-instructions.js';
import { BIT_INSTRUCTIONS } from './bit-instructions.js';
import { BRANCH_INSTRUCTIONS } from './branch-instructions.js';
import { META_LOCK, META_OPERAND16, META_REP, META_REPNE, SLOT_A, SLOT_B, SLOT_IMMEDIATE } from './slot-layout.js';
import { DECODE_ENTRIES, type DecodeEntry } from './decode-table.js';
import { HOT_FORMS, MONITOR_FORMS } from './hot-forms.js';
import type { InstructionFunction, InstructionSet } from './instruction.js';
import { IO_INSTRUCTIONS } from './io-instructions.js';
import { MODE_FLAT_CODE, MODE_FLAT_DATA, MODE_STACK32 } from './mode.js';
import { MONITOR_DATA_INSTRUCTIONS, translationGate } from './monitor-data-instructions.js';
import { MOVE_INSTRUCTIONS } from './move-instructions.js';
import { MULTIPLY_INSTRUCTIONS } from './multiply-instructions.js';
import { SHIFT_INSTRUCTIONS } from './shift-instructions.js';
import { DS, EAX, ES, SS, ZERO } from './state.js';
import { STRING_INSTRUCTIONS } from './string-instructions.js';
import { annotation, pause, raiseTooLong, raiseUndefined, SYSTEM_INSTRUCTIONS } from './system-instructions.js';

/**
 * Operation numbers, the first word of a slot. 0 is none; up to HOT_END they are cases of the run loop's switch (hot-forms.ts); from
 * PLAIN_BASE on functions that go on with the next slot; from SYSTEM_BASE on functions behind which the run loop looks at the whole state again.
 */
export const PLAIN_BASE = 512;
export const SYSTEM_BASE = 1536;

/** By operation number. */
export const FUNCTIONS: InstructionFunction[] = [];
/** What each number executes, for tests and profiles. */
export const OPERATION_NAMES: string[] = [];

let nextPlain = PLAIN_BASE;
let nextSystem = SYSTEM_BASE;

function register(name: string, instruction: InstructionFunction, endsRun: boolean): number {
  const number = endsRun ? nextSystem++ : nextPlain++;
  FUNCTIONS[number] = instruction;
  OPERATION_NAMES[number] = name;
  return number;
}

for (let number = 0; number < SYSTEM_BASE; number++) FUNCTIONS[number] = raiseUndefined;

export const OP_UNDEFINED = register('#UD', raiseUndefined, true);
export const OP_GP_TOO_LONG = register('#GP', raiseTooLong, true);
const OP_PAUSE = register('PAUSE', pause, true);
const OP_ANNOTATION = register('NOP annotation', annotation, true);

/** What a GS override means in translated code, by opcode row, and its gates (translated-code.ts). */
export const MONITOR_DATA_OPERATIONS: ReadonlyMap<string, number> = new Map(
  Object.entries(MONITOR_DATA_INSTRUCTIONS).map(([code, instruction]) => [code, register(`${code} on monitor data`, instruction, code === 'FF/4' || code === 'STI')]),
);
export const OP_TRANSLATION_GATE = register('translation gate', translationGate, true);

const ALL: InstructionSet = {
  ...ALU_INSTRUCTIONS, ...BIT_INSTRUCTIONS, ...BRANCH_INSTRUCTIONS, ...IO_INSTRUCTIONS, ...MOVE_INSTRUCTIONS, ...MULTIPLY_INSTRUCTIONS, ...SHIFT_INSTRUCTIONS, ...STRING_INSTRUCTIONS,
  ...SYSTEM_INSTRUCTIONS,
};

interface Operations {
  /** 16- and 32-bit functions, and those under REP. */
  readonly narrow: number;
  readonly wide: number;
  readonly repeatedNarrow: number;
  readonly repeatedWide: number;
  /** Hot forms: register, memory by base and displacement, memory with index; 0 for none. */
  readonly hotRegister: number;
  readonly hotBase: number;
  readonly hotIndex: number;
  /** The register form takes A and B exchanged. */
  readonly exchanged: boolean;
  /** A hot form needs a flat 32-bit stack, or flat code. */
  readonly needs: number;
  /** Hot memory forms that do not access memory (LEA). */
  readonly addressOnly: boolean;
}

const known = new Map<string, readonly [number, number]>();
function numbers(name: string, endsRun: boolean): readonly [number, number] | null {
  const found = known.get(name);
  if (found !== undefined) return found;
  const functions = ALL[name];
  if (functions === undefined) return null;
  const pair: readonly [number, number] = typeof functions === 'function'
    ? (() => { const number = register(name, functions, endsRun); return [number, number] as const; })()
    : [register(`${name} (16)`, functions[0], endsRun), register(name, functions[1], endsRun)];
  known.set(name, pair);
  return pair;
}

const USES_STACK = /^(?:PUSH|POP|CALL|RET|LEAVE)/;
const TRANSFERS = /^(?:J|CALL|RET|LOOP)/;

function operationsOf(entry: DecodeEntry): Operations | null {
  const { mnemonic, attributes, needs } = entry.row;
  if (needs !== null) return null;
  const name = entry.shape === '' ? mnemonic : `${mnemonic} ${entry.shape}`;
  const single = numbers(name, attributes.has('ends'));
  if (single === null) throw new Error(`no instruction function for ${entry.row.code} ${name}`);
  const repeated = attributes.has('string') ? numbers(`REP ${name}`, true) ?? single : single;
  // Between registers, `G,E` is `E,G` with the two exchanged: one hot form serves both.
  const exchanged = /^G([bv]),E\1$/.test(entry.shape) ? HOT_FORMS[`${mnemonic} ${entry.shape[3]!}${entry.shape[4]!},${entry.shape[0]!}${entry.shape[1]!} r`] ?? 0 : 0;
  return {
    narrow: single[0], wide: single[1], repeatedNarrow: repeated[0], repeatedWide: repeated[1],
    hotRegister: exchanged === 0 ? HOT_FORMS[`${name} r`] ?? 0 : exchanged, exchanged: exchanged !== 0, hotBase: HOT_FORMS[`${name} m`] ?? 0, hotIndex: HOT_FORMS[`${name} x`] ?? 0,
    needs: (USES_STACK.test(mnemonic) ? MODE_STACK32 | MODE_FLAT_DATA : 0) | (TRANSFERS.test(mnemonic) ? MODE_FLAT_CODE : 0),
    addressOnly: mnemonic === 'LEA',
  };
}

const OPERATIONS: readonly (Operations | null)[] = DECODE_ENTRIES.map(operationsOf);
for (const [name, number] of Object.entries(HOT_FORMS)) OPERATION_NAMES[number] ??= name;

/** Tag of the displacement of an annotation NOP, `0F 1F 80 imm32`: 'R'. */
const ANNOTATION_TAG = 0x52;
const BYTE_SHAPE = /^(?:Eb|Gb)/;
const IS_BYTE: readonly boolean[] = DECODE_ENTRIES.map((entry) => BYTE_SHAPE.test(entry.shape));

/** The operation of a decoded instruction: a hot form where it is exact, else its function. */
export function chooseOperation(
  entry: DecodeEntry, inRegister: boolean, operand32: boolean, address32: boolean, segment: number, mode: number, slots: Int32Array, slot: number, prefixes: number,
): number {
  const operations = OPERATIONS[entry.number];
  if (operations === null || operations === undefined) return OP_UNDEFINED;
  const repeats = (prefixes & (META_REP | META_REPNE)) !== 0;
  if (repeats) {
    if (entry.row.code === '90' && (prefixes & META_REP) !== 0) return OP_PAUSE;
    if (entry.row.attributes.has('string')) return operand32 ? operations.repeatedWide : operations.repeatedNarrow;
  }
  if (entry.row.code === '0F1F' && slots[slot + 5]! >>> 24 === ANNOTATION_TAG && slots[slot + 3] === EAX && (slots[slot + 4]! & 15) === ZERO && (prefixes & ~(META_LOCK | META_OPERAND16)) === 0 && operand32) return OP_ANNOTATION;
  if (entry.conditionCode >= 0) slots[slot + SLOT_IMMEDIATE] = entry.conditionCode;
  if (entry.shiftByOne) slots[slot + SLOT_IMMEDIATE] = 1;
  const exact = (operations.needs & ~mode) === 0 && (operand32 || IS_BYTE[entry.number] === true);
  if (exact && (address32 || inRegister)) {
    if (inRegister || (!entry.modrm && slots[slot + 2]! >= 0)) {
      if (operations.hotRegister !== 0) {
        if (operations.exchanged) {
          const register = slots[slot + SLOT_A]!;
          slots[slot + SLOT_A] = slots[slot + SLOT_B]!;
          slots[slot + SLOT_B] = register;
        }
        return operations.hotRegister;
      }
    } else if (!entry.modrm && slots[slot + 2] === -1 && entry.shape.indexOf('E') < 0) {
      if (operations.hotRegister !== 0) return operations.hotRegister; // no operand in memory at all: branches, RET, PUSH imm
    } else if (operations.addressOnly || ((mode & MODE_FLAT_DATA) !== 0 && (segment === DS || segment === SS || segment === ES))) {
      const simple = (slots[slot + 4]! & 15) === ZERO;
      if (simple && operations.hotBase !== 0) return operations.hotBase;
      if (operations.hotIndex !== 0) return operations.hotIndex;
    }
  }
  return operand32 ? operations.wide : operations.narrow;
}

/** Hot forms that always transfer control; a conditional jump goes on in its run when it is not taken. */
const HOT_ENDS = new Set([...Object.entries(HOT_FORMS).filter(([name]) => /^(?:JMP|CALL|RET)/.test(name)).map(([, number]) => number), MONITOR_FORMS['FF/4']!]);

/** Whether an operation is the last of its run. */
export function isRunEnd(operation: number): boolean {
  return operation >= SYSTEM_BASE || HOT_ENDS.has(operation);
}

const SOFTWARE_INTERRUPTS = new Set(['INT Ib', 'INT3', 'INT1', 'INTO'].flatMap((name) => [...(known.get(name) ?? [])]));

/** INT n, INT3, INT1, INTO: a single-step trap does not follow them, since they clear TF on their way (SDM Vol. 3B 17.3.1.4). */
export function isSoftwareInterrupt(operation: number): boolean {
  return SOFTWARE_INTERRUPTS.has(operation);
}
