/**
 * 16550A UART with FIFOs: the console, COM1.
 * Reference: National Semiconductor PC16550D datasheet, 8.0 "Registers".
 *
 * The transmitter empties at once (virtual time has no line speed to wait for). The receiver takes bytes from a queue as
 * room appears, so nothing is lost to an overrun; only the character timeout counts time, at the programmed baud rate.
 */
import type { ScriptStep } from '@ringside/machine';
import { cloneState, type AccessSize, type InputDevice, type InterruptLine, type StateValue } from '@ringside/platform';
import type { ConsoleSink, DeviceFactory } from './device-factory.js';

/** Register offsets. With DLAB set, offsets 0 and 1 are the divisor latches. */
export const RBR_THR = 0;
export const IER = 1;
export const IIR_FCR = 2;
export const LCR = 3;
export const MCR = 4;
export const LSR = 5;
export const MSR = 6;
export const SCR = 7;

/** Interrupt enable register. */
export const IER_ERBFI = 0x01;
export const IER_ETBEI = 0x02;
export const IER_ELSI = 0x04;
export const IER_EDSSI = 0x08;
/** Interrupt identification register, bits 3–0, highest priority first. */
export const IIR_RECEIVER_LINE_STATUS = 0x06;
export const IIR_RECEIVED_DATA_AVAILABLE = 0x04;
export const IIR_CHARACTER_TIMEOUT = 0x0c;
export const IIR_THR_EMPTY = 0x02;
export const IIR_MODEM_STATUS = 0x00;
export const IIR_NONE = 0x01;
export const IIR_FIFOS_ENABLED = 0xc0;
/** FIFO control register. */
export const FCR_ENABLE = 0x01;
export const FCR_CLEAR_RECEIVER = 0x02;
export const FCR_CLEAR_TRANSMITTER = 0x04;
/** Line control register. */
export const LCR_WORD_LENGTH = 0x03;
export const LCR_DLAB = 0x80;
/** Modem control register. OUT2 gates the interrupt onto the bus on a PC. */
export const MCR_DTR = 0x01;
export const MCR_RTS = 0x02;
export const MCR_OUT1 = 0x04;
export const MCR_OUT2 = 0x08;
export const MCR_LOOP = 0x10;
/** Line status register. */
export const LSR_DR = 0x01;
export const LSR_OE = 0x02;
export const LSR_THRE = 0x20;
export const LSR_TEMT = 0x40;
/** Modem status register: levels above, changes since the last read below. */
export const MSR_DCTS = 0x01;
export const MSR_DDSR = 0x02;
export const MSR_TERI = 0x04;
export const MSR_DDCD = 0x08;
export const MSR_CTS = 0x10;
export const MSR_DSR = 0x20;
export const MSR_RI = 0x40;
export const MSR_DCD = 0x80;

const COM1 = 0x3f8;
const COM1_IRQ = 4;
const FIFO_BYTES = 16;
/** Receiver trigger levels, FCR bits 7–6. */
const TRIGGER_LEVELS = [1, 4, 8, 14] as const;
/** 1.8432 MHz ÷ 16: the baud rate of divisor 1. */
const BAUD_BASE = 115_200;
const NS_PER_SECOND = 1_000_000_000;
/** Start, eight data bits, stop; the timeout is four of these. */
const CHARACTER_BITS = 10;
const TIMEOUT_CHARACTERS = 4;
/** What people may type ahead. Bytes beyond it are dropped and counted. */
export const INPUT_QUEUE_BYTES = 65_536;

