import type { BusRequest, Effect } from '@ringside/machine';
import type { StateValue } from './bus-device.js';
import { Bus } from './bus.js';
import { Pic8259Pair } from './pic-8259.js';
import { Pit8254 } from './pit-8254.js';
import { accessElements } from './string-access.js';
import { SystemControlPort } from './system-control-port.js';

export type InterruptEffect = Extract<Effect, { kind: 'interrupt' }>;

/** Lines 0 (timer) and 2 (cascade) are not for other devices. */
const OTHER_LINES = 0xfffa;

/**
 * Interrupt controllers and timer of one machine, with whoever routes its interrupts: the board on `native`, ring -1 for
 * a virtualized guest. The other devices' lines come in through `feed`, from beside it or out of a reply.
 *
 * When an interrupt is taken: at the first instruction boundary at which INTR is up, IF is 1 and no shadow holds it back.
 * The owner evaluates after each access or deadline. If the processor said that it stands before such a boundary, the owner
 * acknowledges at once and gives the vector; if not, it answers "line up", and the processor comes back (`inta`, or
 * exit 7) when the window opens. A request that has gone by then is not an interrupt: the answer is "line down".
 */
export class InterruptRouter {
  readonly pic = new Pic8259Pair();
  readonly pit = new Pit8254();
  readonly systemControl = new SystemControlPort(this.pit);
  readonly bus = new Bus('port');
  /** The levels last fed, so that only changes are looked at; −1: all lines, next time. */
  private fed = -1;

  constructor() {
    this.bus.attach(this.pic);
    this.bus.attach(this.pit);
    this.bus.attach(this.systemControl);
  }

  /** Whether a port request goes to the router's own devices: decided by its first port. */
  claims(request: BusRequest): boolean {
    return request.bus === 'port' && this.bus.claims(request.address);
  }

  /** A port access to one of them. */
  access(request: BusRequest): Uint8Array {
    this.advance(request.now);
    const data = accessElements(this.bus, request);
    this.driveTimerLine();
    return data;
  }

  /** Levels of the other devices' lines, and which of them rose since the last call. Lines 0 and 2 are the router's own. */
  feed(levels: number, rose: number): void {
    let changed = ((levels ^ this.fed) | rose) & OTHER_LINES;
    this.fed = levels;
    for (let irq = 1; changed !== 0; irq++) {
      const bit = 1 << irq;
      if ((changed & bit) !== 0) this.pic.setLine(irq, (levels & bit) !== 0, (rose & bit) !== 0);
      changed &= ~bit;
    }
  }

  advance(now: number): void {
    this.pit.advance(now);
    this.driveTimerLine();
  }

  /** INTR after `advance(now)`; with the vector, acknowledged, if the processor can take it at the next boundary. */
  evaluate(now: number, interruptible: boolean): InterruptEffect {
    this.advance(now);
    const vector = interruptible && this.pic.intr ? this.pic.acknowledge() : null;
    return { kind: 'interrupt', line: this.pic.intr, vector };
  }

  /**
   * When the timer next needs the guest to leave, ns. Infinity while nothing would come of it: counter 0 stopped, IRQ 0
   * masked or in service, or INTR up already. Its edges are found by the next access all the same.
   */
  nextDeadline(): number {
    return this.pic.wouldInterrupt(0) ? this.pit.nextDeadline() : Infinity;
  }

  reset(): void {
    this.pic.reset();
    this.pit.reset();
    this.systemControl.reset();
    this.fed = -1;
    this.driveTimerLine();
  }

  snapshot(): StateValue {
    return { pic: this.pic.snapshot(), pit: this.pit.snapshot(), systemControl: this.systemControl.snapshot() };
  }

  restore(state: StateValue): void {
    const parts = state as { pic: StateValue; pit: StateValue; systemControl: StateValue };
    this.pic.restore(parts.pic);
    this.pit.restore(parts.pit);
    this.systemControl.restore(parts.systemControl);
    this.fed = -1;
  }

  private driveTimerLine(): void {
    this.pic.setLine(0, this.pit.out0, this.pit.takeRose());
  }
}
