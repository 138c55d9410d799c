import type { TranslatedUnitView, TranslatedView } from '@ringside/protocol';
import { isRefused, LAYOUT_VERSION, listUnit, MODE_CODE32, MODE_IOPL, MODE_STACK32, translate, type PlacedUnit, type TranslationCache, type TranslationUnit, type UnitExit } from '@ringside/translation';
import type { Processor } from '@ringside/x86';

const PAGE = 4096;
/** What an instruction that begins at a page's end may need of the next. */
const REACH = 15;
/** Instructions in one view, so that its reply fits a message. */
const MOST = 200;
const JMP = 0xe9;

/** Guest code from a linear address on, `count` instructions or so, beside its translation: whole units, as they stand in the cache, or made for the reader. */
export function translatedView(translations: TranslationCache, processor: Processor, linear: number, count: number): TranslatedView {
  const base = processor.getSegment('cs').base;
  const eip = (linear - base) >>> 0;
  const units: TranslatedUnitView[] = [];
  let at = eip;
  for (let left = Math.min(MOST, count); left > 0;) {
    const placed = unitAt(translations, at);
    const unit = placed?.unit ?? unitForReader(translations, processor, at, base);
    if (unit === null) break;
    units.push(viewOf(unit, placed, translations, processor));
    left -= unit.instructions.length;
    at = (unit.eip + unit.guest.length) >>> 0;
  }
  return { eip, units };
}

/** A unit that begins there, or one that the address lies in. */
function unitAt(translations: TranslationCache, eip: number): PlacedUnit | null {
  const units = translations.unitsOf(eip);
  return units.find(({ unit }) => unit.eip === eip) ?? units[0] ?? null;
}

function unitForReader(translations: TranslationCache, processor: Processor, eip: number, base: number): TranslationUnit | null {
  const linear = (base + eip) >>> 0;
  const inPage = PAGE - (linear & (PAGE - 1));
  const mode = MODE_CODE32 | MODE_STACK32 | (translations.iopl === 0 ? 0 : MODE_IOPL);
  for (const length of [inPage, inPage + REACH]) {
    const bytes = processor.readLinear(linear, length);
    if (bytes === null) return null;
    const unit = translate({ bytes, eip, pageOffset: linear & (PAGE - 1), mode, layout: LAYOUT_VERSION });
    if (!isRefused(unit)) return unit;
  }
  return null;
}

function viewOf(unit: TranslationUnit, placed: PlacedUnit | null, translations: TranslationCache, processor: Processor): TranslatedUnitView {
  const code = placed === null ? unit.code : processor.readPhysical('monitor', placed.at, unit.code.length);
  const chainedTo = (exit: UnitExit): number | null => {
    if (placed === null || exit.kind !== 'direct' || code[exit.at] !== JMP) return null;
    const target = placed.at + exit.at + 5 + new DataView(code.buffer, code.byteOffset).getInt32(exit.at + 1, true);
    return translations.units().find(({ at }) => at === target)?.unit.eip ?? null;
  };
  return {
    eip: unit.eip, at: placed?.at ?? null, guestBytes: unit.guest.length, hostBytes: unit.code.length, rows: listUnit(unit, code),
    exits: unit.exits.map((exit) => ({ at: exit.at, kind: exit.kind, target: exit.kind === 'direct' ? exit.target : null, chainedTo: chainedTo(exit) })),
  };
}
