import type { Cpu } from './cpu.js';
import { CS, DS, ES, RIGHTS_UNUSABLE, SEGMENTS, SEGMENT_BASE, SEGMENT_LIMIT, SEGMENT_RIGHTS, SEGMENT_WORDS, SS } from './state.js';

/**
 * The mode that code is decoded in. 16- or 32-bit operands and addresses (CS.D), a 16- or 32-bit stack (SS.B), and whether segment checks
 * can fail at all: flat segments have base 0 and limit 4 GiB, so forms without checks are exact.
 */
export const MODE_CODE32 = 1;
export const MODE_STACK32 = 2;
/** DS, ES and SS are writable, base 0, limit 4 GiB. */
export const MODE_FLAT_DATA = 4;
/** CS has limit 4 GiB (any base). */
export const MODE_FLAT_CODE = 8;

const D_B = 1 << 14;

export function modeBits(cpu: Cpu): number {
  const { i32 } = cpu;
  const cs = SEGMENTS + CS * SEGMENT_WORDS;
  const ss = SEGMENTS + SS * SEGMENT_WORDS;
  let mode = 0;
  if ((i32[cs + SEGMENT_RIGHTS]! & D_B) !== 0) mode |= MODE_CODE32;
  if ((i32[ss + SEGMENT_RIGHTS]! & D_B) !== 0) mode |= MODE_STACK32;
  if (i32[cs + SEGMENT_LIMIT] === -1) mode |= MODE_FLAT_CODE;
  if (isFlatData(i32, ss) && isFlatData(i32, SEGMENTS + DS * SEGMENT_WORDS) && isFlatData(i32, SEGMENTS + ES * SEGMENT_WORDS)) mode |= MODE_FLAT_DATA;
  return mode;
}

/** Usable, data, expand-up, writable. */
function isFlatData(i32: Int32Array, at: number): boolean {
  return i32[at + SEGMENT_BASE] === 0 && i32[at + SEGMENT_LIMIT] === -1 && (i32[at + SEGMENT_RIGHTS]! & (RIGHTS_UNUSABLE | 0x9e)) === 0x92;
}
