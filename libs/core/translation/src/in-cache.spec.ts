import { DATA, GUEST_CODE, randomPage } from './testing/guest-code.js';
import { Random } from './testing/random.js';
import { Twin, unitFor, type GuestView } from './testing/twin.js';

/** Where a run of one seed ends at the latest. */
const UNITS = 40;
const words = ({ eip, eflags, general, selectors }: GuestView): string => [eip, eflags, ...general, ...selectors].join();

describe('translated code leaves the guest as the original would', () => {
  const ends = new Map<string, number>();
  const treatments = new Map<string, number>();
  let commits = 0;

  it.each([0, 50, 100, 150, 200])('random kernel code, 50 seeds from %i', (first) => {
    for (let seed = first; seed < first + 50; seed++) {
      const random = new Random(seed);
      const registers = Array.from({ length: 8 }, () => DATA + random.below(0x800));
      registers[4] = random.below(16) === 0 ? 4 * random.below(4) : DATA + 0x1000 + 4 * random.below(256);
      const twin = new Twin(randomPage(random), registers);
      for (let count = 0; count < UNITS; count++) {
        const eip = twin.native.getRegister('eip');
        if (eip < GUEST_CODE || eip >= GUEST_CODE + 4090) break;
        const unit = unitFor(twin.request());
        const end = twin.runUnit(unit, (native, translated) => {
          commits++;
          if (words(native) !== words(translated)) throw new Error(`seed ${seed}, unit ${count} at ${eip.toString(16)}: ${JSON.stringify({ native, translated, instructions: unit.instructions })}`);
        });
        ends.set(end, (ends.get(end) ?? 0) + 1);
        for (const { treatment } of unit.instructions) treatments.set(treatment, (treatments.get(treatment) ?? 0) + 1);
        if (end === 'fault' || end === 'callout' || end === 'trap-flag') break;
      }
      const [native, translated] = twin.memories();
      expect(Buffer.compare(native, translated)).toBe(0);
    }
  });

  it('has been through every kind of end and treatment', () => {
    expect([...ends.keys()].sort()).toEqual(['callout', 'direct', 'fault', 'lookup', 'trap-flag']);
    expect([...treatments.keys()].sort()).toEqual(['callout', 'direct', 'ident', 'in-cache', 'indirect']);
    expect(commits).toBeGreaterThan(5000);
    for (const count of treatments.values()) expect(count).toBeGreaterThan(50);
  });
});
