import type { BusReply, VmSpec } from '@ringside/machine';
import type { GuestFrame } from '../deprivileged/guest-frame.js';
import type { MonitorTables } from '../deprivileged/monitor-tables.js';
import type { Transaction } from '../transaction.js';
import type { Console } from './console.js';
import type { DirectPaging } from './direct-paging.js';
import type { EventChannels } from './event-channels.js';
import { Virq } from './abi.js';
import type { KernelRing } from './kernel-ring.js';
import type { EventWords } from './vcpu-info.js';

const { min } = Math;

/** One entry of the guest's trap table: where it wants an exception. */
export interface TrapInfo { readonly cs: number; readonly address: number; readonly dpl: number; readonly masksEvents: boolean }
/** A registered entry point. `cs` 0: none. */
export interface Callback { readonly cs: number; readonly address: number; readonly masksEvents: boolean }
export const NO_CALLBACK: Callback = { cs: 0, address: 0, masksEvents: false };

/** What the guest waits for: any event (SCHEDOP_block), or one of these ports (SCHEDOP_poll) until a time. */
export type Blocked = { readonly kind: 'block' } | { readonly kind: 'poll'; readonly ports: readonly number[]; readonly until: number };

/** What its parts must be able to find when the domain is built. */
export interface DomainParts {
  readonly spec: VmSpec;
  readonly kernelRing: KernelRing;
  readonly tables: MonitorTables;
  readonly paging: DirectPaging;
  readonly events: EventWords;
  readonly channels: EventChannels;
  readonly console: Console;
  /** Offset of the M2P table in monitor space; a 32-bit word per machine frame. */
  readonly m2p: number;
  /** The RAM frame behind each machine frame that was ever the domain's. */
  readonly ramFrameOf: Map<number, number>;
}

/** A paravirtualized guest as Xen knows it (struct domain and its one struct vcpu). */
export class Domain {
  readonly spec: VmSpec;
  readonly kernelRing: KernelRing;
  readonly tables: MonitorTables;
  readonly paging: DirectPaging;
  readonly events: EventWords;
  readonly channels: EventChannels;
  readonly console: Console;
  readonly m2p: number;
  readonly ramFrameOf: Map<number, number>;

  readonly trapTable = new Map<number, TrapInfo>();
  eventCallback: Callback = NO_CALLBACK;
  failsafeCallback: Callback = NO_CALLBACK;
  /** stack_switch: where an event from ring 3 begins. */
  kernelSs = 0;
  kernelEsp = 0;
  /** PHYSDEVOP_set_iopl, and set_iobitmap: a bitmap in the guest's linear memory. */
  iopl = 0;
  ioBitmap = { linear: 0, ports: 0 };
  /** Frames that make up the guest's GDT, and its LDT. */
  gdtFrames: number[] = [];
  ldt: { linear: number; entries: number; frames: number[] } = { linear: 0, entries: 0, frames: [] };
  readonly debugRegisters = new Uint32Array(8);
  /** The last page fault's address, as MOV from CR2 shows it. */
  cr2 = 0;

  /** Singleshot and periodic timer, absolute ns; Infinity for off. Both raise VIRQ_TIMER. */
  timer = Infinity;
  periodic: { period: number; next: number } | null = null;
  blocked: Blocked | null = null;
  /** Set once the machine has been stopped by this exit. */
  stopped = false;
  private windowRequested = false;

  /** When the device model next needs the guest to leave. */
  boardDeadline = Infinity;
  /** Levels of its 16 interrupt lines. */
  lines = 0;
  /** Lines that rose and have not been turned into events yet. */
  rose = 0;
  private deadline = Infinity;

  constructor(parts: DomainParts) {
    this.spec = parts.spec;
    this.kernelRing = parts.kernelRing;
    this.tables = parts.tables;
    this.paging = parts.paging;
    this.events = parts.events;
    this.channels = parts.channels;
    this.console = parts.console;
    this.m2p = parts.m2p;
    this.ramFrameOf = parts.ramFrameOf;
  }

