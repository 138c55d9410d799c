/**
 * System control port B, port 61h: counter 2's gate and output, the speaker, refresh toggle.
 * Reference: Intel 82371SB (PIIX3) datasheet, "NMISC: NMI status and control register".
 */
import type { AccessSize, BusDevice, StateValue } from './bus-device.js';
import type { Pit8254 } from './pit-8254.js';

export const TIMER2_GATE = 0x01;
export const SPEAKER_ENABLE = 0x02;
export const REFRESH_TOGGLE = 0x10;
export const TIMER2_OUT = 0x20;
/** Bits that the guest can write. */
const WRITABLE = 0x0f;
/** The refresh request toggles every 15.085 µs. */
const REFRESH_NS = 15_085;

export class SystemControlPort implements BusDevice {
  readonly id = 'port61';
  readonly label = 'System control port B';
  readonly ports = [{ from: 0x61, to: 0x61, width: 1, registers: ['NMISC'] }] as const;
  readonly mmio = [] as const;
  /** Bits 0–3 as written. */
  private written = 0;

  constructor(private readonly pit: Pit8254) {}

  read(_offset: number, _size: AccessSize, now: number): number {
    const refresh = Math.floor(now / REFRESH_NS) % 2 === 1 ? REFRESH_TOGGLE : 0;
    return this.written | refresh | (this.pit.out2(now) ? TIMER2_OUT : 0);
  }

  write(_offset: number, _size: AccessSize, value: number, now: number): void {
    this.written = value & WRITABLE;
    this.pit.setGate2((value & TIMER2_GATE) !== 0, now);
  }

  advance(): void { /* Reads compute what time has done. */ }

  nextDeadline(): number {
    return Infinity;
  }

  reset(): void {
    this.written = 0;
  }

  snapshot(): StateValue {
    return this.written;
  }

  restore(state: StateValue): void {
    this.written = state as number;
  }
}
