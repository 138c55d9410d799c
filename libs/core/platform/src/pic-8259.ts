/**
 * Intel 8259A programmable interrupt controller, two of them cascaded as on every PC.
 * Reference: Intel 8259A datasheet (order 231468); ELCR: Intel 82371SB (PIIX3) datasheet, 2.4.
 *
 * The processor samples INTR and acknowledges in one step here, so a request cannot vanish between the two.
 */
import { cloneState, type AccessSize, type BusDevice, type StateValue } from './bus-device.js';

/** ICW1: 1 starts the initialization sequence; LTIM level triggered, SNGL no cascade (no ICW3), IC4 an ICW4 follows. */
export const ICW1_INIT = 0x10;
export const ICW1_LTIM = 0x08;
export const ICW1_SNGL = 0x02;
export const ICW1_IC4 = 0x01;
/** ICW4: SFNM special fully nested mode, AEOI automatic end of interrupt. */
export const ICW4_SFNM = 0x10;
export const ICW4_AEOI = 0x02;
/** OCW3 (bit 3 set, bit 4 clear): ESMM enables SMM (special mask mode), P poll, RR enables RIS (1: read ISR, 0: read IRR). */
export const OCW3_SELECT = 0x08;
export const OCW3_ESMM = 0x40;
export const OCW3_SMM = 0x20;
export const OCW3_P = 0x04;
export const OCW3_RR = 0x02;
export const OCW3_RIS = 0x01;
/** OCW2, bits 7–5 (R SL EOI). */
export const OCW2_NON_SPECIFIC_EOI = 1;
export const OCW2_SPECIFIC_EOI = 3;
export const OCW2_ROTATE_NON_SPECIFIC_EOI = 5;
export const OCW2_ROTATE_AEOI_SET = 4;
export const OCW2_ROTATE_AEOI_CLEAR = 0;
export const OCW2_ROTATE_SPECIFIC_EOI = 7;
export const OCW2_SET_PRIORITY = 6;

/** The master's input that the slave's INT output is wired to. */
const CASCADE = 2;
/** High at power-on: the timer's output idles there, and that is no edge. */
const TIMER_LINE = 0x01;
/** Lines that are always edge triggered: timer, keyboard, cascade; clock and coprocessor (PIIX3, ELCR1 and ELCR2). */
const ELCR_MASKS = [0xf8, 0xde] as const;

interface ChipState {
  /** Input levels. */
  lines: number;
  /** Edges seen and not yet acknowledged (edge sense latch). */
  latch: number;
  imr: number;
  isr: number;
  elcr: number;
  icw1: number;
  /** Vector of IR0. */
  base: number;
  icw4: number;
  /** Which ICW the data port expects next: 0 none (operating), 2, 3, 4. */
  expects: number;
  readIsr: boolean;
  poll: boolean;
  specialMask: boolean;
  rotateOnAeoi: boolean;
  /** The input with the lowest priority: 7 unless rotated. */
  lowest: number;
}

class Pic8259 {
  state: ChipState;

  constructor(private readonly cascade: 'master' | 'slave') {
    this.state = this.initial();
  }

  /** As a PC's firmware leaves it: vectors 08h and 70h, everything masked. */
  initial(): ChipState {
    return {
      lines: this.cascade === 'master' ? TIMER_LINE : 0, latch: 0, imr: 0xff, isr: 0, elcr: 0, icw1: ICW1_INIT | ICW1_IC4, base: this.cascade === 'master' ? 0x08 : 0x70, icw4: 0x01,
      expects: 0, readIsr: false, poll: false, specialMask: false, rotateOnAeoi: false, lowest: 7,
    };
  }

  /** `rose`: there was an edge, even if the line was high before and is high now. A request falls with its line. */
  setLine(irq: number, high: boolean, rose: boolean): void {
    const { state } = this;
    const bit = 1 << irq;
    if (high && (rose || (state.lines & bit) === 0)) state.latch |= bit;
    if (high) {
      state.lines |= bit;
    } else {
      state.lines &= ~bit;
      state.latch &= ~bit;
    }
  }

  get irr(): number {
    const level = this.levelTriggered;
    return (this.state.latch & ~level) | (this.state.lines & level);
  }

  private get levelTriggered(): number {
    return (this.state.icw1 & ICW1_LTIM) !== 0 ? 0xff : this.state.elcr;
  }

  /** The request that INT stands for, or −1. */
  get pending(): number {
    return this.state.expects !== 0 ? -1 : this.highest(this.irr);
  }