  /**
   * The ring that the guest believes it runs in: 1 its kernel, 3 its applications. With the kernel in ring 3 the processor's CPL
   * is 3 for both, and which page tables are loaded tells.
   */
  guestRing(frame: GuestFrame): number {
    if (this.kernelRing === 1) return frame.cpl;
    return this.paging.userMode ? 3 : 1;
  }

  /** A reply of the board that ring -1 asked for. */
  noteBoard(transaction: Transaction, reply: BusReply): void {
    this.boardDeadline = reply.deadline;
    this.lines = reply.lines;
    this.rose |= reply.rose;
    for (const effect of reply.effects) {
      if (effect.kind === 'activity' && effect.activity === 'stopped') this.stopped = true;
      transaction.add(effect);
    }
  }

  stop(transaction: Transaction, state: 'crashed' | 'shutdown' | 'triple-fault' | 'unsupported-mode', why: string): void {
    if (this.stopped) return;
    this.stopped = true;
    transaction.add({ kind: 'activity', activity: 'stopped', state, why });
  }

  /** domain_crash: the guest broke a rule that Xen ends a domain for. */
  crash(transaction: Transaction, why: string): void {
    this.stop(transaction, 'crashed', why);
  }

  /** Raise the event that a port stands for, and wake a guest that polls for it. */
  async raisePort(transaction: Transaction, port: number): Promise<void> {
    if (port <= 0) return;
    await this.events.setPending(transaction, port);
  }

  async raiseVirq(transaction: Transaction, virq: number): Promise<void> {
    await this.raisePort(transaction, this.channels.portOf('virq', virq));
  }

  /** Timers that are due, and lines that rose. */
  async collectEvents(transaction: Transaction): Promise<void> {
    const { now } = transaction.exit;
    let timerDue = false;
    if (this.timer <= now) {
      this.timer = Infinity;
      timerDue = true;
    }
    if (this.periodic !== null && this.periodic.next <= now) {
      const { period, next } = this.periodic;
      this.periodic = { period, next: next + (Math.floor((now - next) / period) + 1) * period };
      timerDue = true;
    }
    if (timerDue) await this.raiseVirq(transaction, Virq.timer);
    const { rose } = this;
    this.rose = 0;
    for (let irq = 0; rose >>> irq !== 0; irq++) {
      if ((rose & (1 << irq)) !== 0) await this.raisePort(transaction, this.channels.portOf('pirq', irq));
    }
  }

  /** Whether what the guest waits for has come. */
  async mayWake(transaction: Transaction, upcallDue: boolean): Promise<boolean> {
    const { blocked } = this;
    if (blocked === null) return false;
    if (upcallDue) return true;
    if (blocked.kind === 'block') return false;
    if (blocked.until <= transaction.exit.now) return true;
    for (const port of blocked.ports) if (await this.events.isPending(transaction, port)) return true;
    return false;
  }

  /** An upcall waits for the end of an interrupt shadow: leave again as soon as it is over. */
  requestWindow(transaction: Transaction): void {
    this.windowRequested = true;
    transaction.add({ kind: 'interrupt', line: true, vector: null });
  }

  dropWindow(transaction: Transaction): void {
    if (!this.windowRequested) return;
    this.windowRequested = false;
    transaction.add({ kind: 'interrupt', line: false, vector: null });
  }

  /** When the guest must leave next. */
  settleDeadline(transaction: Transaction): void {
    const polling = this.blocked?.kind === 'poll' ? this.blocked.until : Infinity;
    const deadline = min(this.timer, this.periodic?.next ?? Infinity, this.boardDeadline, polling);
    if (deadline === this.deadline && deadline > transaction.exit.now) return;
    this.deadline = deadline;
    transaction.add({ kind: 'deadline', at: deadline });
  }
}
