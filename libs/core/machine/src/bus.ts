import type { Effect } from './effect.js';
import type { ExitCost, MaybePromise } from './exit.js';

/**
 * One cycle on a virtual machine's bus, from guest-cpu (native, or a granted port) or from ring -1 to the device model.
 *
 * - `port`, `mmio`: an access. `time`: a deadline was reached; devices catch up with `now`. `inta`: the processor
 *   acknowledges an interrupt (native only: ring -1 acknowledges its own). `input`: pick up queued outside input.
 */
export type Bus = 'port' | 'mmio' | 'time' | 'inta' | 'input';

export interface BusRequest {
  vmId: string;
  epoch: number;
  /** Of the exit that caused it (or guest-cpu's own for native), and which of that exit's requests this is: 0, 1, … */
  seq: number;
  ordinal: number;
  bus: Bus;
  /** Virtual time in ns. A device is a pure function of its state and this. */
  now: number;
  address: number;
  size: 1 | 2 | 4;
  write: boolean;
  count: number;
  data: Uint8Array;
  /** As in Exit: lets a board with an interrupt controller acknowledge at once. */
  interruptible: boolean;
}

export interface BusReply {
  /** What was read, `size * count` bytes; empty for writes. */
  data: Uint8Array;
  /** Levels of the 16 ISA interrupt lines after the access, and which of them rose during it (an edge may be gone already). For a board without interrupt controller. */
  lines: number;
  rose: number;
  /** When the board next needs the processor to leave, ns; Infinity for never. */
  deadline: number;
  /** `interrupt` (board with an interrupt controller), `activity` (shutdown port), `memory` (DMA). */
  effects: Effect[];
  cost?: ExitCost;
}

/** A board, local or at the far end of a message. */
export interface BusEndpoint { cycle(request: BusRequest): MaybePromise<BusReply> }

/** Idempotent reads of a standing guest, for handlers that need more than the exit carried. */
export interface GuestMemoryReader {
  /** Physical read; bytes outside RAM are 0xFF. */
  read(space: 'guest' | 'monitor', address: number, length: number): MaybePromise<Uint8Array>;
  /** Read through the guest's current page tables as supervisor; null if any byte is not mapped. */
  readLinear(linear: number, length: number): MaybePromise<Uint8Array | null>;
}
