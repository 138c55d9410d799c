/**
 * What every device offers, whichever service hosts it. A device is a pure function of its state and `now` (virtual time,
 * whole ns): no timers, no randomness. Reads may have side effects; whoever carries requests makes each happen once.
 */
export interface BusDevice {
  /** Unique on the board and stable: 'uart0'. Stands on every span and in every snapshot. */
  readonly id: string;
  /** For people: 'UART 16550A (COM1)'. */
  readonly label: string;
  readonly ports: readonly AddressRange[];
  readonly mmio: readonly AddressRange[];
  /**
   * One access of at most the range's `width` bytes, at `offset` from the range's `from`; `range` is its index in `ports`,
   * or `ports.length` + its index in `mmio`. Values are unsigned.
   */
  read(offset: number, size: AccessSize, now: number, range: number): number;
  write(offset: number, size: AccessSize, value: number, now: number, range: number): void;
  /**
   * Do what was due up to and including `now`. Called when the deadline has come; `read` and `write` see to it themselves.
   * Times never fall, and the same one may come again.
   */
  advance(now: number): void;
  /** When `advance` is next needed, ns; Infinity for never. After `advance(now)` always later than `now`. */
  nextDeadline(): number;
  /** Power-on state. */
  reset(): void;
  /** Whole state, a copy; `restore` of it gives a device that cannot be told apart. */
  snapshot(): StateValue;
  restore(state: StateValue): void;
}

export type AccessSize = 1 | 2 | 4;

export interface AddressRange {
  readonly from: number;
  /** Last address, inclusive. */
  readonly to: number;
  /** Widest access that the device takes in one piece. The bus splits wider ones into consecutive addresses, low byte first. */
  readonly width: AccessSize;
  /** Datasheet names by offset; a name may stand for 'read / write'. */
  readonly registers: readonly string[];
}

/** Plain data: can be copied, compared, and written as JSON (bytes aside). Never contains Infinity: "no time" is null. */
export type StateValue = number | string | boolean | null | Uint8Array | readonly StateValue[] | { readonly [name: string]: StateValue };

/** A deep copy of a device's state. */
export function cloneState<T>(state: T): T {
  if (typeof state !== 'object' || state === null) return state;
  if (state instanceof Uint8Array) return state.slice() as T;
  if (Array.isArray(state)) return state.map((item: unknown) => cloneState(item)) as T;
  const copy: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(state)) copy[name] = cloneState(value);
  return copy as T;
}
