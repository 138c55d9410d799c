/** The PIT's input clock: 1.193182 MHz, from virtual time, in integers (every product stays below 2^53). */
export const PIT_HZ = 1_193_182;
const NS_PER_SECOND = 1_000_000_000;
const { floor, ceil } = Math;

/** How many clock pulses have come by `ns`. */
export function nsToPitTicks(ns: number): number {
  const seconds = floor(ns / NS_PER_SECOND);
  return seconds * PIT_HZ + floor(((ns - seconds * NS_PER_SECOND) * PIT_HZ) / NS_PER_SECOND);
}

/** The first whole ns at which `ticks` pulses have come. */
export function pitTicksToNs(ticks: number): number {
  const seconds = floor(ticks / PIT_HZ);
  return seconds * NS_PER_SECOND + ceil(((ticks - seconds * PIT_HZ) * NS_PER_SECOND) / PIT_HZ);
}
