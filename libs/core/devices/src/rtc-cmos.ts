/**
 * MC146818A real-time clock with 128 bytes of CMOS memory, ports 70h and 71h.
 * Reference: Motorola MC146818A data sheet; memory-size bytes as IBM PC AT firmware leaves them.
 *
 * The date is the spec's time of power-on plus virtual time, so a run shows the same dates each time.
 */
import { cloneState, nsToTicks, ticksToNs, type AccessSize, type BusDevice, type InterruptLine, type StateValue } from '@ringside/platform';
import { civilFromSeconds, secondsFromCivil, type CivilTime } from './civil-time.js';
import type { DeviceFactory } from './device-factory.js';

/** Registers by index. Each alarm byte stands behind its time byte; C0h–FFh in it means "any". */
export const SECONDS = 0x00;
export const MINUTES = 0x02;
export const HOURS = 0x04;
export const DAY_OF_WEEK = 0x06;
export const DAY_OF_MONTH = 0x07;
export const MONTH = 0x08;
export const YEAR = 0x09;
export const REGISTER_A = 0x0a;
export const REGISTER_B = 0x0b;
export const REGISTER_C = 0x0c;
export const REGISTER_D = 0x0d;
/** By convention of the PC: century, in BCD. */
export const CENTURY = 0x32;
/** Register A: update in progress; rate selection in bits 3–0. */
export const A_UIP = 0x80;
/** Register B. */
export const B_SET = 0x80;
export const B_PIE = 0x40;
export const B_AIE = 0x20;
export const B_UIE = 0x10;
export const B_DM = 0x04;
export const B_24H = 0x02;
/** Register C: IRQF is any enabled flag; reading clears all. The flags stand where B enables them. */
export const C_IRQF = 0x80;
export const C_PF = 0x40;
export const C_AF = 0x20;
export const C_UF = 0x10;
/** Register D: the battery is good. */
export const D_VRT = 0x80;
/** Time bytes by index. */
const TIME_BYTES = [SECONDS, MINUTES, HOURS, DAY_OF_WEEK, DAY_OF_MONTH, MONTH, YEAR, CENTURY] as const;
const PM = 0x80;
const ANY = 0xc0;

const INDEX_PORT = 0x70;
const RTC_IRQ = 8;
const NS_PER_SECOND = 1_000_000_000;
/** UIP rises 244 µs before the update. */
const UPDATE_NOTICE_NS = 244_000;
const CRYSTAL_HZ = 32_768;
const SECONDS_PER_DAY = 86_400;

interface RtcState {
  index: number;
  a: number; b: number; c: number;
  /** Alarm bytes and general memory by index; time bytes are computed. */
  memory: number[];
  /** The clock shows `baseSeconds` (since 1970) at virtual time `baseNow`; the difference runs. */
  baseSeconds: number; baseNow: number;
  /** While B_SET: the time bytes as they were, and as written since, in the order of TIME_BYTES. */
  held: number[] | null;
  /** Up to where flags have been raised, ns. */
  seen: number;
}

export class RtcCmos implements BusDevice {
  readonly id = 'rtc';
  readonly label = 'Real-time clock MC146818A and CMOS memory';
  readonly ports = [{ from: INDEX_PORT, to: INDEX_PORT + 1, width: 1, registers: ['CMOS index', 'CMOS data'] }] as const;
  readonly mmio = [] as const;
  private state: RtcState;

  constructor(private readonly line: InterruptLine, private readonly epochSeconds: number, private readonly memoryBytes: number) {
    this.state = this.initial();
  }

  private initial(): RtcState {
    const memory = new Array<number>(128).fill(0);
    const word = (at: number, value: number): void => {
      memory[at] = value & 0xff;
      memory[at + 1] = (value >> 8) & 0xff;
    };
    const extended = Math.min(0xffff, Math.max(0, this.memoryBytes / 1024 - 1024));
    word(0x15, 640); // Base memory, KiB.
    word(0x17, extended); // Memory above 1 MiB, KiB, twice.
    word(0x30, extended);
    word(0x34, Math.min(0xffff, Math.max(0, Math.floor((this.memoryBytes - (16 << 20)) / 65_536)))); // Above 16 MiB, in 64 KiB.
    return { index: 0, a: 0x26, b: B_24H, c: 0, memory, baseSeconds: this.epochSeconds, baseNow: 0, held: null, seen: 0 };
  }

