import type { ClockKind } from '@ringside/machine';
import type { Comparison } from '../compare/result.js';
import { Evidence, NotMeasured, type Citation } from './evidence.js';
import { LINES, type Basis, type LineDefinition, type Technique, type Verdict } from './lines.js';

/** What `recap --json` prints: docs/schemas/recap-1.json is its JSON Schema. */
export interface Recap { schema: 'ringside.recap/1'; lines: RecapLine[] }

export interface RecapLine {
  id: string;
  technique: Technique;
  side: 'pro' | 'con';
  basis: Basis;
  /** The clock of the comparison it was read from; null when not measured. */
  clock: ClockKind | null;
  claim: string;
  verdict: Verdict;
  /** The numbers in words; for a line that was not measured, what is missing. */
  says: string;
  rests: Citation[];
}

/**
 * Computes every line: counts and this system's times from the first comparison under an ordinary clock (counts from a modelled one, if there is no
 * other), modelled cycles from each one under a modelled clock.
 */
export function recap(comparisons: readonly Comparison[]): Recap {
  const modelled = comparisons.filter(({ clock }) => clock.startsWith('modelled:'));
  const ordinary = comparisons.find((comparison) => !modelled.includes(comparison));
  return {
    schema: 'ringside.recap/1',
    lines: LINES.flatMap((line): RecapLine[] => {
      switch (line.basis) {
        case 'counts': return [judged(line, ordinary ?? modelled[0])];
        case 'wall': return [judged(line, ordinary)];
        case 'modelled': return modelled.length === 0 ? [judged(line, undefined)] : modelled.map((comparison) => judged(line, comparison));
        default: { const unreachable: never = line.basis; return unreachable; }
      }
    }),
  };
}

function judged({ judge, ...line }: LineDefinition, comparison: Comparison | undefined): RecapLine {
  if (comparison === undefined) return { ...line, clock: null, verdict: 'not measured', says: `no comparison under ${line.basis === 'modelled' ? 'a modelled clock (compare --clock modelled:pentium4)' : 'the virtual clock'}`, rests: [] };
  const evidence = new Evidence(comparison);
  try {
    return { ...line, clock: comparison.clock, ...judge(evidence), rests: evidence.cited };
  } catch (error) {
    if (!(error instanceof NotMeasured)) throw error;
    return { ...line, clock: null, verdict: 'not measured', says: `the comparison has no ${error.message}`, rests: [] };
  }
}
