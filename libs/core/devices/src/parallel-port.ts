/**
 * Parallel port LPT1 in compatibility mode, with a printer that turns what it gets into documents.
 * Reference: IEEE 1284-1994, 6 "Compatibility mode"; IBM PS/2 technical reference, "parallel port" (status bit 2).
 *
 * The printer has a large buffer: a byte is taken at the leading edge of STROBE, BUSY lasts as long as STROBE, and nACK
 * pulses at its trailing edge. So it never keeps the guest waiting.
 */
import { cloneState, type AccessSize, type BusDevice, type InterruptLine, type StateValue } from '@ringside/platform';
import type { DeviceFactory, DocumentSink } from './device-factory.js';

export const DATA = 0;
export const STATUS = 1;
export const CONTROL = 2;
/** Status register. nBusy is inverted: 1 = ready. nIRQ is 0 from the nACK pulse until the register is read. */
export const STATUS_NOT_BUSY = 0x80;
export const STATUS_NOT_ACK = 0x40;
export const STATUS_PAPER_END = 0x20;
export const STATUS_SELECT = 0x10;
export const STATUS_NOT_ERROR = 0x08;
export const STATUS_NOT_IRQ = 0x04;
/** Control register. STROBE, AUTOFD and SELECT IN are inverted on the cable; nInit is not: 0 resets the printer. */
export const CONTROL_STROBE = 0x01;
export const CONTROL_AUTO_FEED = 0x02;
export const CONTROL_NOT_INIT = 0x04;
export const CONTROL_SELECT_IN = 0x08;
export const CONTROL_IRQ_ENABLE = 0x10;
export const CONTROL_DIRECTION = 0x20;

const LPT1 = 0x378;
const LPT1_IRQ = 7;
const FORM_FEED = 0x0c;
/** A longer document is cut into several. */
export const DOCUMENT_BYTES = 1_048_576;

interface ParallelState {
  data: number; control: number;
  /** nACK has pulsed and status was not read since. */
  acknowledged: boolean;
  /** The document so far; `used` of its bytes count. */
  document: Uint8Array; used: number;
  documents: number;
}

export class ParallelPort implements BusDevice {
  readonly id = 'lpt0';
  readonly label = 'Parallel port (LPT1) and printer';
  readonly ports = [{ from: LPT1, to: LPT1 + 2, width: 1, registers: ['data', 'status', 'control'] }] as const;
  readonly mmio = [] as const;
  private state = ParallelPort.initial();

  constructor(private readonly line: InterruptLine, private readonly sink: DocumentSink) {}

  private static initial(): ParallelState {
    return { data: 0, control: CONTROL_NOT_INIT | CONTROL_SELECT_IN, acknowledged: false, document: new Uint8Array(0), used: 0, documents: 0 };
  }

  read(offset: number): number {
    const { state } = this;
    if (offset === DATA) return (state.control & CONTROL_DIRECTION) !== 0 ? 0xff : state.data;
    if (offset === CONTROL) return state.control | 0xc0;
    const strobe = (state.control & CONTROL_STROBE) !== 0;
    const status = STATUS_NOT_ACK | STATUS_SELECT | STATUS_NOT_ERROR | (strobe ? 0 : STATUS_NOT_BUSY) | (state.acknowledged ? 0 : STATUS_NOT_IRQ);
    state.acknowledged = false;
    this.updateLine();
    return status;
  }

  write(offset: number, _size: AccessSize, value: number): void {
    const { state } = this;
    if (offset === DATA) state.data = value & 0xff;
    else if (offset === CONTROL) this.writeControl(value & 0x3f);
  }

  private writeControl(value: number): void {
    const { state } = this;
    const rising = value & ~state.control;
    const falling = state.control & ~value;
    state.control = value;
    if ((value & CONTROL_NOT_INIT) === 0) {
      this.finish(); // Reset: what was printed so far leaves the printer.
    } else if ((rising & CONTROL_STROBE) !== 0) {
      this.print(state.data);
    } else if ((falling & CONTROL_STROBE) !== 0) {
      this.line.set(false);
      state.acknowledged = true;
    }
    this.updateLine();
  }

  /** Put out the document begun, if there is one: also called when the machine ends. */
  finish(): void {
    if (this.state.used > 0) this.putOut();
  }

  advance(): void { /* The printer takes no time. */ }

  nextDeadline(): number {
    return Infinity;
  }

  reset(): void {
    this.state = ParallelPort.initial();
    this.updateLine();
  }

  snapshot(): StateValue {
    const { document, used, ...rest } = this.state;
    return { ...rest, used, document: document.slice(0, used) };
  }

  restore(state: StateValue): void {
    this.state = cloneState(state) as unknown as ParallelState;
  }

  private print(byte: number): void {
    const { state } = this;
    if (byte === FORM_FEED) {
      this.putOut();
      return;
    }
    if (state.used === state.document.length) {
      const larger = new Uint8Array(Math.max(1024, state.document.length * 2));
      larger.set(state.document);
      state.document = larger;
    }
    state.document[state.used++] = byte;
    if (state.used === DOCUMENT_BYTES) this.putOut();
  }

  private putOut(): void {
    const { state } = this;
    this.sink.document({ number: state.documents++, bytes: state.document.slice(0, state.used) });
    state.document = new Uint8Array(0);
    state.used = 0;
  }

  private updateLine(): void {
    this.line.set(this.state.acknowledged && (this.state.control & CONTROL_IRQ_ENABLE) !== 0);
  }
}

export const parallelPort: DeviceFactory = ({ spec, lines }) => new ParallelPort(lines.line(LPT1_IRQ), spec.documents);
