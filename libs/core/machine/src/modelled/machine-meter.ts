import type { BusAccess, ProcessorEventCounts } from '@ringside/x86';
import type { Exit, ExitReply } from '../exit.js';
import type { MonitorPrimitive, Primitive, PrimitiveCounts } from './cost-table.js';

/** Registers that a VMCS holds (SDM Vol. 3C 25.4.1); general registers but ESP, and CR2, stay in the processor. */
const VMCS_REGISTERS: ReadonlySet<string> = new Set(['esp', 'eip', 'eflags', 'cr0', 'cr3', 'cr4']);
/** Selector, base, limit and rights of a segment are a field each; a descriptor table has base and limit. */
const SEGMENT_FIELDS = 4, TABLE_FIELDS = 2;
/** Exit reason and qualification are read at every exit. */
const ALWAYS_READ = 2;

/**
 * Counts what leaving the guest and returning to it are made of, out of what an exit and its reply carry. Ring -1 reads the VMCS fields
 * that the exit brings it, for its handler asked for them, and writes those that its effects change.
 *
 * A deprivileged guest leaves through a gate of the monitor's IDT and comes back by IRET: no VMX is involved.
 */
export class MachineMeter {
  private readonly counts = {
    'gate-entry': 0, 'iret': 0, 'port-cycle': 0, 'vm-exit': 0, 'vm-entry': 0, 'vmcs-read': 0, 'vmcs-write': 0,
    'monitor-dispatch': 0, 'guest-word': 0, 'page-table-entry': 0, 'descriptor-check': 0, 'instruction-decode': 0, 'code-lookup': 0, 'translation': 0, 'device-access': 0,
  } satisfies Partial<Record<Primitive, number>>;

  /** Translation misses so far. */
  private units = 0;

  left(exit: Exit, deprivileged: boolean): void {
    const { counts } = this;
    if (deprivileged) {
      counts['gate-entry']++;
      return;
    }
    counts['vm-exit']++;
    counts['vmcs-read'] += ALWAYS_READ + (exit.instructionLength === 0 ? 0 : 1) + (exit.guestPhysical === 0 ? 0 : 1) + (exit.event === null ? 0 : 1)
      + (exit.registers === null ? 0 : VMCS_REGISTERS.size) + (exit.segments === null ? 0 : Object.keys(exit.segments).length * SEGMENT_FIELDS);
  }

  returned({ disposition, effects, cost }: ExitReply, deprivileged: boolean): void {
    const { counts } = this;
    for (const [name, count] of Object.entries(cost.work ?? {})) counts[name as MonitorPrimitive] += count;
    if (deprivileged) {
      counts.iret++;
      return;
    }
    counts['vm-entry']++;
    // EIP moves past an instruction that is done; an event goes into the entry's interruption field.
    if (disposition.kind !== 'resume') counts['vmcs-write']++;
    for (const effect of effects) {
      if (effect.kind === 'register' && VMCS_REGISTERS.has(effect.register)) counts['vmcs-write']++;
      else if (effect.kind === 'segment') counts['vmcs-write'] += SEGMENT_FIELDS;
      else if (effect.kind === 'table') counts['vmcs-write'] += TABLE_FIELDS;
      else if (effect.kind === 'interrupt' && effect.vector !== null) counts['vmcs-write']++;
    }
  }

  /** A translation miss: into the monitor and back, and what it does there. `instructions`: guest instructions of the new unit. */
  translated(instructions: number): void {
    const { counts } = this;
    this.units++;
    counts['gate-entry']++;
    counts['monitor-dispatch']++;
    counts.translation += instructions;
    counts.iret++;
  }

  /**
   * What of the total is done once for code that is reached for the first time: units translated, and entered, and found by those that lead to them. `directExits`: how often
   * translated code has asked for a known place (TranslationCache.counts); the next time its exits are chained.
   */
  once(directExits: number): PrimitiveCounts {
    const visits = this.units + directExits;
    return { 'gate-entry': visits, 'iret': visits, 'monitor-dispatch': visits, 'code-lookup': visits, 'translation': this.counts.translation };
  }

  /** An access of the guest's that went to the board without an exit: each element is a cycle. */
  cycle(access: BusAccess): void {
    if (access.space === 'port') this.counts['port-cycle'] += access.count;
  }

  /** All of it, with what the processor counted, since the machine began. `executed`: all instructions, those with a class of their own among them. */
  total(executed: number, events: ProcessorEventCounts): PrimitiveCounts {
    const { counts } = this;
    const { divisions, segmentLoads, controlRegisterWrites, serializing, timeStamps, lookupJumps, translationGates, translationEntries, farTransfers, fastSystemCalls, gateEntries, irets, pageWalkReads, nestedWalkReads } = events;
    return {
      ...counts,
      'instruction': executed - divisions - segmentLoads - controlRegisterWrites - serializing - timeStamps - lookupJumps - farTransfers - fastSystemCalls - irets,
      'division': divisions, 'segment-load': segmentLoads, 'control-register-write': controlRegisterWrites, 'serializing': serializing, 'time-stamp': timeStamps, 'lookup-jump': lookupJumps, 'far-transfer': farTransfers, 'fast-system-call': fastSystemCalls,
      'monitor-dispatch': counts['monitor-dispatch'] + translationGates, 'code-lookup': counts['code-lookup'] + translationGates + translationEntries,
      'gate-entry': counts['gate-entry'] + gateEntries + translationGates, 'iret': counts.iret + irets + translationGates, 'page-walk-read': pageWalkReads, 'nested-walk-read': nestedWalkReads,
    };
  }
}

/** What happened between two totals; what did not happen is left out. */
export function primitivesBetween(before: PrimitiveCounts, after: PrimitiveCounts): PrimitiveCounts {
  const between: Partial<Record<Primitive, number>> = {};
  for (const name of Object.keys(after) as Primitive[]) {
    const count = (after[name] ?? 0) - (before[name] ?? 0);
    if (count !== 0) between[name] = count;
  }
  return between;
}
