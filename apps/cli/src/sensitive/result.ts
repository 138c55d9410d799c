import type { Probe, ProbeReport } from '@ringside/guests';
import type { ClockKind, OperationRecord } from '@ringside/machine';
import type { Setting } from '../compare/result.js';

/** What `sensitive --json` prints: docs/schemas/sensitive-1.json is its JSON Schema. */
export interface SensitiveReport {
  schema: 'ringside.sensitive/1';
  machines: Machine[];
  probes: ProbeComparison[];
}

/** One machine that ran the probes. `name` is what distinguishes it, for people. */
export interface Machine extends Setting { name: string; clock: ClockKind }

export interface ProbeComparison {
  id: string;
  instruction: string;
  /** With its operands. */
  text: string;
  ring: 0 | 3;
  shows: string;
  /** What the SDM says that a processor of the guest's own shows, and at which instruction it says so. */
  expected: string;
  source: string;
  nativeAsExpected: boolean;
  /** In the order of `machines`; null where this machine has no such view. */
  results: (ProbeOutcome | null)[];
}

/**
 * `same`: as natively. `misled`: it ran, and showed or did something else. `fault`: the guest met an exception that it does not meet natively.
 * `stopped`: it ended the machine by name.
 */
export type Verdict = 'same' | 'misled' | 'fault' | 'stopped';
export interface ProbeOutcome {
  verdict: Verdict;
  saw: string;
  /** The instruction in this machine's guest, hexadecimal. */
  bytes: string;
  /** What the instruction made the processor leave for. */
  exits: Record<string, number>;
}

export interface MachineReports { machine: Machine; reports: readonly ProbeReport<OperationRecord>[] }

/** Judges every machine by `native`, which is one of them. */
export function sensitiveReport(probes: readonly Probe[], runs: readonly MachineReports[]): SensitiveReport {
  const native = runs.find(({ machine }) => machine.path === 'native')!;
  return {
    schema: 'ringside.sensitive/1', machines: runs.map(({ machine }) => machine),
    probes: probes.map((probe) => {
      const natively = reportOf(native, probe);
      return {
        id: probe.id, instruction: probe.instruction, text: probe.text, ring: probe.ring, shows: probe.shows, expected: probe.expected, source: `SDM Vol. 2, ${probe.source}`,
        nativeAsExpected: natively?.seen?.key === probe.expected,
        results: runs.map((run) => {
          const report = reportOf(run, probe);
          return report === undefined ? null : outcome(report, natively);
        }),
      };
    }),
  };
}

const reportOf = ({ reports }: MachineReports, { id }: Probe): ProbeReport<OperationRecord> | undefined => reports.find(({ probe }) => probe.id === id);

function outcome({ seen, stopped, bytes, counts }: ProbeReport<OperationRecord>, native: ProbeReport<OperationRecord> | undefined): ProbeOutcome {
  const rest = { bytes: Buffer.from(bytes).toString('hex'), exits: counts?.exits ?? {} };
  if (seen === null) return { verdict: 'stopped', saw: stopped ?? '', ...rest };
  if (seen.key === native?.seen?.key) return { verdict: 'same', saw: seen.text, ...rest };
  return { verdict: isException(seen.key) && !isException(native?.seen?.key ?? '') ? 'fault' : 'misled', saw: seen.text, ...rest };
}

const isException = (key: string): boolean => key.startsWith('#');
