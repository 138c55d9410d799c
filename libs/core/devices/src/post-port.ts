/**
 * Port 80h: the power-on self-test's diagnostic display, a latch that reads back. Operating systems access it to waste
 * about a microsecond; the operation `in` reads it. Reference: IBM PC AT technical reference, "manufacturing test port".
 */
import type { AccessSize, BusDevice, StateValue } from '@ringside/platform';
import type { DeviceFactory } from './device-factory.js';

const POST_PORT = 0x80;

export class PostPort implements BusDevice {
  readonly id = 'post';
  readonly label = 'POST diagnostic port';
  readonly ports = [{ from: POST_PORT, to: POST_PORT, width: 1, registers: ['POST code'] }] as const;
  readonly mmio = [] as const;
  private code = 0;

  read(): number {
    return this.code;
  }

  write(_offset: number, _size: AccessSize, value: number): void {
    this.code = value & 0xff;
  }

  advance(): void { /* Nothing in it depends on time. */ }

  nextDeadline(): number {
    return Infinity;
  }

  reset(): void {
    this.code = 0;
  }

  snapshot(): StateValue {
    return this.code;
  }

  restore(state: StateValue): void {
    this.code = state as number;
  }
}

export const postPort: DeviceFactory = () => new PostPort();