  read(offset: number, _size: AccessSize, now: number): number {
    this.advance(now);
    if (offset === 0) return 0xff; // The index port is write-only.
    const { state } = this;
    switch (state.index) {
      case REGISTER_A: return state.a | (this.updating(now) ? A_UIP : 0);
      case REGISTER_B: return state.b;
      case REGISTER_C: {
        const flags = state.c | (this.requesting() ? C_IRQF : 0);
        state.c = 0;
        this.updateLine();
        return flags;
      }
      case REGISTER_D: return D_VRT;
      default: return this.timeBytes(now)[timeIndex(state.index)] ?? state.memory[state.index]!;
    }
  }

  write(offset: number, _size: AccessSize, value: number, now: number): void {
    this.advance(now);
    const { state } = this;
    const byte = value & 0xff;
    if (offset === 0) {
      state.index = byte & 0x7f; // Bit 7 masks NMI on a PC; there is none.
      return;
    }
    switch (state.index) {
      case REGISTER_A:
        state.a = byte & 0x7f;
        break;
      case REGISTER_B: this.writeB(byte, now); break;
      case REGISTER_C:
      case REGISTER_D: break; // Read-only.
      default:
        if (timeIndex(state.index) < 0) state.memory[state.index] = byte;
        else this.setTime(state.index, byte, now);
    }
    this.updateLine();
  }

  /** Raise the flags of everything that came since the last time. */
  advance(now: number): void {
    const { state } = this;
    if (now <= state.seen) return;
    const hz = this.periodicHz();
    if (hz > 0 && nsToTicks(now, hz) > nsToTicks(state.seen, hz)) state.c |= C_PF;
    if ((state.b & B_SET) === 0) {
      const first = this.secondsAt(state.seen);
      const last = this.secondsAt(now);
      if (last > first) state.c |= C_UF;
      // Alarms repeat daily at the latest: longer spans have met every one.
      for (let second = Math.max(first + 1, last - SECONDS_PER_DAY); second <= last && (state.c & C_AF) === 0; second++) {
        if (this.alarmMatches(second)) state.c |= C_AF;
      }
    }
    state.seen = now;
    this.updateLine();
  }

  /** Only for an enabled interrupt that is not already requested. */
  nextDeadline(): number {
    const { state } = this;
    if (this.requesting()) return Infinity;
    let earliest = Infinity;
    const hz = this.periodicHz();
    if ((state.b & B_PIE) !== 0 && hz > 0) earliest = ticksToNs(nsToTicks(state.seen, hz) + 1, hz);
    if ((state.b & (B_UIE | B_AIE)) !== 0 && (state.b & B_SET) === 0) {
      earliest = Math.min(earliest, state.baseNow + (Math.floor((state.seen - state.baseNow) / NS_PER_SECOND) + 1) * NS_PER_SECOND);
    }
    return earliest;
  }

  reset(): void {
    this.state = this.initial();
    this.updateLine();
  }

  snapshot(): StateValue {
    return cloneState(this.state) as unknown as StateValue;
  }

  restore(state: StateValue): void {
    this.state = cloneState(state) as unknown as RtcState;
  }

  /** Rate selection with the usual 32,768 Hz time base; rates 1 and 2 are those of 8 and 9 (table 5). */
  private periodicHz(): number {
    const rate = this.state.a & 0x0f;
    if (rate === 0) return 0;
    return CRYSTAL_HZ >> ((rate <= 2 ? rate + 7 : rate) - 1);
  }

  private secondsAt(now: number): number {
    return this.state.baseSeconds + Math.floor((now - this.state.baseNow) / NS_PER_SECOND);
  }

