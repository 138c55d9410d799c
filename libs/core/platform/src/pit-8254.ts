/**
 * Intel 8254 programmable interval timer: three counters, modes 0–5, binary and BCD.
 * Reference: Intel 82C54 datasheet (order 231244). Counter 0 drives IRQ 0, counter 1 is free, counter 2 the speaker.
 *
 * Nothing counts here: a counter is the tick at which it was loaded and what with; output and count are computed for any
 * later tick. A count written during tick T is loaded by the next pulse, T + 1.
 */
import { cloneState, type AccessSize, type BusDevice, type StateValue } from './bus-device.js';
import { nsToPitTicks, pitTicksToNs } from './pit-clock.js';

/** Control word: SC1 SC0 RW1 RW0 M2 M1 M0 BCD. */
export const CONTROL_BCD = 0x01;
export const SC_READ_BACK = 3;
export const RW_LATCH = 0;
export const RW_LSB = 1;
export const RW_MSB = 2;
export const RW_LSB_MSB = 3;
/** Read-back command: bits 5 and 4 are active low, 3–1 select counters. */
export const READ_BACK_NO_COUNT = 0x20;
export const READ_BACK_NO_STATUS = 0x10;
/** Status byte. */
export const STATUS_OUT = 0x80;
export const STATUS_NULL_COUNT = 0x40;

interface CounterState {
  mode: number;
  bcd: boolean;
  /** RW_LSB, RW_MSB or RW_LSB_MSB. */
  access: number;
  gate: boolean;
  /** First byte of a two-byte write, or null. */
  writtenLsb: number | null;
  /** The next byte to read of an unlatched two-byte read is the high one. */
  readMsbNext: boolean;
  /** OUT before the first count, and while a mode 0 count is being written. */
  idleOut: boolean;
  /** Count register as a number of pulses (1–65,536), or null before the first write. */
  count: number | null;
  /** What the counting element was last loaded with; null: nothing counts. */
  loaded: number | null;
  /** Tick of that load. In mode 3 it is the beginning of a high half. */
  start: number;
  /** Gate low (modes 0, 2, 3, 4) or between the bytes of a mode 0 write: pulses counted until then. */
  frozen: number | null;
  /** Modes 2 and 3: a new count waits for this tick, when the period (mode 3: the half) ends. */
  reloadAt: number | null;
  /** Modes 1 and 5: a count was written and not yet triggered. */
  nullCount: boolean;
  latchedCount: number | null;
  latchedMsbNext: boolean;
  latchedStatus: number | null;
}

class Counter {
  state = Counter.initial();

  static initial(): CounterState {
    return {
      mode: 3, bcd: false, access: RW_LSB_MSB, gate: true, writtenLsb: null, readMsbNext: false, idleOut: true, count: null, loaded: null,
      start: 0, frozen: null, reloadAt: null, nullCount: true, latchedCount: null, latchedMsbNext: false, latchedStatus: null,
    };
  }

  /** OUT at tick `t`. */
  out(t: number): boolean {
    const { state } = this;
    const { loaded, mode } = state;
    if (loaded === null) return state.idleOut;
    if ((mode === 2 || mode === 3) && !state.gate) return true;
    const elapsed = this.elapsed(t);
    switch (mode) {
      case 0: return elapsed >= loaded;
      case 1: return elapsed < 0 || elapsed >= loaded;
      case 2: return elapsed < 0 || elapsed % loaded !== loaded - 1;
      case 3: return elapsed < 0 || elapsed % loaded < highPulses(loaded);
      default: return elapsed !== loaded;
    }
  }

  /** First tick after `t` at which OUT goes from low to high if nothing is written; Infinity for never. */
  nextRise(t: number): number {
    const { state } = this;
    if (state.loaded === null || state.frozen !== null) return Infinity;
    const rise = riseAfter(state.mode, state.start, state.loaded, t);
    if (state.reloadAt === null || state.reloadAt >= rise) return rise;
    const next = this.reloaded();
    return riseAfter(state.mode, next.start, next.loaded, t);
  }

