const NS_PER_SECOND = 1_000_000_000;
const { floor, ceil } = Math;

/** Pulses of a clock of `hz` (below 9 MHz, so that every product stays below 2^53) that have come by `ns`. */
export function nsToTicks(ns: number, hz: number): number {
  const seconds = floor(ns / NS_PER_SECOND);
  return seconds * hz + floor(((ns - seconds * NS_PER_SECOND) * hz) / NS_PER_SECOND);
}

/** The first whole ns at which `ticks` pulses have come. */
export function ticksToNs(ticks: number, hz: number): number {
  const seconds = floor(ticks / hz);
  return seconds * NS_PER_SECOND + ceil(((ticks - seconds * hz) * NS_PER_SECOND) / hz);
}
