import { LAYOUT_VERSION } from './monitor-data.js';
import { translate } from './translate.js';
import { isRefused, MODE_ASK, MODE_CODE32, MODE_CPL_SHIFT, MODE_IOPL, MODE_STACK32, SIDE_WORDS, type TranslationRequest, type TranslationUnit } from './unit.js';
import { verifyUnit } from './verify.js';

const KERNEL = MODE_CODE32 | MODE_STACK32;

function request(bytes: readonly number[], mode = KERNEL): TranslationRequest {
  return { bytes: Uint8Array.from([...bytes, ...new Array<number>(64).fill(0x90)]), eip: 0xc010_0000, pageOffset: 0, mode, layout: LAYOUT_VERSION };
}

function unitOf(asked: TranslationRequest): TranslationUnit {
  const unit = translate(asked);
  if (isRefused(unit)) throw new Error(unit.refused);
  expect(verifyUnit(asked, unit)).toBeNull();
  return unit;
}

/** Every unit that differs in one bit of its first bytes or in one word of their side-table entries. */
function* mutants(unit: TranslationUnit, bytes: number): Generator<TranslationUnit> {
  for (let bit = 0; bit < bytes * 8; bit++) {
    const code = unit.code.slice();
    code[bit >> 3]! ^= 1 << (bit & 7);
    yield { ...unit, code };
  }
  for (let word = 0; word < unit.sideTable.length && unit.sideTable[word - (word % SIDE_WORDS)]! < bytes; word++) {
    for (const change of [1, 8, 16, 0x200]) {
      const sideTable = unit.sideTable.slice();
      sideTable[word]! ^= change;
      yield { ...unit, sideTable };
    }
  }
}

describe('IRET to an application', () => {
  const IRET = [0xcf];

  it('is in the cache for ring 0 with IOPL 0 alone, and not with 16 bits', () => {
    const treatment = (bytes: readonly number[], mode: number): string => unitOf(request(bytes, mode)).instructions[0]!.treatment;
    expect([treatment(IRET, KERNEL), treatment([0x65, 0xcf], KERNEL), treatment([0x66, 0xcf], KERNEL), treatment(IRET, KERNEL | MODE_IOPL), treatment(IRET, KERNEL | (3 << MODE_CPL_SHIFT))])
      .toEqual(['in-cache', 'in-cache', 'callout', 'callout', 'callout']);
  });

  it('is taken by the verifier in one form only, to the bit', () => {
    const asked = request(IRET);
    const unit = unitOf(asked);
    for (const mutant of mutants(unit, unit.code.length)) expect(verifyUnit(asked, mutant)).not.toBeNull();
    expect(verifyUnit(asked, { ...unit, exits: [] })).not.toBeNull();
    expect(verifyUnit(asked, { ...unit, instructions: [{ ...unit.instructions[0]!, treatment: 'ident' }] })).not.toBeNull();
  });

  it('is no instruction that code for another may have', () => {
    const asked = request([0xfa]);
    const unit = unitOf(asked);
    const code = unit.code.slice();
    code[0] = 0xcf;
    expect(verifyUnit(asked, { ...unit, code })).not.toBeNull();
  });
});

describe('a store that asks', () => {
  const STORE = [0x89, 0x06]; // mov [esi], eax

  it('is one instruction behind a gate; what is not copied cannot ask', () => {
    const unit = unitOf(request(STORE, KERNEL | MODE_ASK));
    expect([unit.instructions.length, unit.guest.length, ...unit.code.subarray(0, 4)]).toEqual([1, 2, 0xcd, 0x83, 0x89, 0x06]);
    for (const bytes of [[0xfa], [0xcf], [0x65, 0x89, 0x06], [0xe8, 0, 0, 0, 0], [0x8e, 0xd8], [0x0f, 0x22, 0xd8]]) expect(translate(request(bytes, KERNEL | MODE_ASK))).toEqual({ refused: 'mode' });
  });

  it('is taken by the verifier in one form only, and with that mode', () => {
    const asked = request(STORE, KERNEL | MODE_ASK);
    const unit = unitOf(asked);
    for (const mutant of mutants(unit, 4)) expect(verifyUnit(asked, mutant)).not.toBeNull();
    expect(verifyUnit(asked, { ...unit, exits: unit.exits.slice(1) })).not.toBeNull();
    expect(verifyUnit(request(STORE), { ...unit, mode: KERNEL })).not.toBeNull();
    const plain = unitOf(request(STORE));
    expect(verifyUnit(asked, { ...plain, mode: KERNEL | MODE_ASK })).not.toBeNull();
  });
});