  /** Apply a reload that was due by tick `t`. */
  sync(t: number): void {
    const { state } = this;
    if (state.reloadAt === null || state.reloadAt > t) return;
    Object.assign(state, this.reloaded());
    state.reloadAt = null;
  }

  control(value: number, t: number): void {
    const access = (value >> 4) & 3;
    if (access === RW_LATCH) {
      this.latchCount(t);
      return;
    }
    const { gate } = this.state;
    const mode = (value >> 1) & 7;
    this.state = { ...Counter.initial(), gate, access, mode: mode > 5 ? mode & 3 : mode, bcd: (value & CONTROL_BCD) !== 0 };
    this.state.idleOut = this.state.mode !== 0;
  }

  latchCount(t: number): void {
    const { state } = this;
    if (state.latchedCount !== null) return; // "Held until it is read": later latch commands are ignored.
    state.latchedCount = this.element(t);
    state.latchedMsbNext = false;
  }

  latchStatus(t: number): void {
    const { state } = this;
    if (state.latchedStatus !== null) return;
    const nullCount = state.nullCount || state.reloadAt !== null || (state.loaded !== null && state.frozen === null && t < state.start);
    state.latchedStatus = (this.out(t) ? STATUS_OUT : 0) | (nullCount ? STATUS_NULL_COUNT : 0) | (state.access << 4) | (state.mode << 1) | (state.bcd ? 1 : 0);
  }

  read(t: number): number {
    const { state } = this;
    if (state.latchedStatus !== null) {
      const status = state.latchedStatus;
      state.latchedStatus = null;
      return status;
    }
    const value = state.latchedCount ?? this.element(t);
    if (state.access === RW_LSB || state.access === RW_MSB) {
      state.latchedCount = null;
      return state.access === RW_LSB ? value & 0xff : value >> 8;
    }
    if (state.latchedCount !== null) {
      if (state.latchedMsbNext) state.latchedCount = null;
      state.latchedMsbNext = !state.latchedMsbNext;
      return state.latchedMsbNext ? value & 0xff : value >> 8;
    }
    state.readMsbNext = !state.readMsbNext;
    return state.readMsbNext ? value & 0xff : value >> 8;
  }

  write(value: number, t: number): void {
    const { state } = this;
    if (state.access === RW_LSB) {
      this.setCount(value, t);
    } else if (state.access === RW_MSB) {
      this.setCount(value << 8, t);
    } else if (state.writtenLsb === null) {
      state.writtenLsb = value;
      if (state.mode === 0) { // "Writing the first byte disables counting. OUT is set low immediately."
        state.loaded = null;
        state.idleOut = false;
      }
    } else {
      const count = state.writtenLsb | (value << 8);
      state.writtenLsb = null;
      this.setCount(count, t);
    }
  }

  setGate(high: boolean, t: number): void {
    const { state } = this;
    if (state.gate === high) return;
    state.gate = high;
    if (high) this.gateRose(t);
    else if (state.loaded !== null && state.mode !== 1 && state.mode !== 5) state.frozen = Math.max(0, this.elapsed(t));
  }

  private gateRose(t: number): void {
    const { state } = this;
    if (state.count === null) return;
    const { mode } = state;
    if (mode === 0 || mode === 4) {
      if (state.frozen !== null) state.start = t - state.frozen;
      state.frozen = null;
    } else {
      this.load(state.count, t + 1); // The trigger of modes 1 and 5; modes 2 and 3 begin a new period.
    }
  }

