/**
 * Debug port E9h (Bochs' "port e9 hack"): each byte written is a byte of the debug log; reads give E9h, which is how a
 * guest finds it. Reference: Bochs user manual, "port_e9_hack".
 */
import { cloneState, type AccessSize, type BusDevice, type StateValue } from '@ringside/platform';
import type { DeviceFactory } from './device-factory.js';

const DEBUG_PORT = 0xe9;
/** What is kept of the log: the last bytes. */
export const DEBUG_LOG_BYTES = 16_384;

interface DebugState { log: number[]; written: number }

export class DebugPort implements BusDevice {
  readonly id = 'debug';
  readonly label = 'Debug port';
  readonly ports = [{ from: DEBUG_PORT, to: DEBUG_PORT, width: 1, registers: ['debug output'] }] as const;
  readonly mmio = [] as const;
  private state: DebugState = { log: [], written: 0 };

  /** The end of what the guest wrote, at most DEBUG_LOG_BYTES, and how much it wrote in all. */
  get log(): { bytes: Uint8Array; written: number } {
    return { bytes: Uint8Array.from(this.state.log.slice(-DEBUG_LOG_BYTES)), written: this.state.written };
  }

  read(): number {
    return DEBUG_PORT;
  }

  write(_offset: number, _size: AccessSize, value: number): void {
    const { state } = this;
    state.log.push(value & 0xff);
    state.written++;
    if (state.log.length >= 2 * DEBUG_LOG_BYTES) state.log = state.log.slice(-DEBUG_LOG_BYTES);
  }

  advance(): void { /* Nothing in it depends on time. */ }

  nextDeadline(): number {
    return Infinity;
  }

  reset(): void {
    this.state = { log: [], written: 0 };
  }

  snapshot(): StateValue {
    return cloneState(this.state) as unknown as StateValue;
  }

  restore(state: StateValue): void {
    this.state = cloneState(state) as unknown as DebugState;
  }
}

export const debugPort: DeviceFactory = () => new DebugPort();
