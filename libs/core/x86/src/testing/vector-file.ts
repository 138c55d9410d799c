import { seededRegisters, type ArenaPatch, type OracleCase, type OracleResult } from './case.js';

/**
 * Recorded cases with what the oracle answered, packed: most of a case follows from its number (see `seededRegisters`) and most of a
 * result is as it was before. The file on disk is this, compressed.
 *
 * Layout: 'RSV1', count, names, environments (everything that many cases share), then each case and its result. Numbers are LEB128.
 */
export interface RecordedCase {
  oracleCase: OracleCase;
  expected: OracleResult;
}

const MAGIC = [0x52, 0x53, 0x56, 0x31];

class Writer {
  readonly bytes: number[] = [];

  number(value: number): void {
    let rest = value >>> 0;
    for (; rest > 0x7f; rest >>>= 7) this.bytes.push((rest & 0x7f) | 0x80);
    this.bytes.push(rest);
  }

  word(value: number): void {
    this.bytes.push(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24);
  }

  patches(patches: readonly ArenaPatch[]): void {
    this.number(patches.length);
    for (const { offset, bytes } of patches) {
      this.number(offset);
      this.number(bytes.length);
      for (const byte of bytes) this.bytes.push(byte);
    }
  }

  /** The words of `values` that differ from `known`, behind a mask of which they are. */
  differences(values: ArrayLike<number>, known: ArrayLike<number>): void {
    let mask = 0;
    for (let index = 0; index < values.length; index++) if (values[index] !== known[index]) mask |= 1 << index;
    this.number(mask);
    for (let index = 0; index < values.length; index++) if (mask & (1 << index)) this.word(values[index] as number);
  }
}

class Reader {
  private at = 0;
  constructor(private readonly bytes: Uint8Array) {}

  byte(): number {
    if (this.at >= this.bytes.length) throw new RangeError('the vector file ends early');
    return this.bytes[this.at++] as number;
  }

  number(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
  }

  word(): number {
    return (this.byte() | (this.byte() << 8) | (this.byte() << 16) | (this.byte() << 24)) >>> 0;
  }

  patches(): ArenaPatch[] {
    return Array.from({ length: this.number() }, () => {
      const offset = this.number();
      return { offset, bytes: Uint8Array.from({ length: this.number() }, () => this.byte()) };
    });
  }

  differences(known: ArrayLike<number>): Uint32Array {
    const mask = this.number();
    return Uint32Array.from(known, (value, index) => (mask & (1 << index) ? this.word() : value));
  }
}

/** What cases have in common: selectors, control registers, SYSENTER MSRs. */
const environmentOf = (oracleCase: OracleCase): number[] =>
  [...oracleCase.selectors, oracleCase.cr0, oracleCase.cr3, oracleCase.cr4, oracleCase.efer, ...oracleCase.sysenter].map((value) => value >>> 0);

/** The system registers of a result, which seldom differ from the ones of the case before it. */
const systemOf = (result: OracleResult): number[] => [result.cr0, result.cr4, result.dr6, result.tr, result.gdtrBase, result.gdtrLimit, result.idtrBase, result.idtrLimit].map((value) => value >>> 0);

export function encodeVectors(cases: readonly RecordedCase[]): Uint8Array {
  const names = [...new Set(cases.map(({ oracleCase }) => oracleCase.name))];
  const environments = [...new Set(cases.map(({ oracleCase }) => environmentOf(oracleCase).join()))];
  const nameIndex = new Map(names.map((name, index) => [name, index])), environmentIndex = new Map(environments.map((text, index) => [text, index]));
  const writer = new Writer();
  writer.bytes.push(...MAGIC);
  writer.number(cases.length);
  writer.number(names.length);
  for (const name of names) {
    writer.number(name.length);
    for (const character of name) writer.bytes.push(character.charCodeAt(0));
  }
  writer.number(environments.length);
  for (const text of environments) text.split(',').forEach((value) => writer.word(Number(value)));
  let system: number[] = systemOf((cases[0] as RecordedCase).expected).map(() => 0);
  cases.forEach(({ oracleCase, expected }, seed) => {
    writer.number(nameIndex.get(oracleCase.name) as number);
    writer.number(environmentIndex.get(environmentOf(oracleCase).join()) as number);
    writer.differences(oracleCase.registers, seededRegisters(seed));
    writer.number(oracleCase.eip);
    writer.number(oracleCase.eflags);
    writer.number(oracleCase.undefinedFlags);
    writer.number(oracleCase.delivered);
    writer.patches(oracleCase.patches);
    writer.number(expected.vector);
    writer.number(expected.error);
    writer.differences([expected.cr2, expected.eip - oracleCase.eip >>> 0, (expected.eflags ^ oracleCase.eflags) >>> 0], [0xc0de_c0de, 0, 0]);
    writer.differences(expected.registers, oracleCase.registers);
    writer.differences(expected.selectors, oracleCase.selectors);
    writer.differences(systemOf(expected), system);
    system = systemOf(expected);
    writer.patches(expected.changes);
  });
  return Uint8Array.from(writer.bytes);
}

export function decodeVectors(bytes: Uint8Array): RecordedCase[] {
  const reader = new Reader(bytes);
  if (MAGIC.some((byte) => reader.byte() !== byte)) throw new TypeError('not a vector file');
  const count = reader.number();
  const names = Array.from({ length: reader.number() }, () => String.fromCharCode(...Array.from({ length: reader.number() }, () => reader.byte())));
  const environments = Array.from({ length: reader.number() }, () => Uint32Array.from({ length: 13 }, () => reader.word()));
  let system: Uint32Array = new Uint32Array(8);
  return Array.from({ length: count }, (_, seed) => {
    const name = names[reader.number()] as string, environment = environments[reader.number()] as Uint32Array;
    const [cr0, cr3, cr4, efer] = environment.subarray(6, 10) as unknown as [number, number, number, number];
    const registers = reader.differences(seededRegisters(seed)), eip = reader.number(), eflags = reader.number(), undefinedFlags = reader.number(), delivered = reader.number();
    const oracleCase: OracleCase = {
      name, registers, eip, eflags, selectors: environment.slice(0, 6), cr0, cr3, cr4, efer, sysenter: environment.slice(10), patches: reader.patches(), undefinedFlags, delivered,
    };
    const vector = reader.number(), error = reader.number();
    const [cr2, eipOffset, flagsChange] = reader.differences([0xc0de_c0de, 0, 0]) as unknown as [number, number, number];
    const resultRegisters = reader.differences(registers), selectors = reader.differences(oracleCase.selectors);
    system = reader.differences(system);
    const [resultCr0, resultCr4, dr6, tr, gdtrBase, gdtrLimit, idtrBase, idtrLimit] = system as unknown as [number, number, number, number, number, number, number, number];
    const expected: OracleResult = {
      vector, error, cr2, registers: resultRegisters, eip: (eip + eipOffset) >>> 0, eflags: (eflags ^ flagsChange) >>> 0, selectors,
      cr0: resultCr0, cr4: resultCr4, dr6, tr, gdtrBase, gdtrLimit, idtrBase, idtrLimit, changes: reader.patches(),
    };
    return { oracleCase, expected };
  });
}