  /** Whether a request on `irq` would raise INT if it came alone. */
  wouldInterrupt(irq: number): boolean {
    return this.state.expects === 0 && this.highest(1 << irq) >= 0;
  }

  /** INTA: the input acknowledged; 7 and no ISR bit when the request is gone (spurious). */
  acknowledge(): number {
    const { state } = this;
    const irq = this.pending;
    if (irq < 0) return 7;
    state.latch &= ~(1 << irq);
    state.isr |= 1 << irq;
    if ((state.icw4 & ICW4_AEOI) !== 0) {
      state.isr &= ~(1 << irq);
      if (state.rotateOnAeoi) state.lowest = irq;
    }
    return irq;
  }

  readCommand(): number {
    if (this.state.poll) return this.readPoll();
    return this.state.readIsr ? this.state.isr : this.irr;
  }

  readData(): number {
    return this.state.poll ? this.readPoll() : this.state.imr;
  }

  writeCommand(value: number): void {
    if ((value & ICW1_INIT) !== 0) this.initialize(value);
    else if ((value & OCW3_SELECT) !== 0) this.writeOcw3(value);
    else this.writeOcw2(value);
  }

  writeData(value: number): void {
    const { state } = this;
    switch (state.expects) {
      case 2:
        state.base = value & 0xf8;
        state.expects = (state.icw1 & ICW1_SNGL) === 0 ? 3 : this.afterIcw3();
        break;
      case 3: // The wiring of a PC is fixed: what ICW3 says is accepted and has no effect.
        state.expects = this.afterIcw3();
        break;
      case 4:
        state.icw4 = value;
        state.expects = 0;
        break;
      default:
        state.imr = value;
    }
  }

  private afterIcw3(): number {
    return (this.state.icw1 & ICW1_IC4) !== 0 ? 4 : 0;
  }

  private initialize(icw1: number): void {
    const { state } = this;
    state.icw1 = icw1;
    state.latch = 0; // "The edge sense circuit is reset": a line must fall and rise again.
    state.imr = 0;
    state.isr = 0;
    state.lowest = 7;
    state.specialMask = false;
    state.readIsr = false;
    state.poll = false;
    state.rotateOnAeoi = false;
    state.icw4 = 0; // Stands if no ICW4 follows.
    state.expects = 2;
  }

  private writeOcw2(value: number): void {
    const { state } = this;
    const irq = value & 7;
    switch (value >> 5) {
      case OCW2_NON_SPECIFIC_EOI:
        this.endHighest();
        break;
      case OCW2_ROTATE_NON_SPECIFIC_EOI: {
        const ended = this.endHighest();
        if (ended >= 0) state.lowest = ended;
        break;
      }
      case OCW2_SPECIFIC_EOI:
        state.isr &= ~(1 << irq);
        break;
      case OCW2_ROTATE_SPECIFIC_EOI:
        state.isr &= ~(1 << irq);
        state.lowest = irq;
        break;
      case OCW2_SET_PRIORITY:
        state.lowest = irq;
        break;
      case OCW2_ROTATE_AEOI_SET:
        state.rotateOnAeoi = true;
        break;
      case OCW2_ROTATE_AEOI_CLEAR:
        state.rotateOnAeoi = false;
        break;
      default: // 010: no operation.
    }
  }

  private writeOcw3(value: number): void {
    const { state } = this;
    if ((value & OCW3_ESMM) !== 0) state.specialMask = (value & OCW3_SMM) !== 0;
    if ((value & OCW3_P) !== 0) state.poll = true;
    else if ((value & OCW3_RR) !== 0) state.readIsr = (value & OCW3_RIS) !== 0;
  }

  /** The read after a poll command is the acknowledge: bit 7 says whether there was a request, bits 2–0 which. */
  private readPoll(): number {
    this.state.poll = false;
    return this.pending < 0 ? 0 : 0x80 | this.acknowledge();
  }

  /** A masked level in special mask mode is not ended by a non-specific EOI. Returns the level ended or −1. */
  private endHighest(): number {
    const { state } = this;
    const irq = this.first(state.specialMask ? state.isr & ~state.imr : state.isr);
    if (irq >= 0) state.isr &= ~(1 << irq);
    return irq;
  }

