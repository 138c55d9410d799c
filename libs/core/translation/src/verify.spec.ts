import { DATA, GUEST_CODE, randomPage } from './testing/guest-code.js';
import { Random } from './testing/random.js';
import { unitFor } from './testing/twin.js';
import { LAYOUT_VERSION } from './monitor-data.js';
import { translate } from './translate.js';
import { COMMITS, MODE_CODE32, MODE_STACK32, SIDE_WORDS, SPILLED_SHIFT, type TranslationRequest, type TranslationUnit } from './unit.js';
import { verifyUnit } from './verify.js';

function requestOf(bytes: Iterable<number>, pageOffset = 0): TranslationRequest {
  return { bytes: Uint8Array.from(bytes), eip: GUEST_CODE + pageOffset, pageOffset, mode: MODE_CODE32 | MODE_STACK32, layout: LAYOUT_VERSION };
}

/** The unit with its host code changed by `edit`. */
function withCode(unit: TranslationUnit, edit: (code: Uint8Array) => void): TranslationUnit {
  const code = unit.code.slice();
  edit(code);
  return { ...unit, code };
}
function withSide(unit: TranslationUnit, edit: (side: Int32Array) => void): TranslationUnit {
  const sideTable = unit.sideTable.slice();
  edit(sideTable);
  return { ...unit, sideTable };
}

const NOP = 0x90, RET = 0xc3;

