import { modelledCycles, testOrderings, type CostTable, type PrimitiveCounts, type Sample, type TestedOrdering } from '@ringside/machine';
import type { OperationResult } from './result.js';
import { emptyOf, settingName } from './settings.js';

/*
 * Modelled cycles: what the counted primitives cost on the hardware of a table. They say nothing of this system's times, nor these of them.
 */

/** What one repetition is made of, the measuring loop taken off; `boot` is one piece. */
export function oneRepetition(result: OperationResult, results: readonly OperationResult[]): PrimitiveCounts {
  const loop = result.operation === 'boot' ? undefined : emptyOf(result, results)?.primitives;
  const counts = result.primitives ?? {};
  const names = new Set([...Object.keys(counts), ...Object.keys(loop ?? {})]) as Set<keyof PrimitiveCounts>;
  return Object.fromEntries([...names].map((name) => [name, (counts[name] ?? 0) - (loop?.[name] ?? 0)]).filter(([, count]) => count !== 0));
}

/** Fills in `cycles` by the figures of `table`; null where it is null, or the operation did not run. */
export function addCycles(results: readonly OperationResult[], table: CostTable | null): OperationResult[] {
  if (table === null) return results.map((result) => ({ ...result, cycles: null, primitives: null }));
  return results.map((result) => ({ ...result, cycles: result.primitives === null ? null : rounded(modelledCycles(table, oneRepetition(result, results))) }));
}

/** Which machine takes fewer cycles than which for each operation, and which single figures, halved or doubled, would change that. */
export function sensitivityOf(results: readonly OperationResult[], table: CostTable): TestedOrdering[] {
  const operations = [...new Set(results.map(({ operation }) => operation))].filter((operation) => operation !== 'empty');
  return testOrderings(table, operations.map((operation): Sample => {
    const group = results.filter((result) => result.operation === operation && result.primitives !== null);
    return { operation, counts: new Map(group.map((result) => [settingName(result, results), oneRepetition(result, results)])) };
  }));
}

const rounded = (cycles: number): number => Math.round(cycles * 100) / 100;
