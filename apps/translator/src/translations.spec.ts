import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { isRefused, LAYOUT_VERSION, MODE_CODE32, MODE_STACK32, translate, verifyUnit, type TranslationRequest, type TranslationUnit } from '@ringside/translation';
import { Translations } from './translations.js';
import { UnitCache } from './unit-cache.js';

const request = (bytes: number[], changes: Partial<TranslationRequest> = {}): TranslationRequest =>
  ({ bytes: Uint8Array.from(bytes), eip: 0x10_0000, pageOffset: 0, mode: MODE_CODE32 | MODE_STACK32, layout: LAYOUT_VERSION, ...changes });
const NOPS = [0x90, 0x90, 0xc3];

describe('Translations', () => {
  it('gives the same bytes the same unit, from memory or not', () => {
    const translations = new Translations();
    const first = translations.answer(request(NOPS));
    expect(first).toEqual(translate(request(NOPS)));
    expect(translations.answer(request(NOPS))).toEqual(first);
    expect(translations.counters()).toEqual({ translations: 2, translated: 1, fromCache: 1, refused: 0, unitsKept: 1 });
  });

  it('takes nothing for the same that differs in anything the unit depends on', () => {
    const translations = new Translations();
    const others = [request([0x90, 0xc3]), request(NOPS, { eip: 0x10_0003 }), request(NOPS, { pageOffset: 0xffe }), request(NOPS, { mode: MODE_CODE32 | MODE_STACK32 | 16 })];
    translations.answer(request(NOPS));
    for (const other of others) expect(translations.answer(other)).toEqual(translate(other));
    expect(translations.counters()).toMatchObject({ translated: 5, fromCache: 0 });
  });

  it('refuses another layout by name, and keeps no refusal', () => {
    const translations = new Translations();
    for (let n = 0; n < 2; n++) expect(translations.answer(request(NOPS, { layout: LAYOUT_VERSION + 1 }))).toEqual({ refused: 'layout' });
    expect(translations.counters()).toEqual({ translations: 0, translated: 0, fromCache: 0, refused: 2, unitsKept: 0 });
  });
});

describe('whatever is asked', () => {
  it('is a unit that the verifier takes, or refused: nothing throws', () => {
    let units = 0;
    const any: fc.Arbitrary<TranslationRequest> = fc.record({
      bytes: fc.uint8Array({ maxLength: 200 }), eip: fc.integer({ min: 0, max: 0xffff_ffff }), pageOffset: fc.integer({ min: 0, max: 4095 }), mode: fc.oneof(fc.constant(MODE_CODE32 | MODE_STACK32), fc.integer({ min: 0, max: 127 })),
      layout: fc.oneof(fc.constant(LAYOUT_VERSION), fc.integer({ min: 0, max: 5 })),
    });
    fc.assert(fc.property(any, (asked) => {
      const answer = new Translations().answer(asked);
      if (isRefused(answer)) return;
      units++;
      expect(verifyUnit(asked, answer)).toBeNull();
    }), { numRuns: 3_000 });
    expect(units).toBeGreaterThan(500);
  });
});

describe('UnitCache', () => {
  it('keeps what was asked for last, within its bytes', () => {
    const cache = new UnitCache(2_000);
    const asked = Array.from({ length: 50 }, (_, n) => request([0xb8, n, 0, 0, 0, 0xc3]));
    const unitOf = (one: TranslationRequest): TranslationUnit => translate(one) as TranslationUnit;
    for (const [n, one] of asked.entries()) {
      cache.keep(one, unitOf(one));
      // The first is asked for again and again.
      if (n > 0) expect(cache.find(asked[0]!)).toEqual(unitOf(asked[0]!));
    }
    expect(cache.size).toBeGreaterThan(2);
    expect(cache.size).toBeLessThan(25);
    expect(cache.find(asked[49]!)).toEqual(unitOf(asked[49]!));
    expect(cache.find(asked[1]!)).toBeUndefined();
  });
});
