import { modelledCycles, type CostTable, type Primitive, type PrimitiveCounts } from './cost-table.js';

/** One operation as several machines did it: counts by the machine's name. */
export interface Sample { readonly operation: string; readonly counts: ReadonlyMap<string, PrimitiveCounts> }

/** `faster` took fewer cycles than `slower` for the operation. */
export interface Ordering { readonly operation: string; readonly faster: string; readonly slower: string }

/** An ordering, and the changes of single figures that turn it round or make it a tie: empty when it survives all. */
export interface TestedOrdering extends Ordering { readonly lostBy: readonly { readonly primitive: Primitive; readonly factor: number }[] }

const FACTORS = [0.5, 2] as const;

/** Which machine is faster than which, for each operation, by the table's figures. Ties are no ordering. */
export function orderings(table: CostTable, samples: readonly Sample[], scaled: Readonly<Partial<Record<Primitive, number>>> = {}): Ordering[] {
  return samples.flatMap(({ operation, counts }) => {
    const cycles = [...counts].map(([machine, count]) => ({ machine, cycles: modelledCycles(table, count, scaled) }));
    return cycles.flatMap((faster) => cycles.filter((slower) => faster.cycles < slower.cycles).map((slower): Ordering => ({ operation, faster: faster.machine, slower: slower.machine })));
  });
}

/** Halve and double each figure, one at a time: what of the orderings depends on it? */
export function testOrderings(table: CostTable, samples: readonly Sample[]): TestedOrdering[] {
  const primitives = (Object.keys(table.figures) as Primitive[]).filter((primitive) => table.figures[primitive] !== null);
  const changes = primitives.flatMap((primitive) => FACTORS.map((factor) => (
    { primitive, factor, holds: new Set(orderings(table, samples, { [primitive]: factor }).map(key)) })));
  return orderings(table, samples).map((ordering) => ({
    ...ordering, lostBy: changes.filter(({ holds }) => !holds.has(key(ordering))).map(({ primitive, factor }) => ({ primitive, factor })),
  }));
}

const key = ({ operation, faster, slower }: Ordering): string => JSON.stringify([operation, faster, slower]);