interface UartState {
  ier: number; fcr: number; lcr: number; mcr: number; scr: number;
  /** Divisor latch. */
  divisor: number;
  /** Error bits of LSR, cleared by reading it. */
  lineErrors: number;
  /** Change bits of MSR. */
  modemChanges: number;
  fifo: number[];
  /** THRE interrupt: the transmitter emptied, and IIR has not been read since. */
  transmitterEmptied: boolean;
  /** When the character timeout comes if nothing happens, ns, or null. */
  timeoutAt: number | null;
  timeout: boolean;
  /** Bytes on their way to the receiver. */
  queue: number[];
  /** Bytes sent since power-on. */
  sent: number;
  /** The script step waited for, and the output since the last one was done (as much as can match). */
  scriptStep: number;
  scriptTail: number[];
}

interface ScriptBytes { readonly expect: Uint8Array; readonly send: Uint8Array }

export class Uart16550 implements InputDevice {
  readonly id = 'uart0';
  readonly label = 'UART 16550A (COM1)';
  readonly ports = [{ from: COM1, to: COM1 + 7, width: 1, registers: ['RBR/THR', 'IER', 'IIR/FCR', 'LCR', 'MCR', 'LSR', 'MSR', 'SCR'] }] as const;
  readonly mmio = [] as const;
  /** Typed bytes that were dropped because INPUT_QUEUE_BYTES were waiting. */
  droppedInput = 0;
  private state = Uart16550.initial();
  private readonly script: readonly ScriptBytes[];
  /** Outside input that the processor has not asked for yet. Not part of the machine's state. */
  private outside: number[] = [];

  constructor(private readonly line: InterruptLine, private readonly sink: ConsoleSink, script: readonly ScriptStep[]) {
    const encoder = new TextEncoder();
    this.script = script.map((step) => ({ expect: encoder.encode(step.expect), send: encoder.encode(step.send) }));
  }

  /** As firmware leaves it: 8 data bits, 115,200 baud, no interrupts, FIFOs off. */
  private static initial(): UartState {
    return {
      ier: 0, fcr: 0, lcr: 0x03, mcr: 0, scr: 0, divisor: 1, lineErrors: 0, modemChanges: 0, fifo: [], transmitterEmptied: false,
      timeoutAt: null, timeout: false, queue: [], sent: 0, scriptStep: 0, scriptTail: [],
    };
  }

  /** Bytes sent since power-on: the offset of the next one. */
  get sent(): number {
    return this.state.sent;
  }

