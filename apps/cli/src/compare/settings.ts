import type { ClockKind } from '@ringside/machine';
import { usageFailure } from '../failure.js';
import { vmSpec, type BuiltPath } from '../session/vm-spec.js';
import type { OperationResult, Setting } from './result.js';

/** One machine of a comparison; what is not said is the path's default. */
export interface PathChoice { path: BuiltPath; mmu?: string; guestKernelRing?: number }

/**
 * The machines to compare, in the order of the paths. A path runs once with each of the given mmus and rings that it has, and
 * with its defaults if it has none of them; hardware assistance with both its mmus if none is given (where the hardware of a modelled clock has both).
 * One that no path has (on the hardware of a modelled clock) is a usage error.
 */
export function choicesFor(paths: readonly BuiltPath[], mmus: readonly string[], rings: readonly number[], clock: ClockKind = 'virtual'): PathChoice[] {
  const mmusOf = valuesByPath(paths, mmus, clock, (path, mmu) => ({ path, mmu }));
  const ringsOf = valuesByPath(paths, rings, clock, (path, guestKernelRing) => ({ path, guestKernelRing }));
  if (mmus.length === 0 && paths.includes('hardware-assisted')) {
    mmusOf.set('hardware-assisted', (['nested', 'shadow'] as const).filter((mmu) => refusal({ path: 'hardware-assisted', mmu }, clock) === null));
  }
  return paths.flatMap((path) => orDefault(mmusOf.get(path)).flatMap((mmu) => orDefault(ringsOf.get(path)).map((ring): PathChoice => (
    { path, ...(mmu === undefined ? {} : { mmu }), ...(ring === undefined ? {} : { guestKernelRing: ring }) }))));
}

/** How a result's machine is called beside others of the same path: by what distinguishes it. */
export function settingName(result: Setting, among: readonly Setting[]): string {
  const same = among.filter(({ path }) => path === result.path);
  const parts: string[] = [result.path];
  if (same.some(({ mmu }) => mmu !== result.mmu)) parts.push(result.mmu);
  if (same.some(({ guestKernelRing }) => guestKernelRing !== result.guestKernelRing)) parts.push(`ring ${result.guestKernelRing}`);
  return parts.join(', ');
}

/** `empty` was run on the same machine, so that its loop can be taken off. */
export function sameSetting(a: Setting, b: Setting): boolean {
  return a.path === b.path && a.mmu === b.mmu && a.guestKernelRing === b.guestKernelRing;
}

export const emptyOf = (result: OperationResult, results: readonly OperationResult[]): OperationResult | undefined =>
  results.find((other) => other.operation === 'empty' && sameSetting(other, result));

/** Why there is no such machine; null when there is. */
function refusal(choice: PathChoice, clock: ClockKind): Error | null {
  try {
    vmSpec({ ...choice, id: 'probe', guest: 'ringlet', clock });
    return null;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

const orDefault = <Value>(values: readonly Value[] | undefined): readonly (Value | undefined)[] => values ?? [undefined];

function valuesByPath<Value>(paths: readonly BuiltPath[], values: readonly Value[], clock: ClockKind, choice: (path: BuiltPath, value: Value) => PathChoice): Map<BuiltPath, Value[]> {
  const byPath = new Map<BuiltPath, Value[]>();
  for (const value of new Set(values)) {
    const refusals: Error[] = [];
    for (const path of paths) {
      const refused = refusal(choice(path, value), clock);
      if (refused === null) byPath.set(path, [...byPath.get(path) ?? [], value]);
      else refusals.push(refused);
    }
    // Of a path that has it, but not on this hardware, that is what to say.
    if (refusals.length === paths.length) throw refusals.find(({ message }) => message.startsWith(`With --clock ${clock}`)) ?? refusals[0] ?? usageFailure('--paths wants at least one path.');
  }
  return byPath;
}
