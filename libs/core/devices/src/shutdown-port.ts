/**
 * Power off by ACPI's PM1a control register alone, at port 604h where QEMU's PIIX4 machine has it: the 16-bit value
 * 2000h (SLP_EN, SLP_TYP 0) ends the machine. Reference: ACPI 6.5, 4.8.3.2.1 "PM1 control registers".
 */
import type { Effect } from '@ringside/machine';
import type { AccessSize, BusDevice, StateValue } from '@ringside/platform';
import type { DeviceFactory } from './device-factory.js';

const PM1A_CNT = 0x604;
/** Bit 13: enter the sleep state in SLP_TYP (bits 12–10; 0 is S5, soft off). Reads as 0. */
export const SLP_EN = 0x2000;
export const SLP_TYP = 0x1c00;

export class ShutdownPort implements BusDevice {
  readonly id = 'shutdown';
  readonly label = 'Shutdown port';
  readonly ports = [{ from: PM1A_CNT, to: PM1A_CNT + 1, width: 2, registers: ['PM1a_CNT', 'PM1a_CNT high'] }] as const;
  readonly mmio = [] as const;
  private control = 0;

  constructor(private readonly effects: Effect[]) {}

  read(offset: number, size: AccessSize): number {
    return offset === 0 && size === 2 ? this.control : (this.control >> (offset * 8)) & 0xff;
  }

  /** The high byte alone counts too, as the register is written byte by byte then. */
  write(offset: number, size: AccessSize, value: number): void {
    const shift = offset * 8;
    const mask = size === 2 ? 0xffff : 0xff << shift;
    const written = (this.control & ~mask) | ((value << shift) & mask);
    this.control = written & ~SLP_EN;
    if ((written & SLP_EN) !== 0 && (written & SLP_TYP) === 0) {
      this.effects.push({ kind: 'activity', activity: 'stopped', state: 'shutdown', why: 'The guest asked for power off (port 0x604).' });
    }
  }

  advance(): void { /* Nothing in it depends on time. */ }

  nextDeadline(): number {
    return Infinity;
  }

  reset(): void {
    this.control = 0;
  }

  snapshot(): StateValue {
    return this.control;
  }

  restore(state: StateValue): void {
    this.control = state as number;
  }
}

export const shutdownPort: DeviceFactory = ({ effects }) => new ShutdownPort(effects);
