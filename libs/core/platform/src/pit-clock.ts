import { nsToTicks, ticksToNs } from './clock-ticks.js';

/** The PIT's input clock: 1.193182 MHz, from virtual time, in integers. */
export const PIT_HZ = 1_193_182;

export function nsToPitTicks(ns: number): number {
  return nsToTicks(ns, PIT_HZ);
}

/** The first whole ns at which `ticks` pulses have come. */
export function pitTicksToNs(ticks: number): number {
  return ticksToNs(ticks, PIT_HZ);
}