describe('planted wrong answers', () => {
  const copies = requestOf([0x01, 0xd8, 0xfa, 0x9c, 0xff, 0x15, 0, 0, 2, 0]); // add eax, ebx; cli; pushf; call [0x20000]
  const good = unitFor(copies);
  const find = (unit: TranslationUnit, ...bytes: number[]): number => {
    const at = unit.code.findIndex((_, n) => bytes.every((byte, m) => unit.code[n + m] === byte));
    if (at < 0) throw new Error('no such host code');
    return at;
  };

  const planted: [string, TranslationUnit, RegExp][] = [
    ['a privileged instruction, marked as a copy', { ...good, instructions: good.instructions.map((one, n) => n === 1 ? { ...one, treatment: 'ident', to: one.from + 1 } : one) }, /host code/],
    ['a copy of something else', withCode(good, (code) => { code[1] = 0xd9; }), /a copy that is none/],
    ['HLT among added code', withCode(good, (code) => { code.fill(NOP, find(good, 0x59), find(good, 0x59) + 1); code[find(good, 0x59)] = 0xf4; }), /may not have/],
    ['an instruction that changes flags', withCode(good, (code) => { code[find(good, 0x8d, 0x8c, 0x11)] = 0x03; }), /may not have|ends inside|no entry/],
    ['a write to the pending field', withCode(good, (code) => { code[find(good, 0x65, 0xc6, 0x05) + 3] = 4; }), /not listed/],
    ['a write into the lookup table', withCode(good, (code) => { code[find(good, 0x65, 0xc6, 0x05) + 5] = 1; }), /not listed/],
    ['CLI that sets IF', withCode(good, (code) => { code[find(good, 0x65, 0xc6, 0x05) + 7] = 2; }), /virtual IF/],
    ['a pushed address in the cache', withCode(good, (code) => { code[find(good, 0x68) + 1]! ^= 1; }), /return address/],
    ['a call through another address', withCode(good, (code) => { code[find(good, 0x8b, 0x0d, 0, 0, 2, 0) + 2]! ^= 1; }), /a read of the guest’s memory/],
    ['a gate that is no exit', { ...good, exits: [] }, /no exit|a branch to nowhere/],
    ['a jump out of the unit', withCode(good, (code) => { code[code.length - 4] = 0x40; }), /lookup stub/],
    ['a register that is not put back', withCode(good, (code) => { const at = find(good, 0x65, 0x8b, 0x15, 0x28); code[at + 3] = 0x24; }), /register|lookup/],
    ['a register saved in another’s place', withCode(good, (code) => { const at = find(good, 0x65, 0x89, 0x15, 0x28); code[at + 3] = 0x24; }), /another's place/],
    ['a side table without a commit', withSide(good, (side) => { side[2] = 0; }), /does not commit/],
    ['a side table that commits twice', withSide(good, (side) => { for (let n = 0; n < side.length; n += SIDE_WORDS) side[n + 2]! |= COMMITS; }), /EIP moves elsewhere/],
    ['a side table with another EIP', withSide(good, (side) => { side[4]! += 1; }), /EIP/],
    ['a side table with a hole', { ...good, sideTable: good.sideTable.slice(SIDE_WORDS) }, /side table/],
    ['a register in use that the side table does not tell', withSide(good, (side) => { for (let n = 0; n < side.length; n += SIDE_WORDS) side[n + 2]! &= ~(2 << SPILLED_SHIFT); }), /side table/],
    ['other guest bytes', { ...good, guest: good.guest.map((byte, n) => n === 1 ? byte ^ 1 : byte) }, /other guest bytes/],
    ['another key', { ...good, layout: LAYOUT_VERSION + 1 }, /another key/],
  ];
  it.each(planted)('%s', (_name, unit, why) => {
    expect(verifyUnit(copies, unit)).toMatch(why);
  });

  it('a chain that leaves the page, and one to another place', () => {
    const request = requestOf([0xe9, 0x10, 0, 0, 0]);
    const unit = unitFor(request);
    const [exit] = unit.exits;
    expect(verifyUnit(request, { ...unit, exits: [{ kind: 'direct', at: exit!.at, target: GUEST_CODE + 0x2000 }] })).toMatch(/leaves the page/);
    expect(verifyUnit(request, { ...unit, exits: [{ kind: 'direct', at: exit!.at, target: GUEST_CODE + 0x16 }] })).toMatch(/not where the side table says/);
    const elsewhere = withSide(unit, (side) => { for (let n = SIDE_WORDS; n < side.length; n += SIDE_WORDS) side[n + 1]! += 1; });
    expect(verifyUnit(request, { ...elsewhere, exits: [{ kind: 'direct', at: exit!.at, target: GUEST_CODE + 0x16 }] })).toMatch(/EIP moves elsewhere/);
  });

  it('what only recomputing finds: a selector read for another', () => {
    const request = requestOf([0x1e]); // push ds
    const unit = unitFor(request);
    const other = withCode(unit, (code) => { code[3]! -= 12; });
    expect(verifyUnit(request, other)).toBeNull();
    expect(other.code).not.toEqual((translate(request) as TranslationUnit).code);
  });

  /**
   * One bit flipped in the code or the side table of units of random code. What passes in the code reads or writes another listed field of monitor data, or takes
   * another register for its own; in the side table, it tells of code that nothing reaches (behind UD2), or that a register is saved which is.
   */
  it('refuses nearly all flipped bits', () => {
    const random = new Random(7);
    const flips = { code: 0, side: 0 }, passed = { code: 0, side: 0 };
    for (let seed = 0; seed < 40; seed++) {
      const request = requestOf(randomPage(new Random(seed + DATA)));
      const unit = unitFor(request);
      for (let n = 0; n < 25; n++) {
        const at = random.below(unit.code.length);
        flips.code++;
        if (verifyUnit(request, withCode(unit, (code) => { code[at]! ^= 1 << random.below(8); })) === null) passed.code++;
        const word = random.below(unit.sideTable.length);
        flips.side++;
        if (verifyUnit(request, withSide(unit, (side) => { side[word]! ^= 1 << random.below(32); })) === null) passed.side++;
      }
    }
    expect(flips).toEqual({ code: 1000, side: 1000 });
    expect(passed.code).toBeLessThan(50);
    expect(passed.side).toBeLessThan(90);
  });

  it('arithmetic that is not PUSHF’s or POPF’s, and a place that is told wrong where a jump will be', () => {
    const pushf = requestOf([0x9c]), popf = requestOf([0x9d]);
    const [pushed, popped] = [unitFor(pushf), unitFor(popf)];
    expect(verifyUnit(pushf, withCode(pushed, (code) => { code[find(pushed, 0x8d, 0x8c, 0x11) + 4] = 0xfc; }))).toMatch(/computed for nothing/);
    expect(verifyUnit(popf, withCode(popped, (code) => { code[find(popped, 0x8d, 0x49, 0xff) + 2] = 0xfe; }))).toMatch(/computed for nothing/);
    const near = requestOf([0xeb, 0x10]), jump = unitFor(near);
    expect(verifyUnit(near, withSide(jump, (side) => { side[side.length - 2]! += 1; }))).toMatch(/the room behind the exit/);
  });
});

describe('units', () => {
  it('end at twelve instructions, at a transfer, and before an instruction that crosses the page', () => {
    expect(unitFor(requestOf(new Array<number>(40).fill(NOP))).instructions).toHaveLength(12);
    expect(unitFor(requestOf([NOP, RET, NOP])).instructions).toHaveLength(2);
    const crossing = [NOP, 0xb8, 1, 2, 3, 4];
    expect(unitFor(requestOf(crossing.slice(0, 3), 0xffd)).instructions).toHaveLength(1);
    expect(translate(requestOf(crossing.slice(1, 3), 0xffe))).toEqual({ refused: 'more-bytes' });
    const straddling = unitFor(requestOf(crossing.slice(1), 0xffe));
    expect([straddling.straddles, straddling.instructions.length, straddling.exits[0]!.kind]).toEqual([true, 1, 'lookup']);
  });

  it('chain inside the page only', () => {
    expect(unitFor(requestOf([0xeb, 0x10])).exits).toMatchObject([{ kind: 'direct', target: GUEST_CODE + 0x12 }]);
    expect(unitFor(requestOf([0xe9, 0, 0x10, 0, 0])).exits).toMatchObject([{ kind: 'lookup' }]);
    expect(unitFor(requestOf([0x74, 0x7f], 0xff0)).exits.map(({ kind }) => kind)).toEqual(['direct', 'lookup']);
  });

  it('are refused for modes and layouts that are not built', () => {
    const request = requestOf([NOP]);
    expect(translate({ ...request, mode: MODE_CODE32 })).toEqual({ refused: 'mode' });
    for (const ring of [1, 2]) expect(translate({ ...request, mode: request.mode | (ring << 2) })).toEqual({ refused: 'mode' });
    expect(translate({ ...request, layout: LAYOUT_VERSION + 1 })).toEqual({ refused: 'layout' });
  });

  it('are the same for the same bytes', () => {
    for (let seed = 0; seed < 20; seed++) {
      const page = randomPage(new Random(seed));
      expect(translate(requestOf(page))).toEqual(translate(requestOf(page.slice())));
    }
  });
});