  private updating(now: number): boolean {
    const { state } = this;
    return (state.b & B_SET) === 0 && (now - state.baseNow) % NS_PER_SECOND >= NS_PER_SECOND - UPDATE_NOTICE_NS;
  }

  private requesting(): boolean {
    return (this.state.b & this.state.c & (B_PIE | B_AIE | B_UIE)) !== 0;
  }

  private updateLine(): void {
    this.line.set(this.requesting());
  }

  /** Setting SET holds the time bytes; clearing it lets the clock run on from what they are then. */
  private writeB(value: number, now: number): void {
    const { state } = this;
    const held = state.held;
    if ((value & B_SET) !== 0) state.held ??= this.timeBytes(now);
    state.b = (value & B_SET) !== 0 ? value & ~B_UIE : value; // "SET clears UIE."
    if ((value & B_SET) === 0 && held !== null) {
      state.held = null;
      state.baseSeconds = secondsFromCivil(this.civil(held));
      state.baseNow = now;
    }
  }

  /** In the format of register B, in the order of TIME_BYTES. */
  private timeBytes(now: number): number[] {
    if (this.state.held !== null) return this.state.held;
    const time = civilFromSeconds(this.secondsAt(now));
    return [
      this.encode(time.second), this.encode(time.minute), this.encodeHour(time.hour), this.encode(time.weekday + 1),
      this.encode(time.day), this.encode(time.month), this.encode(time.year % 100), bcd(Math.floor(time.year / 100) % 100),
    ];
  }

  private civil(bytes: readonly number[]): CivilTime {
    const [second, minute, hour, , day, month, year, century] = bytes as [number, number, number, number, number, number, number, number];
    return {
      second: this.decode(second), minute: this.decode(minute), hour: this.decodeHour(hour), weekday: 0, // Follows from the date.
      day: this.decode(day), month: this.decode(month), year: fromBcd(century) * 100 + (this.decode(year) % 100),
    };
  }

  private setTime(index: number, byte: number, now: number): void {
    const { state } = this;
    const bytes = this.timeBytes(now);
    bytes[timeIndex(index)] = byte;
    if (state.held !== null) return;
    state.baseSeconds = secondsFromCivil(this.civil(bytes)) - Math.floor((now - state.baseNow) / NS_PER_SECOND);
  }

  private alarmMatches(seconds: number): boolean {
    const { memory } = this.state;
    const time = civilFromSeconds(seconds);
    const matches = (index: number, value: number): boolean => (memory[index]! & ANY) === ANY || memory[index] === value;
    return matches(SECONDS + 1, this.encode(time.second)) && matches(MINUTES + 1, this.encode(time.minute)) && matches(HOURS + 1, this.encodeHour(time.hour));
  }

  private encode(value: number): number {
    return (this.state.b & B_DM) !== 0 ? value : bcd(value);
  }

  private decode(byte: number): number {
    return (this.state.b & B_DM) !== 0 ? byte : fromBcd(byte);
  }

  private encodeHour(hour: number): number {
    if ((this.state.b & B_24H) !== 0) return this.encode(hour);
    return this.encode(hour % 12 === 0 ? 12 : hour % 12) | (hour >= 12 ? PM : 0);
  }

  private decodeHour(byte: number): number {
    if ((this.state.b & B_24H) !== 0) return this.decode(byte);
    return (this.decode(byte & ~PM) % 12) + ((byte & PM) !== 0 ? 12 : 0);
  }
}

/** Where a register stands in TIME_BYTES, or −1. */
function timeIndex(index: number): number {
  return (TIME_BYTES as readonly number[]).indexOf(index);
}

function bcd(value: number): number {
  return (Math.floor(value / 10) << 4) | (value % 10);
}

function fromBcd(byte: number): number {
  return (byte >> 4) * 10 + (byte & 0x0f);
}

export const rtcCmos: DeviceFactory = ({ spec, lines }) => new RtcCmos(lines.line(RTC_IRQ), spec.epochSeconds, spec.memoryBytes);
