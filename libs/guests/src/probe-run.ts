import { probeGuest, probeResults, type ProbeForm, type ProbeGuest } from './probe-guest.js';
import { seenBy, type Probe, type Seen } from './probes.js';

/** One run of a probe guest, to its end: what it wrote, why it ended, and what was counted for each probe that began, in order. */
export interface ProbeRun<Counts> { console: string; why: string; counts: readonly Counts[] }

export interface ProbeReport<Counts> {
  probe: Probe;
  bytes: Uint8Array;
  /** Null where the instruction stopped the machine: `stopped` says why. */
  seen: Seen | null;
  stopped: string | null;
  counts: Counts | null;
}

/** Runs the probes in one machine, or, where one of them stops it, the rest in another. */
export async function runProbes<Counts>(probes: readonly Probe[], form: ProbeForm, run: (guest: ProbeGuest) => Promise<ProbeRun<Counts>>): Promise<ProbeReport<Counts>[]> {
  const reports: ProbeReport<Counts>[] = [];
  for (let rest = probes; rest.length > 0; rest = rest.slice(reports.length + rest.length - probes.length)) {
    const guest = probeGuest(rest, form);
    const { console, why, counts } = await run(guest);
    const results = probeResults(console);
    for (const [index, probe] of rest.entries()) {
      const result = results.get(index);
      reports.push({ probe, bytes: guest.bytes[index]!, seen: result === undefined ? null : seenBy(probe, result, guest.layout), stopped: result === undefined ? why : null, counts: counts[index] ?? null });
      if (result === undefined) break;
    }
  }
  return reports;
}