  private setCount(raw: number, t: number): void {
    const { state } = this;
    const count = pulses(raw, state.bcd);
    state.count = count;
    const { mode } = state;
    if (mode === 1 || mode === 5) {
      state.nullCount = true;
    } else if (mode === 0 || mode === 4) {
      this.load(count, t + 1);
      if (!state.gate) state.frozen = 0;
    } else if (state.loaded === null) {
      this.load(count, t + 1);
      if (!state.gate) state.frozen = 0;
    } else if (state.frozen === null) {
      state.reloadAt = this.periodEnd(t);
    }
  }

  private load(count: number, start: number): void {
    const { state } = this;
    // A count of 1 is illegal in modes 2 and 3; it counts as 2 here, the least that has both levels.
    state.loaded = (state.mode === 2 || state.mode === 3) && count < 2 ? 2 : count;
    state.start = start;
    state.frozen = null;
    state.reloadAt = null;
    state.nullCount = false;
  }

  /** End of the period (mode 2) or of the half (mode 3) that tick `t` is in. */
  private periodEnd(t: number): number {
    const { start, mode } = this.state;
    const loaded = this.state.loaded!;
    if (t < start) return start;
    const inPeriod = (t - start) % loaded;
    const begin = t - inPeriod;
    return mode === 3 && inPeriod < highPulses(loaded) ? begin + highPulses(loaded) : begin + loaded;
  }

  /** `start` and `loaded` once the waiting count is in. */
  private reloaded(): { start: number; loaded: number } {
    const { state } = this;
    const at = state.reloadAt!;
    const count = state.count! < 2 ? 2 : state.count!;
    // In the middle of a mode 3 period the new count begins with its low half.
    const endsHighHalf = state.mode === 3 && at > state.start && (at - state.start) % state.loaded! !== 0;
    return { start: endsHighHalf ? at - highPulses(count) : at, loaded: count };
  }

  /** Pulses since the load; negative while the load is still to come. */
  private elapsed(t: number): number {
    return this.state.frozen ?? t - this.state.start;
  }

  /** The counting element at tick `t`, as the guest reads it. */
  private element(t: number): number {
    const { state } = this;
    const { loaded } = state;
    if (loaded === null) return encode(state.count ?? 0, state.bcd);
    const elapsed = Math.max(0, this.elapsed(t));
    const modulus = state.bcd ? 10_000 : 0x10000;
    if (state.mode === 2) return encode(loaded - (elapsed % loaded), state.bcd);
    if (state.mode === 3) return encode(squareWaveCount(loaded, elapsed % loaded), state.bcd);
    return encode((((loaded - elapsed) % modulus) + modulus) % modulus, state.bcd);
  }
}

/** Mode 3, pulses of OUT high in a period: (N + 1) / 2 for odd N. */
function highPulses(count: number): number {
  return (count + 1) >> 1;
}

/** Mode 3 counts by two, from the even part of N, in each half. */
function squareWaveCount(count: number, inPeriod: number): number {
  const high = highPulses(count);
  return (count & ~1) - 2 * (inPeriod < high ? inPeriod : inPeriod - high);
}

/** When OUT next goes high, for a counter loaded with `count` at tick `start` that is left alone. */
function riseAfter(mode: number, start: number, count: number, t: number): number {
  if (mode === 2 || mode === 3) return t < start ? start + count : start + (Math.floor((t - start) / count) + 1) * count;
  const rise = mode < 2 ? start + count : start + count + 1;
  return rise > t ? rise : Infinity;
}

/** A count of 0 is the largest: 2^16, or 10^4 in BCD. */
function pulses(raw: number, bcd: boolean): number {
  if (!bcd) return raw === 0 ? 0x10000 : raw;
  const value = (raw >> 12) * 1000 + ((raw >> 8) & 15) * 100 + ((raw >> 4) & 15) * 10 + (raw & 15);
  return value === 0 ? 10_000 : value;
}

function encode(count: number, bcd: boolean): number {
  if (!bcd) return count & 0xffff;
  const value = count % 10_000;
  return (Math.floor(value / 1000) << 12) | ((Math.floor(value / 100) % 10) << 8) | ((Math.floor(value / 10) % 10) << 4) | (value % 10);
}

