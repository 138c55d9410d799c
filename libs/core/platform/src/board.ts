import type { BusEndpoint, BusReply, BusRequest, Effect } from '@ringside/machine';
import type { BusDevice, StateValue } from './bus-device.js';
import { Bus } from './bus.js';
import { InterruptLines } from './interrupt-lines.js';
import type { InterruptRouter } from './interrupt-router.js';
import { accessElements } from './string-access.js';

const NO_BYTES = new Uint8Array(0);

/** A device that takes in what people typed or the network brought, when the processor asks for it (`input`). */
export interface InputDevice extends BusDevice {
  acceptInput(now: number): void;
}

function takesInput(device: BusDevice): device is InputDevice {
  return 'acceptInput' in device;
}

export interface BoardParts {
  readonly devices: readonly BusDevice[];
  /** The lines that the devices were built with. */
  readonly lines: InterruptLines;
  /** On `native` the board routes interrupts itself. Null: ring -1 does, and gets lines and deadlines with each reply. */
  readonly router: InterruptRouter | null;
  /** Changes of the machine itself that a device asked for during the access (power off, DMA); emptied by the board. */
  readonly effects?: Effect[];
}

/**
 * The board of one machine: buses and devices, behind one synchronous entry. A reply is a function of the board's state
 * and the request; nothing happens between requests.
 */
export class Board implements BusEndpoint {
  readonly ports = new Bus('port');
  readonly memory = new Bus('mmio');
  readonly devices: readonly BusDevice[];
  readonly router: InterruptRouter | null;
  private readonly lines: InterruptLines;
  private readonly effects: Effect[];

  /** Throws BusOverlapError if two devices claim one address. */
  constructor(parts: BoardParts) {
    this.devices = parts.devices;
    this.lines = parts.lines;
    this.router = parts.router;
    this.effects = parts.effects ?? [];
    for (const device of parts.devices) {
      if (parts.router !== null) for (const range of device.ports) this.refuseRoutersPorts(device, range.from, range.to);
      this.ports.attach(device);
      this.memory.attach(device);
    }
  }

  cycle(request: BusRequest): BusReply {
    const data = this.perform(request);
    const effects = this.effects.length === 0 ? [] : this.effects.splice(0);
    const { levels } = this.lines;
    const rose = this.lines.takeRose();
    let deadline = this.deviceDeadline();
    if (this.router !== null) {
      this.router.feed(levels, rose);
      effects.push(this.router.evaluate(request.now, request.interruptible));
      deadline = Math.min(deadline, this.router.nextDeadline());
    }
    return { data, lines: levels, rose, deadline, effects };
  }

  /** Device and register behind an address, for spans. */
  describe(request: Pick<BusRequest, 'bus' | 'address'>): { device: BusDevice; register: string } | null {
    if (request.bus === 'mmio') return this.memory.describe(request.address);
    if (request.bus !== 'port') return null;
    return this.router?.bus.describe(request.address) ?? this.ports.describe(request.address);
  }

  /** Accesses to addresses that nobody claims, in bus cycles. */
  get unclaimed(): { reads: number; writes: number } {
    return {
      reads: this.ports.unclaimed.reads + this.memory.unclaimed.reads,
      writes: this.ports.unclaimed.writes + this.memory.unclaimed.writes,
    };
  }

  reset(): void {
    this.lines.reset();
    this.router?.reset();
    for (const device of this.devices) device.reset();
    this.effects.length = 0;
  }

  snapshot(): StateValue {
    const devices: Record<string, StateValue> = {};
    for (const device of this.devices) devices[device.id] = device.snapshot();
    return { devices, lines: this.lines.levels, router: this.router?.snapshot() ?? null };
  }

  restore(state: StateValue): void {
    const parts = state as { devices: Record<string, StateValue>; lines: number; router: StateValue };
    for (const device of this.devices) device.restore(parts.devices[device.id]!);
    this.lines.reset();
    this.lines.levels = parts.lines;
    this.router?.restore(parts.router);
  }

  private perform(request: BusRequest): Uint8Array {
    const { now } = request;
    if (this.router?.claims(request) === true) {
      // The controllers must see what the devices' lines did until now before the guest looks at them.
      this.catchUp(now);
      this.router.feed(this.lines.levels, this.lines.takeRose());
      return this.router.access(request);
    }
    this.catchUp(now);
    switch (request.bus) {
      case 'port': return accessElements(this.ports, request);
      case 'mmio': return accessElements(this.memory, request);
      case 'input':
        for (const device of this.devices) if (takesInput(device)) device.acceptInput(now);
        return NO_BYTES;
      case 'time':
      case 'inta':
        return NO_BYTES;
      default: { const unreachable: never = request.bus; return unreachable; }
    }
  }

  /** Devices whose deadline has come. Any other brings itself up to date when it is accessed. */
  private catchUp(now: number): void {
    for (const device of this.devices) if (device.nextDeadline() <= now) device.advance(now);
  }

  private deviceDeadline(): number {
    let earliest = Infinity;
    for (const device of this.devices) earliest = Math.min(earliest, device.nextDeadline());
    return earliest;
  }

  private refuseRoutersPorts(device: BusDevice, from: number, to: number): void {
    for (let port = from; port <= to; port++) {
      if (this.router!.bus.claims(port)) throw new RangeError(`${device.label} claims port 0x${port.toString(16)}, which belongs to the interrupt controllers and timer.`);
    }
  }
}
