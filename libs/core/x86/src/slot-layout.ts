/**
 * A slot: what the decoder makes of an instruction, eight words that the instruction functions read.
 *
 *   0 operation     number of the hot form or of the function (operations.ts)
 *   1 A             ModRM.reg operand: register number, or byte offset of an 8-bit register; branches: slot of the taken target, 0 while unknown
 *   2 B             ModRM.rm register likewise, -1 for memory; branches: slot of the next instruction
 *   3 base          register number, ZERO for none
 *   4 index         bits 0–3 register number, 4–5 scale, 9–11 segment, 12 16-bit address, 13 segment override
 *   5 displacement
 *   6 immediate     branches: target, relative to the page's first byte
 *   7 meta          bits 0–7 instructions left in the run, this one included, 8–11 length, 12–23 offset in the page, 24–27 prefixes
 */
export const SLOT_WORDS = 8;
export const SLOT_OP = 0;
export const SLOT_A = 1;
export const SLOT_B = 2;
export const SLOT_BASE = 3;
export const SLOT_INDEX = 4;
export const SLOT_DISPLACEMENT = 5;
export const SLOT_IMMEDIATE = 6;
export const SLOT_META = 7;

export const INDEX_SEGMENT_SHIFT = 9;
export const INDEX_ADDRESS16 = 1 << 12;
export const INDEX_OVERRIDE = 1 << 13;

export const META_REP = 1 << 24;
export const META_REPNE = 1 << 25;
export const META_OPERAND16 = 1 << 26;
export const META_LOCK = 1 << 27;
