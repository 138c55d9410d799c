import type { ClockKind, VmSpec } from '../vm-spec.js';
import type { CostTable } from './cost-table.js';
import { COST_TABLES, costTable } from './generations.js';

const PREFIX = 'modelled:';

/** Every clock's name, for people: `virtual, real, modelled:pentium4, …`. */
export const CLOCKS: readonly ClockKind[] = ['virtual', 'real', ...COST_TABLES.map(({ name }): ClockKind => `modelled:${name}`)];

/** A clock by its name; undefined when there is none. */
export function parseClockName(name: unknown): ClockKind | undefined {
  return CLOCKS.find((clock) => clock === name);
}

/** The hardware that a clock models; null for `virtual` and `real`. */
export function modelledTable(clock: ClockKind): CostTable | null {
  return clock.startsWith(PREFIX) ? costTable(clock.slice(PREFIX.length)) ?? null : null;
}

/** Why that hardware cannot be this machine: a sentence without its full stop. Null when it can. */
export function generationRefusal({ processor, features }: CostTable, { path, mmu }: Pick<VmSpec, 'path' | 'mmu'>): string | null {
  if (path === 'hardware-assisted' && !features.vmx) return `the ${processor} has no VMX: nothing there is hardware-assisted`;
  if (mmu === 'nested' && !features.ept) return `the ${processor} has no EPT: there is mmu shadow, not nested`;
  return null;
}
