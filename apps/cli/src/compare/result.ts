import type { ClockKind, MachineStatistics, Mmu, OperationName, OperationRecord, Path, PrimitiveCounts, TestedOrdering, VmSpec } from '@ringside/machine';

/** What `compare --json` prints: docs/schemas/compare-1.json is its JSON Schema. Counts are totals over all repetitions; times are ns. */
export interface Comparison {
  schema: 'ringside.compare/1';
  guest: string;
  clock: ClockKind;
  results: OperationResult[];
  /** With --sensitivity: which machine takes fewer modelled cycles than which, and what that hangs on. */
  sensitivity?: TestedOrdering[];
}

export interface OperationResult {
  operation: OperationName;
  path: Path;
  mmu: Mmu;
  guestKernelRing: VmSpec['guestKernelRing'];
  status: 'ok' | 'misled' | 'unsupported';
  /** Why the status is not `ok`. */
  reason: string | null;
  repetitions: number;
  retired: number;
  executed: number;
  exits: Record<string, number>;
  hypercalls: number;
  /** Distinct requests, by subject below `ringside.vm.<id>.`; `translate` is `ringside.translate`. */
  messages: Record<string, number>;
  /** Binary translation: what was translated meanwhile, once for code that is reached for the first time; null on the other paths. */
  translation: Translation | null;
  /** The total of the path less that of native for the same operation; null on native, or where native was not run. */
  addsOverNative: { retired: number; executed: number; exits: number; messages: number } | null;
  /** Modelled clocks: cycles of the last repetition on that hardware, the measuring loop and what is done once for all taken off (boot: the whole). Null otherwise. */
  cycles: number | null;
  /** Modelled clocks: what they are made of, the measuring loop among it. Null otherwise. */
  primitives: PrimitiveCounts | null;
  /** Measured on this system: differs from run to run. */
  wall: { p50Ns: number; p99Ns: number; guestNs: number; busNs: number; handlersNs: number; totalNs: number; /** Requests that guest-cpu sent again. */ resends: number; addsOverNativeP50Ns: number | null };
  traceId: string | null;
}

export interface Translation {
  /** To translators. */ messages: number;
  /** Units placed in the translation cache, made of so many bytes of guest code and as so many of host code. */
  units: number; guestBytes: number; hostBytes: number;
  /** Units chained to another, dropped because their guest code was written. */
  chained: number; invalidated: number;
}

export type Setting = Pick<VmSpec, 'path' | 'mmu' | 'guestKernelRing'>;

/** `misled`: what statistics say of the first sensitive instruction that misled the guest, if any did. */
export function resultOf({ path, mmu, guestKernelRing }: Setting, record: OperationRecord, misled: MachineStatistics['misled'] = null): OperationResult {
  const { wall } = record;
  const laps = wall.lapsNs.length > 0 ? [...wall.lapsNs].sort((a, b) => a - b) : [wall.totalNs];
  return {
    operation: record.operation, path, mmu, guestKernelRing, status: misled === null ? 'ok' : 'misled', reason: misled === null ? null : misledSentence(misled), repetitions: record.repetitions,
    retired: record.retired, executed: record.executed, exits: sorted(record.exits), hypercalls: record.hypercalls, messages: sorted(record.messages), translation: translationOf(record), addsOverNative: null,
    cycles: null, primitives: record.lastRepetition ?? record.primitives ?? null,
    wall: { p50Ns: percentile(laps, 0.5), p99Ns: percentile(laps, 0.99), guestNs: wall.guestNs, busNs: wall.busNs, handlersNs: wall.handlersNs, totalNs: wall.totalNs, resends: wall.resends, addsOverNativeP50Ns: null },
    traceId: record.traceId,
  };
}

function translationOf({ translation, messages }: OperationRecord): Translation | null {
  if (translation === undefined) return null;
  const { installed, guestBytes, hostBytes, chained, invalidated } = translation;
  return { messages: messages['translate'] ?? 0, units: installed, guestBytes, hostBytes, chained, invalidated };
}