interface PitState { counters: CounterState[]; tick: number; rose: boolean }

export class Pit8254 implements BusDevice {
  readonly id = 'pit';
  readonly label = 'Interval timer 8254';
  readonly ports = [{ from: 0x40, to: 0x43, width: 1, registers: ['counter 0', 'counter 1', 'counter 2', 'control word'] }] as const;
  readonly mmio = [] as const;
  private readonly counters = [new Counter(), new Counter(), new Counter()] as const;
  /** The tick up to which counter 0's edges have been seen. */
  private tick = 0;
  private rose = false;

  constructor() {
    this.counters[2].state.gate = false;
  }

  /** OUT of counter 0 at the last `advance`: interrupt line 0. */
  get out0(): boolean {
    return this.counters[0].out(this.tick);
  }

  /** Whether OUT 0 rose since the last call. */
  takeRose(): boolean {
    const { rose } = this;
    this.rose = false;
    return rose;
  }

  /** OUT of counter 2, which port 61h shows. */
  out2(now: number): boolean {
    const tick = nsToPitTicks(now);
    this.counters[2].sync(tick);
    return this.counters[2].out(tick);
  }

  get gate2(): boolean {
    return this.counters[2].state.gate;
  }

  setGate2(high: boolean, now: number): void {
    const tick = nsToPitTicks(now);
    this.counters[2].sync(tick);
    this.counters[2].setGate(high, tick);
  }

  read(offset: number, _size: AccessSize, now: number): number {
    this.advance(now);
    if (offset === 3) return 0xff; // "No operation; data bus 3-state."
    const counter = this.counters[offset]!;
    counter.sync(this.tick);
    return counter.read(this.tick);
  }

  write(offset: number, _size: AccessSize, value: number, now: number): void {
    this.advance(now);
    const before = this.out0;
    const tick = this.tick;
    if (offset < 3) {
      const counter = this.counters[offset]!;
      counter.sync(tick);
      counter.write(value & 0xff, tick);
    } else if (value >> 6 === SC_READ_BACK) {
      this.readBack(value, tick);
    } else {
      const counter = this.counters[value >> 6]!;
      counter.sync(tick);
      counter.control(value, tick);
    }
    if (!before && this.out0) this.rose = true;
  }

  private readBack(value: number, tick: number): void {
    for (const [index, counter] of this.counters.entries()) {
      if ((value & (2 << index)) === 0) continue;
      counter.sync(tick);
      if ((value & READ_BACK_NO_COUNT) === 0) counter.latchCount(tick);
      if ((value & READ_BACK_NO_STATUS) === 0) counter.latchStatus(tick);
    }
  }

  advance(now: number): void {
    const tick = nsToPitTicks(now);
    if (tick <= this.tick) return;
    const [counter] = this.counters;
    counter.sync(this.tick);
    if (counter.nextRise(this.tick) <= tick) this.rose = true;
    this.tick = tick;
    counter.sync(tick);
  }

  /** When OUT 0 next rises, ns; Infinity while counter 0 does not count. */
  nextDeadline(): number {
    const rise = this.counters[0].nextRise(this.tick);
    return rise === Infinity ? Infinity : pitTicksToNs(rise);
  }

  reset(): void {
    for (const counter of this.counters) counter.state = Counter.initial();
    this.counters[2].state.gate = false;
    this.tick = 0;
    this.rose = false;
  }

  snapshot(): StateValue {
    const state: PitState = { counters: this.counters.map((counter) => cloneState(counter.state)), tick: this.tick, rose: this.rose };
    return state as unknown as StateValue;
  }

  restore(value: StateValue): void {
    const state = cloneState(value) as unknown as PitState;
    for (const [index, counter] of this.counters.entries()) counter.state = state.counters[index]!;
    this.tick = state.tick;
    this.rose = state.rose;
  }
}