  /** The best of `requests` that is unmasked and above everything in service, or −1. */
  private highest(requests: number): number {
    const { state } = this;
    const irq = this.first(requests & ~state.imr);
    if (irq < 0) return -1;
    let inService = state.specialMask ? state.isr & ~state.imr : state.isr;
    if (this.cascade === 'master' && (state.icw4 & ICW4_SFNM) !== 0) inService &= ~(1 << CASCADE);
    const serving = this.first(inService);
    return serving < 0 || this.rank(irq) < this.rank(serving) ? irq : -1;
  }

  /** The set bit with the highest priority, or −1. */
  private first(bits: number): number {
    if (bits === 0) return -1;
    for (let rank = 0; rank < 8; rank++) {
      const irq = (this.state.lowest + 1 + rank) & 7;
      if ((bits & (1 << irq)) !== 0) return irq;
    }
    return -1;
  }

  /** 0 is the highest priority. */
  private rank(irq: number): number {
    return (irq - this.state.lowest - 1) & 7;
  }
}

export class Pic8259Pair implements BusDevice {
  readonly id = 'pic';
  readonly label = 'Interrupt controllers 8259A';
  readonly ports = [
    { from: 0x20, to: 0x21, width: 1, registers: ['master IRR/ISR / ICW1/OCW2/OCW3', 'master IMR / ICW2–4'] },
    { from: 0xa0, to: 0xa1, width: 1, registers: ['slave IRR/ISR / ICW1/OCW2/OCW3', 'slave IMR / ICW2–4'] },
    { from: 0x4d0, to: 0x4d1, width: 1, registers: ['ELCR1', 'ELCR2'] },
  ] as const;
  readonly mmio = [] as const;
  private readonly master = new Pic8259('master');
  private readonly slave = new Pic8259('slave');

  /** INTR to the processor. */
  get intr(): boolean {
    return this.master.pending >= 0;
  }

  /** Drive input `irq` (0–15, never 2). */
  setLine(irq: number, high: boolean, rose = false): void {
    if (irq < 8) {
      this.master.setLine(irq, high, rose);
    } else {
      this.slave.setLine(irq - 8, high, rose);
      this.cascade();
    }
  }

  /** Whether INTR is low and an edge on `irq` would raise it. Until then nobody needs to know of that edge. */
  wouldInterrupt(irq: number): boolean {
    if (this.intr) return false;
    if (irq < 8) return this.master.wouldInterrupt(irq);
    // The master's input is edge triggered: while the slave's INT is up already, a further request there is no edge.
    return this.slave.pending < 0 && this.slave.wouldInterrupt(irq - 8) && this.master.wouldInterrupt(CASCADE);
  }

  /** The two INTA cycles: the vector. Spurious requests give IR7 of the controller that was asked. */
  acknowledge(): number {
    const irq = this.master.acknowledge();
    if (irq !== CASCADE || (this.master.state.icw1 & ICW1_SNGL) !== 0) return this.master.state.base | irq;
    const slaveIrq = this.slave.acknowledge();
    this.master.setLine(CASCADE, false, false); // INT falls with the acknowledge, and rises again for a further request.
    this.cascade();
    return this.slave.state.base | slaveIrq;
  }

  read(offset: number, _size: AccessSize, _now: number, range: number): number {
    if (range === 2) return this.chip(offset).state.elcr;
    const chip = this.chip(range);
    const value = offset === 0 ? chip.readCommand() : chip.readData();
    this.cascade(); // A poll acknowledges.
    return value;
  }

  write(offset: number, _size: AccessSize, value: number, _now: number, range: number): void {
    if (range === 2) this.chip(offset).state.elcr = value & ELCR_MASKS[offset === 0 ? 0 : 1];
    else if (offset === 0) this.chip(range).writeCommand(value & 0xff);
    else this.chip(range).writeData(value & 0xff);
    this.cascade();
  }

  advance(): void { /* Nothing in it depends on time. */ }

  nextDeadline(): number {
    return Infinity;
  }

  reset(): void {
    this.master.state = this.master.initial();
    this.slave.state = this.slave.initial();
  }

  snapshot(): StateValue {
    return { master: cloneState({ ...this.master.state }), slave: cloneState({ ...this.slave.state }) };
  }

  restore(state: StateValue): void {
    const { master, slave } = state as unknown as { master: ChipState; slave: ChipState };
    this.master.state = cloneState(master);
    this.slave.state = cloneState(slave);
  }

  private chip(index: number): Pic8259 {
    return index === 0 ? this.master : this.slave;
  }

  private cascade(): void {
    this.master.setLine(CASCADE, this.slave.pending >= 0, false);
  }
}