  /** Outside input (a person's keys). It reaches the guest when the processor asks for it: see `acceptInput`. */
  queueInput(bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (this.outside.length + this.state.queue.length < INPUT_QUEUE_BYTES) this.outside.push(byte);
      else this.droppedInput++;
    }
  }

  acceptInput(now: number): void {
    this.advance(now);
    for (const byte of this.outside) this.state.queue.push(byte);
    this.outside = [];
    this.receive(now);
    this.updateLine();
  }

  read(offset: number, _size: AccessSize, now: number): number {
    this.advance(now);
    const value = this.readRegister(offset, now);
    this.updateLine();
    return value;
  }

  write(offset: number, _size: AccessSize, value: number, now: number): void {
    this.advance(now);
    this.writeRegister(offset, value & 0xff, now);
    this.updateLine();
  }

  advance(now: number): void {
    const { state } = this;
    if (state.timeoutAt === null || state.timeoutAt > now) return;
    state.timeoutAt = null;
    state.timeout = true;
    this.updateLine();
  }

  nextDeadline(): number {
    return (this.state.ier & IER_ERBFI) !== 0 ? this.state.timeoutAt ?? Infinity : Infinity;
  }

  reset(): void {
    this.state = Uart16550.initial();
    this.updateLine();
  }

  snapshot(): StateValue {
    return cloneState(this.state) as unknown as StateValue;
  }

  restore(state: StateValue): void {
    this.state = cloneState(state) as unknown as UartState;
  }

  private readRegister(offset: number, now: number): number {
    const { state } = this;
    const divisorLatch = (state.lcr & LCR_DLAB) !== 0;
    switch (offset) {
      case RBR_THR: return divisorLatch ? state.divisor & 0xff : this.readReceiver(now);
      case IER: return divisorLatch ? state.divisor >> 8 : state.ier;
      case IIR_FCR: return this.readIdentification();
      case LCR: return state.lcr;
      case MCR: return state.mcr;
      case LSR: {
        const value = (state.fifo.length > 0 ? LSR_DR : 0) | state.lineErrors | LSR_THRE | LSR_TEMT;
        state.lineErrors = 0;
        return value;
      }
      case MSR: {
        const value = this.modemLevels() | state.modemChanges;
        state.modemChanges = 0;
        return value;
      }
      default: return state.scr;
    }
  }

  private writeRegister(offset: number, value: number, now: number): void {
    const { state } = this;
    const divisorLatch = (state.lcr & LCR_DLAB) !== 0;
    switch (offset) {
      case RBR_THR:
        if (divisorLatch) state.divisor = (state.divisor & 0xff00) | value;
        else this.transmit(value, now);
        break;
      case IER:
        if (divisorLatch) state.divisor = (state.divisor & 0xff) | (value << 8);
        else this.enableInterrupts(value & 0x0f);
        break;
      case IIR_FCR: this.controlFifo(value, now); break;
      case LCR: state.lcr = value; break;
      case MCR: this.controlModem(value & 0x1f, now); break;
      case SCR: state.scr = value; break;
      default: // LSR and MSR: "writing is not recommended"; no effect.
    }
  }

  private transmit(value: number, now: number): void {
    const { state } = this;
    const byte = value & (0xff >> (3 - (state.lcr & LCR_WORD_LENGTH)));
    if ((state.mcr & MCR_LOOP) !== 0) {
      this.intoFifo(byte, now);
    } else {
      this.sink.write(state.sent++, Uint8Array.of(byte));
      this.runScript(byte);
      this.receive(now);
    }
    this.line.set(false); // THR is full for no time at all, but the request falls and rises again.
    state.transmitterEmptied = true;
  }

  /** Writing ETBEI while THR is empty asks for the interrupt at once (8.6, note on THRE). */
  private enableInterrupts(value: number): void {
    const { state } = this;
    if ((value & ~state.ier & IER_ETBEI) !== 0) state.transmitterEmptied = true;
    state.ier = value;
  }

  private controlFifo(value: number, now: number): void {
    const { state } = this;
    const changed = ((value ^ state.fcr) & FCR_ENABLE) !== 0;
    if (changed || (value & FCR_CLEAR_RECEIVER) !== 0) {
      state.fifo = [];
      state.timeout = false;
      state.timeoutAt = null;
    }
    // "The other FCR bits are not programmed unless bit 0 is 1."
    state.fcr = (value & FCR_ENABLE) !== 0 ? value & 0xc9 : 0;
    this.receive(now);
  }

  private controlModem(value: number, now: number): void {
    const { state } = this;
    const before = this.modemLevels();
    state.mcr = value;
    const after = this.modemLevels();
    const changed = before ^ after;
    state.modemChanges |= (changed & (MSR_CTS | MSR_DSR | MSR_DCD)) >> 4;
    if ((before & ~after & MSR_RI) !== 0) state.modemChanges |= MSR_TERI; // Trailing edge only.
    this.receive(now);
  }

  /** The far end is always ready; in loopback the modem outputs are the inputs. */
  private modemLevels(): number {
    const { mcr } = this.state;
    if ((mcr & MCR_LOOP) === 0) return MSR_CTS | MSR_DSR | MSR_DCD;
    return ((mcr & MCR_RTS) !== 0 ? MSR_CTS : 0) | ((mcr & MCR_DTR) !== 0 ? MSR_DSR : 0) | ((mcr & MCR_OUT1) !== 0 ? MSR_RI : 0) | ((mcr & MCR_OUT2) !== 0 ? MSR_DCD : 0);
  }

  private readReceiver(now: number): number {
    const { state } = this;
    const byte = state.fifo.shift() ?? 0;
    state.timeout = false;
    this.receive(now);
    this.startTimeout(now);
    return byte;
  }

  private get fifoBytes(): number {
    return (this.state.fcr & FCR_ENABLE) !== 0 ? FIFO_BYTES : 1;
  }

  /** From the queue into the receiver, as far as there is room. */
  private receive(now: number): void {
    const { state } = this;
    if (state.queue.length === 0 || (state.mcr & MCR_LOOP) !== 0) return;
    const taken = state.queue.splice(0, Math.max(0, this.fifoBytes - state.fifo.length));
    if (taken.length === 0) return;
    state.fifo.push(...taken);
    this.startTimeout(now);
  }

  private intoFifo(byte: number, now: number): void {
    const { state } = this;
    if (state.fifo.length < this.fifoBytes) {
      state.fifo.push(byte);
    } else {
      state.lineErrors |= LSR_OE;
      if ((state.fcr & FCR_ENABLE) === 0) state.fifo[0] = byte; // Without FIFO the new character overwrites; with it, it is lost.
    }
    this.startTimeout(now);
  }

  /** FIFO mode: bytes below the trigger level ask for attention four character times after the last arrival or read. */
  private startTimeout(now: number): void {
    const { state } = this;
    if ((state.fcr & FCR_ENABLE) === 0 || state.fifo.length === 0) {
      state.timeoutAt = null;
      return;
    }
    const divisor = state.divisor === 0 ? 65_536 : state.divisor;
    state.timeoutAt = now + Math.ceil((TIMEOUT_CHARACTERS * CHARACTER_BITS * divisor * NS_PER_SECOND) / BAUD_BASE);
  }

  /** IIR bits 3–0. */
  private identification(): number {
    const { state } = this;
    if ((state.ier & IER_ELSI) !== 0 && state.lineErrors !== 0) return IIR_RECEIVER_LINE_STATUS;
    if ((state.ier & IER_ERBFI) !== 0) {
      const trigger = (state.fcr & FCR_ENABLE) !== 0 ? TRIGGER_LEVELS[(state.fcr >> 6) as 0 | 1 | 2 | 3] : 1;
      if (state.fifo.length >= trigger) return IIR_RECEIVED_DATA_AVAILABLE;
      if (state.timeout) return IIR_CHARACTER_TIMEOUT;
    }
    if ((state.ier & IER_ETBEI) !== 0 && state.transmitterEmptied) return IIR_THR_EMPTY;
    if ((state.ier & IER_EDSSI) !== 0 && state.modemChanges !== 0) return IIR_MODEM_STATUS;
    return IIR_NONE;
  }

  private readIdentification(): number {
    const { state } = this;
    const source = this.identification();
    if (source === IIR_THR_EMPTY) state.transmitterEmptied = false; // Reading IIR resets this one source.
    return source | ((state.fcr & FCR_ENABLE) !== 0 ? IIR_FIFOS_ENABLED : 0);
  }

  private updateLine(): void {
    const connected = (this.state.mcr & (MCR_OUT2 | MCR_LOOP)) === MCR_OUT2;
    this.line.set(connected && this.identification() !== IIR_NONE);
  }

  /** Compare the output with what the script waits for; when it has come, its answer is typed. */
  private runScript(byte: number): void {
    const { state } = this;
    let step = this.script[state.scriptStep];
    if (step === undefined) return;
    state.scriptTail.push(byte);
    if (state.scriptTail.length > step.expect.length) state.scriptTail.shift();
    if (!step.expect.every((expected, index) => expected === state.scriptTail[index])) return;
    do { // A step that expects nothing follows the one before at once.
      for (const sent of step.send) state.queue.push(sent);
      state.scriptStep++;
      step = this.script[state.scriptStep];
    } while (step !== undefined && step.expect.length === 0);
    state.scriptTail = [];
  }
}

export const uart16550: DeviceFactory = ({ spec, lines }) => new Uart16550(lines.line(COM1_IRQ), spec.console, spec.script);