/** What misled the guest, in a sentence without its full stop. */
export function misledSentence({ mnemonic, bytes, eip, ring, saw, shouldHaveSeen, count }: NonNullable<MachineStatistics['misled']>): string {
  return `${mnemonic} (${bytes}) at 0x${eip.toString(16)} in ring ${ring} saw ${saw}, in ring 0 ${shouldHaveSeen}: the first of ${count} that did not trap and misled the guest`;
}

/** An operation that this guest did not do on this path, and why. */
export function unsupported({ path, mmu, guestKernelRing }: Setting, operation: OperationName, reason: string): OperationResult {
  return {
    operation, path, mmu, guestKernelRing, status: 'unsupported', reason, repetitions: 0, retired: 0, executed: 0, exits: {}, hypercalls: 0, messages: {}, translation: null, addsOverNative: null, cycles: null, primitives: null,
    wall: { p50Ns: 0, p99Ns: 0, guestNs: 0, busNs: 0, handlersNs: 0, totalNs: 0, resends: 0, addsOverNativeP50Ns: null }, traceId: null,
  };
}

/** Fills in `addsOverNative`, operation by operation. */
export function addNative(results: readonly OperationResult[]): OperationResult[] {
  return results.map((result) => {
    const native = results.find(({ path, operation, status }) => path === 'native' && operation === result.operation && status === 'ok');
    if (native === undefined || result.path === 'native' || result.status === 'unsupported') return result;
    return {
      ...result,
      addsOverNative: {
        retired: result.retired - native.retired, executed: result.executed - native.executed,
        exits: total(result.exits) - total(native.exits), messages: total(result.messages) - total(native.messages),
      },
      wall: { ...result.wall, addsOverNativeP50Ns: result.wall.p50Ns - native.wall.p50Ns },
    };
  });
}

/**
 * One repetition's share: the measuring loop (`empty`, same repetitions) taken off. `boot` is one piece. Messages to translators are left out: code
 * is translated when it is first reached, not each time.
 */
export interface PerOperation { retired: number; executed: number; exits: Record<string, number>; exitTotal: number; hypercalls: number; messages: number; p50Ns: number; p99Ns: number; guestNs: number; busNs: number; handlersNs: number }

export function perOperation(result: OperationResult, empty: OperationResult | undefined): PerOperation {
  const loop = result.operation === 'boot' || empty?.repetitions !== result.repetitions ? undefined : empty;
  const share = (pick: (of: OperationResult) => number): number => Math.round(((pick(result) - (loop === undefined ? 0 : pick(loop))) / Math.max(1, result.repetitions)) * 100) / 100;
  const reasons = Object.keys(result.exits).map((reason) => [reason, share(({ exits }) => exits[reason] ?? 0)] as const).filter(([, count]) => count !== 0);
  return {
    retired: share(({ retired }) => retired), executed: share(({ executed }) => executed), exits: Object.fromEntries(reasons), exitTotal: share(({ exits }) => total(exits)),
    hypercalls: share(({ hypercalls }) => hypercalls), messages: share(({ messages }) => total(messages) - (loop === undefined ? 0 : messages['translate'] ?? 0)),
    p50Ns: Math.max(0, result.wall.p50Ns - (loop?.wall.p50Ns ?? 0)), p99Ns: Math.max(0, result.wall.p99Ns - (loop?.wall.p50Ns ?? 0)),
    guestNs: Math.max(0, share(({ wall }) => wall.guestNs)), busNs: Math.max(0, share(({ wall }) => wall.busNs)), handlersNs: Math.max(0, share(({ wall }) => wall.handlersNs)),
  };
}

export const total = (counts: Readonly<Record<string, number>>): number => Object.values(counts).reduce((sum, count) => sum + count, 0);

/** Nearest rank; `values` ascending. */
export function percentile(values: readonly number[], share: number): number {
  return values[Math.max(0, Math.ceil(values.length * share) - 1)] ?? 0;
}

const sorted = (counts: Readonly<Record<string, number>>): Record<string, number> => Object.fromEntries(Object.entries(counts).sort(([a], [b]) => a.localeCompare(b)));
