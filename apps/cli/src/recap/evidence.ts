import type { ClockKind, OperationName } from '@ringside/machine';
import { perOperation, type Comparison, type OperationResult, type PerOperation, type Setting } from '../compare/result.js';
import { emptyOf } from '../compare/settings.js';

/** A machine of a comparison, by as much of its setting as matters. */
export type Who = Pick<Setting, 'path'> & Partial<Setting>;
export type Quantity = 'exits' | 'messages' | 'hypercalls' | 'retired' | 'executed' | 'p50Ns' | 'cycles';

/** A number that a line rests on: one repetition of the operation, the measuring loop taken off; boot as a whole. */
export interface Citation { operation: OperationName; machine: string; quantity: Quantity; value: number; clock: ClockKind }

/** What a line needs and the comparison does not have. */
export class NotMeasured extends Error {
  override name = 'NotMeasured';
}

/** A comparison as a line asks it: every number that is read is written down. */
export class Evidence {
  readonly cited: Citation[] = [];
  constructor(readonly comparison: Comparison) {}

  /** @throws NotMeasured when that machine did not run the operation */
  number(operation: OperationName, who: Who, quantity: Quantity): number {
    const value = this.find(operation, who, quantity);
    if (value === null) throw new NotMeasured(`${operation} on ${machineName(who)}${quantity === 'cycles' ? ', in modelled cycles' : ''}`);
    this.cited.push({ operation, machine: machineName(who), quantity, value, clock: this.comparison.clock });
    return value;
  }

  /** The result itself, for what is no number. @throws NotMeasured */
  result(operation: OperationName, who: Who): OperationResult {
    const result = this.comparison.results.find((one) => one.operation === operation && is(one, who) && one.status !== 'unsupported');
    if (result === undefined) throw new NotMeasured(`${operation} on ${machineName(who)}`);
    return result;
  }

  /** Operations that every one of these machines ran, and that have a figure there. */
  operations(machines: readonly Who[], quantity: Quantity): OperationName[] {
    const names = [...new Set(this.comparison.results.map(({ operation }) => operation))].filter((name) => name !== 'empty');
    return names.filter((name) => machines.every((who) => this.find(name, who, quantity) !== null));
  }

  /** Whether both machines executed, left and sent the same for it: then a difference in time is noise. */
  sameWork(operation: OperationName, a: Who, b: Who): boolean {
    return (['executed', 'exits', 'messages'] as const).every((quantity) => this.find(operation, a, quantity) === this.find(operation, b, quantity));
  }

  private find(operation: OperationName, who: Who, quantity: Quantity): number | null {
    const result = this.comparison.results.find((one) => one.operation === operation && is(one, who) && one.status !== 'unsupported');
    if (result === undefined) return null;
    if (quantity === 'cycles') return result.cycles;
    return pick(perOperation(result, emptyOf(result, this.comparison.results)), quantity);
  }
}

const is = (result: Setting, who: Who): boolean => (Object.keys(who) as (keyof Who)[]).every((key) => result[key] === who[key]);

function pick(one: PerOperation, quantity: Exclude<Quantity, 'cycles'>): number {
  return quantity === 'exits' ? one.exitTotal : one[quantity];
}

export function machineName({ path, mmu, guestKernelRing }: Who): string {
  return [path, ...(mmu === undefined ? [] : [mmu]), ...(path === 'paravirt' && guestKernelRing === 3 ? ['ring 3'] : [])].join(', ');
}
