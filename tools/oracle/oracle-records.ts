import type { ArenaPatch, OracleCase, OracleResult } from '../../libs/core/x86/src/testing/case.js';

/** The byte layout of record.h, which both runners read and write. */

const CASE_WORDS = 25;
const RESULT_WORDS = 28;
/** RF: what an exception pushes is not what the processor held (SDM Vol. 3A 17.3.1.1), and QEMU never sets it. Not compared. */
const RF = 0x1_0000;

const padded = (bytes: number): number => (bytes + 3) & ~3;

function caseBytes(oracleCase: OracleCase): number {
  return oracleCase.patches.reduce((sum, { bytes }) => sum + 8 + padded(bytes.length), CASE_WORDS * 4);
}

/** All cases, one record after the other. */
export function encodeCases(cases: readonly OracleCase[]): Buffer {
  const buffer = Buffer.alloc(cases.reduce((sum, oracleCase) => sum + caseBytes(oracleCase), 0));
  let at = 0;
  const put = (value: number): void => {
    at = buffer.writeUInt32LE(value >>> 0, at);
  };
  for (const oracleCase of cases) {
    const { registers, eip, eflags, selectors, cr0, cr3, cr4, efer, sysenter, patches } = oracleCase;
    put(caseBytes(oracleCase) / 4);
    for (const value of [...registers, eip, eflags, ...selectors, cr0, cr3, cr4, efer, ...sysenter, patches.length]) put(value);
    for (const { offset, bytes } of patches) {
      put(offset);
      put(bytes.length);
      buffer.set(bytes, at);
      at += padded(bytes.length);
    }
  }
  return buffer;
}

/** Reads as many results as the buffer holds. */
export function decodeResults(buffer: Buffer): OracleResult[] {
  const results: OracleResult[] = [];
  let at = 0;
  const take = (): number => {
    const value = buffer.readUInt32LE(at);
    at += 4;
    return value;
  };
  const takeMany = (count: number): Uint32Array => Uint32Array.from({ length: count }, take);
  while (at + RESULT_WORDS * 4 <= buffer.length) {
    const vector = take(), error = take(), cr2 = take(), registers = takeMany(8), eip = take(), eflags = take() & ~RF, selectors = takeMany(6);
    const cr0 = take(), cr4 = take(), dr6 = take(), tr = take(), gdtrBase = take(), gdtrLimit = take(), idtrBase = take(), idtrLimit = take();
    const changes: ArenaPatch[] = [];
    for (let count = take(); count > 0; count--) {
      const offset = take(), length = take();
      changes.push({ offset, bytes: Uint8Array.from(buffer.subarray(at, at + length)) });
      at += padded(length);
    }
    results.push({ vector, error, cr2, registers, eip, eflags, selectors, cr0, cr4, dr6, tr, gdtrBase, gdtrLimit, idtrBase, idtrLimit, changes });
  }
  return results;
}
