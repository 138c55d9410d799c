import { whenSettled, type BusEndpoint, type BusReply, type BusRequest, type Effect, type ExitCost, type MaybePromise } from '@ringside/machine';
import type { StateValue } from './bus-device.js';
import { InterruptRouter } from './interrupt-router.js';

const NO_BYTES = new Uint8Array(0);

/**
 * The board of a virtualized guest as ring -1 sees it: interrupt controllers and timer here, every other device at the
 * far end of `remote`. Answers each request as the native `Board` would, at the same virtual time: same data, same
 * vectors, same deadlines. A request for a local port sends no message unless a remote device is due.
 */
export class SplitBoard implements BusEndpoint {
  /** When the remote board next needs the guest to leave, as its last reply said. */
  private remoteDeadline = Infinity;
  private remoteLevels = 0;

  constructor(private readonly remote: BusEndpoint, readonly router: InterruptRouter = new InterruptRouter()) {}

  /** `ordinal`s of the requests it sends count up from the one given. */
  cycle(request: BusRequest): MaybePromise<BusReply> {
    if (this.router.claims(request)) {
      if (this.remoteDeadline > request.now) return this.answer(request, this.router.access(request), null);
      return whenSettled(this.ask(catchUp(request)), (reply) => {
        this.router.feed(reply.lines, reply.rose);
        return this.answer(request, this.router.access(request), reply);
      });
    }
    const local = request.bus === 'inta' || request.bus === 'time';
    if (local && this.remoteDeadline > request.now) return this.answer(request, NO_BYTES, null);
    return whenSettled(this.ask(request.bus === 'inta' ? catchUp(request) : request), (reply) => {
      this.router.feed(reply.lines, reply.rose);
      return this.answer(request, reply.data, reply);
    });
  }

  /**
   * The guest reached a remote device without ring -1 (a granted port), and guest-cpu reports lines that rose
   * (exit `Input`, qualification rose << 16 | lines).
   */
  noteLines(levels: number, rose: number): void {
    this.remoteLevels = levels;
    this.router.feed(levels, rose);
  }

  /** A deadline that the remote board named to guest-cpu is due (exit 52, qualification bit 0): ask it at the next request. */
  noteRemoteDue(): void {
    this.remoteDeadline = -1;
  }

  /** INTR and the deadline as they stand, for an exit that was no access. Does not ask the remote board. */
  standing(now: number, interruptible: boolean): { interrupt: Effect; deadline: number } {
    const interrupt = this.router.evaluate(now, interruptible);
    return { interrupt, deadline: Math.min(this.remoteDeadline, this.router.nextDeadline()) };
  }

  snapshot(): StateValue {
    return { router: this.router.snapshot(), remoteDeadline: this.remoteDeadline === Infinity ? null : this.remoteDeadline, remoteLevels: this.remoteLevels };
  }

  restore(state: StateValue): void {
    const parts = state as { router: StateValue; remoteDeadline: number | null; remoteLevels: number };
    this.router.restore(parts.router);
    this.remoteDeadline = parts.remoteDeadline ?? Infinity;
    this.remoteLevels = parts.remoteLevels;
  }

  private ask(request: BusRequest): MaybePromise<BusReply> {
    return whenSettled(this.remote.cycle(request), (reply) => {
      this.remoteDeadline = reply.deadline;
      this.remoteLevels = reply.lines;
      return reply;
    });
  }

  private answer(request: BusRequest, data: Uint8Array, remote: BusReply | null): BusReply {
    const interrupt = this.router.evaluate(request.now, request.interruptible);
    const effects = remote === null ? [interrupt] : [...remote.effects, interrupt];
    const deadline = Math.min(this.remoteDeadline, this.router.nextDeadline());
    const reply: BusReply = { data, lines: this.remoteLevels, rose: remote?.rose ?? 0, deadline, effects };
    const cost: ExitCost | undefined = remote?.cost;
    return cost === undefined ? reply : { ...reply, cost };
  }
}

/** The remote devices' share of a request that is answered here. */
function catchUp(request: BusRequest): BusRequest {
  return { ...request, bus: 'time', address: 0, size: 1, write: false, count: 0, data: NO_BYTES };
}
