import type { BusEndpoint, GuestMemoryReader } from '@ringside/machine';

/** What ring -1 may ask of others while it answers an exit: the device model's bus, and idempotent reads of the standing guest. */
export interface MonitorPorts {
  bus: BusEndpoint;
  memory: GuestMemoryReader;
  /** Monotonic wall clock in ns, for the books alone (ExitCost); without it every duration is 0. */
  stopwatch?: () => number;
}
