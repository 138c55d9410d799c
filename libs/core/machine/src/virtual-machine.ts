import {
  ACTIVITY, EFLAGS_SYSTEM, eventCounts, executedSoFar, ExitReason, exitReasonName, INTR_LINE, Processor, SKIPPED, StepResult, TSC_ADJUST, type BusAccess, type Cpu,
} from '@ringside/x86';
import { isRefused, translate, TranslationCache, type PlacedUnit, type TranslationCacheOptions, type TranslationRefused, type TranslationRequest, type TranslationUnit, type UnitRejected } from '@ringside/translation';
import { applyToProcessor } from './apply-effect.js';
import type { Bus, BusEndpoint, BusReply, BusRequest } from './bus.js';
import type { Effect, StopState } from './effect.js';
import { StateGroup, type Exit, type ExitCost, type ExitHandler, type ExitReply, type MaybePromise } from './exit.js';
import { MachineBooks } from './machine-books.js';
import { OPERATIONS, parseMark, type Mark } from './mark.js';
import { modelledTable } from './modelled/clock.js';
import { modelledCycles, type CostTable } from './modelled/cost-table.js';
import { MachineMeter, primitivesBetween } from './modelled/machine-meter.js';
import type { Moment, OperationRecorder } from './operation-recorder.js';
import { readRegisters, readSegments } from './read-state.js';
import { StateHash } from './state-hash.js';
import type { MachineStatistics, OperationRecord } from './statistics.js';
import type { VmSpec } from './vm-spec.js';

/** What ring -1 (or, on native, nobody but the loader) decided when it created the machine. */
export interface MachineConfig {
  spec: VmSpec;
  epoch: number;
  monitorBytes: number;
  /** Which state groups an exit carries, by reason; `Registers` where nothing is said. */
  stateGroups: ReadonlyMap<number, number>;
  /** Virtual time at which the owner first wants to be asked, ns. */
  deadline: number;
  /** Binary translation: where in monitor space the translation cache lies, in bytes, and how many units are translated again for comparison. */
  translationCache?: TranslationCacheOptions;
}

/** A translator's answer; its cost is for the books. */
export interface TranslatorReply { unit: TranslationUnit | TranslationRefused; cost: ExitCost }
/** Any translator, as guest-cpu sees it. */
export interface TranslatorPort {
  /** `unit: null`: the question was taken back, and the guest stands before the same miss. */
  translate(request: TranslationRequest): MaybePromise<TranslatorReply | { unit: null; cost: ExitCost }>;
  /** What became of the answer: the unit in its place, or why it was not taken. */
  settled?(result: PlacedUnit | UnitRejected): void;
}

export interface MachinePorts {
  /** Ring -1; null on native, where bus cycles go straight to the board. */
  exits: ExitHandler | null;
  bus: BusEndpoint;
  /** Binary translation: who answers misses. */
  translator?: TranslatorPort;
  /** Monotonic wall clock in ns: for the books, and for the `real` clock. */
  wallClock: () => number;
  /** How many requests had to be sent again so far: for the books. */
  resends?: () => number;
  /** Let others have the thread between two slices. */
  yield?: () => Promise<void>;
  /** `real` clock only: sleep up to `ns`, or until `wake` is called. */
  sleep?: (ns: number) => { done: Promise<void>; wake: () => void };
  hooks?: MachineHooks;
}

export interface MachineHooks {
  /** An operation begins; what it returns is its trace id. */
  operationBegins?(record: OperationRecord): string | null;
  operationEnds?(record: OperationRecord): void;
  mark?(mark: Mark, machine: VirtualMachine): void;
  exitAnswered?(reason: string, wallNs: number): void;
  stateChanged?(state: MachineState, why: string): void;
}

/** `halted` waits for outside input alone ("parked"): no deadline, no messages, no CPU. */
export type MachineState = 'created' | 'running' | 'paused' | 'halted' | StopState;

/** Instructions between two looks at the event loop: about a millisecond. */
const SLICE_INSTRUCTIONS = 100_000;
const EFLAGS_IF = 1 << 9;
const MSR_TSC = 0x10;
const NO_BYTES = new Uint8Array(0);

/**
 * One virtual machine as guest-cpu drives it. It is the only thing that moves the guest forward: it steps the processor to the next
 * boundary, asks whoever has to be asked, applies the effects of the answer, and goes on. While it waits for an answer the
 * whole machine stands still.
 */
export class VirtualMachine {
  readonly processor: Processor;
  state: MachineState = 'created';
  /** A sentence for `vm show`. */
  why = 'created, not started';
  /** Virtual times at which outside input was taken in: with the input's bytes, all that a replay needs. */
  readonly inputLog: number[] = [];
  readonly stateHash: StateHash | null;
  /** Translations of the guest's kernel; null on all paths but one. */
  readonly translations: TranslationCache | null = null;

  private readonly books: MachineBooks;
  private readonly meter = new MachineMeter();
  private seq = 0;
  private deadline: number;
  /** Earliest deadline that the board named in answer to an access ring -1 did not see (a granted port). */
  private boardDeadline = Infinity;
  /** Lines that rose in answer to such an access and that ring -1 has not heard of yet, and the levels. */
  private boardRose = 0;
  private boardLines = 0;
  private pauseRequested = false;
  private inputPending = false;
  private sleeping: { wake: () => void } | null = null;
  private running: Promise<void> | null = null;
  /** Wall and virtual time at which the `real` clock last agreed. */
  private realOrigin: { wallNs: number; virtualNs: number } | null = null;

  constructor(readonly config: MachineConfig, private readonly ports: MachinePorts) {
    this.processor = new Processor({ ramBytes: config.spec.memoryMiB * 1_048_576, monitorBytes: config.monitorBytes });
    this.books = new MachineBooks(ports.wallClock, ports.hooks?.exitAnswered?.bind(ports.hooks));
    this.deadline = config.deadline;
    this.stateHash = config.spec.hashStates ? new StateHash() : null;
    if (this.stateHash !== null) this.processor.setObserver(this.stateHash.sample);
    const table = modelledTable(config.spec.clock);
    // Xen's clock is the TSC, and its rate a promise: a paravirtualized guest's stays virtual time (docs/adr/0014).
    if (table !== null && config.spec.path !== 'paravirt') this.processor.cpu.timeStampSource = (cpu) => this.cyclesAt(cpu, table);
    if (config.translationCache !== undefined) {
      this.translations = new TranslationCache(this.processor, config.translationCache);
      this.processor.setTranslatedCode(this.translations);
    }
  }

  get native(): boolean {
    return this.ports.exits === null;
  }

  /** Virtual time, ns. */
  get now(): number {
    return this.processor.virtualTime;
  }

  get stopped(): boolean {
    return this.state !== 'created' && this.state !== 'running' && this.state !== 'paused' && this.state !== 'halted';
  }

  /** Apply an effect list: while creating the machine, and for every reply. The acknowledged vector, if any, is delivered last. */
  apply(effects: readonly Effect[]): void {
    let vector: number | null = null;
    let mark: Mark | null = null;
    for (const effect of effects) {
      switch (effect.kind) {
        case 'boundary':
          this.processor.setBoundary(effect.boundary);
          mark = parseMark(effect.boundary.mark);
          break;
        case 'interrupt':
          this.processor.setIntr(effect.line);
          vector = effect.vector;
          break;
        case 'deadline':
          this.deadline = effect.at;
          break;
        case 'activity':
          if (effect.activity === 'stopped') this.enter(effect.state, effect.why);
          else this.processor.cpu.i32[ACTIVITY] = effect.activity === 'halted' ? 1 : 0;
          break;
        default:
          applyToProcessor(this.processor, effect);
      }
    }
    // The instruction that the answer completed is seen with all that the answer changed, and before the interrupt behind it.
    this.processor.observe();
    if (mark !== null) this.markReached(mark);
    if (vector !== null) this.processor.deliverInterrupt(vector);
  }

  /**
   * Run until the machine is paused, parked (`halted`) or stopped. A parked machine is run again after `kick`. Never rejects:
   * a service that does not answer stops the machine by name.
   */
  run(): Promise<void> {
    if (this.running === null) this.running = this.drive(Infinity, Infinity).finally(() => { this.running = null; });
    return this.running;
  }

  /** On a machine that does not run: at most `instructions` retired instructions, or to the answer of the next exit. */
  async step(limit: { instructions?: number; exits?: number }): Promise<void> {
    if (this.running !== null) await this.pause();
    this.running = this.drive(limit.instructions ?? Infinity, limit.exits ?? Infinity).finally(() => { this.running = null; });
    await this.running;
    if (this.state === 'running') this.enter('paused', 'stepped');
  }

  /** Resolves when the machine stands still at an instruction boundary, no exit pending. */
  async pause(): Promise<void> {
    this.pauseRequested = true;
    this.sleeping?.wake();
    await this.running;
    this.pauseRequested = false;
    if (this.state === 'running' || this.state === 'created' || this.state === 'halted') this.enter('paused', 'paused by request');
  }

  /** End the machine by name. */
  async stop(why: string): Promise<void> {
    await this.pause();
    if (!this.stopped) this.enter('stopped', why);
  }

  /** Outside input waits at the device model: it is taken in at the next slice end. */
  kick(): void {
    this.inputPending = true;
    this.sleeping?.wake();
  }

  statistics(): MachineStatistics {
    const { misled, misledCount } = this.processor.cpu;
    return { ...this.books.statistics(this.moment()), misled: misled === null ? null : { ...misled, count: misledCount }, translation: this.translations === null ? null : { ...this.translations.counts } };
  }

  get recorder(): OperationRecorder {
    return this.books.recorder;
  }

  private async drive(instructionLimit: number, exitLimit: number): Promise<void> {
    if (this.stopped) return;
    if (this.state === 'created') this.beginBoot();
    this.enter('running', 'running');
    const retiredLimit = this.processor.retired + instructionLimit;
    const exitsLimit = this.books.answered + exitLimit;
    let sliceEnd = this.processor.retired + SLICE_INSTRUCTIONS;
    if (this.config.spec.clock === 'real') this.realOrigin = { wallNs: this.ports.wallClock(), virtualNs: this.now };
    try {
      while (this.state === 'running' && !this.pauseRequested && this.processor.retired < retiredLimit && this.books.answered < exitsLimit) {
        if (this.processor.retired >= sliceEnd) {
          if (this.ports.yield !== undefined) await this.ports.yield();
          sliceEnd = this.processor.retired + SLICE_INSTRUCTIONS;
          this.followWallClock();
        }
        if (this.inputPending) {
          this.inputPending = false;
          this.inputLog.push(this.now);
          await this.ask('input', ExitReason.Input, 0);
          continue;
        }
        if (this.boardRose !== 0) {
          await this.reportLines();
          continue;
        }
        if (Math.min(this.deadline, this.boardDeadline) <= this.now) {
          await this.deadlineReached();
          continue;
        }
        if (this.windowOpen()) {
          await this.ask('inta', ExitReason.InterruptWindow, 0);
          continue;
        }
        if (this.processor.cpu.i32[ACTIVITY] === 1) {
          if (!(await this.waitHalted())) return;
          continue;
        }
        const budget = Math.min(sliceEnd - this.processor.retired, retiredLimit - this.processor.retired, Math.min(this.deadline, this.boardDeadline) - this.now);
        const pending = this.answer(this.books.guest(() => this.processor.step(budget)));
        if (pending !== undefined) await pending;
      }
    } catch (error) {
      this.enter(stateFor(error), error instanceof Error ? error.message : String(error));
    }
  }

  /** What the processor stopped for. Undefined when there is nothing to wait for, so that plain calls stay synchronous. */
  private answer(result: StepResult): Promise<void> | undefined {
    const { exit } = this.processor;
    switch (result) {
      case StepResult.Budget:
      case StepResult.Halted:
        return undefined;
      case StepResult.Exit:
        if (exit.reason === ExitReason.TranslationMiss) return this.translationMiss(this.translations!);
        return settle(this.leave(exit.reason, exit.qualification), (reply) => this.complete(reply));
      case StepResult.BusCycle: {
        const access = exit.access!;
        return settle(this.cycle(access.space === 'port' ? 'port' : 'mmio', access), (reply) => this.completeCycle(reply));
      }
      case StepResult.InterruptWindow:
        return this.ask('inta', ExitReason.InterruptWindow, 0);
      case StepResult.Mark: {
        const mark = parseMark(exit.mark);
        if (mark !== null) this.markReached(mark);
        return undefined;
      }
      case StepResult.Stopped:
        if (exit.reason === ExitReason.TripleFault) this.enter('triple-fault', 'the guest raised an exception while delivering a double fault (SDM Vol. 3A 6.15)');
        else this.enter('unsupported-mode', `the guest entered a mode that is not built (${exitReasonName(exit.reason)}, qualification ${exit.qualification})`);
        return undefined;
      default: { const unreachable: never = result; return unreachable; }
    }
  }

  /** Code that has not been translated: straight to a translator, ring -1 has no part in it. */
  private translationMiss(translations: TranslationCache): Promise<void> | undefined {
    const request = translations.missing!;
    const { translator } = this.ports;
    if (translator === undefined) throw new Error('binary translation needs a translator');
    return settle(this.books.request<{ unit: TranslatorReply['unit'] | null; cost: ExitCost }>('translation-miss', 'translate', () => translator.translate(request)), ({ unit }) => {
      if (unit === null) return;
      const placed = translations.install(request, unit);
      translator.settled?.(placed);
      if ('unit' in placed) this.meter.translated(placed.unit.instructions.length);
      if (!('rejected' in placed)) return;
      const code = `the code at 0x${request.eip.toString(16)}`;
      const own = isRefused(unit) ? translate(request) : null;
      // Nobody can be blamed but the guest for a mode that no translator knows.
      if (own !== null && isRefused(own)) this.enter('unsupported-mode', `${code} runs in a mode that is not translated (16-bit code or stack, a code segment with a limit, or ring 1 or 2)`);
      else this.enter('translation-refused', `no translation of ${code}: ${placed.rejected}`);
    });
  }

  /** Between two instructions: the board on native, ring -1 elsewhere. */
  private ask(bus: Bus, reason: ExitReason, qualification: number): Promise<void> | undefined {
    if (this.native) return settle(this.cycle(bus, null), (reply) => this.afterCycle(reply));
    const { exit } = this.processor;
    exit.access = null;
    exit.event = null;
    exit.walk = null;
    exit.instruction = null;
    exit.instructionLength = 0;
    return settle(this.leave(reason, qualification), (reply) => {
      this.meter.returned(reply, this.processor.cpu.controls.deprivileged);
      this.apply(reply.effects);
    });
  }

  private async deadlineReached(): Promise<void> {
    const boardDue = this.boardDeadline <= this.now;
    this.boardDeadline = Infinity;
    const due = this.deadline;
    // Qualification bit 0: the board's own deadline (named in answer to a granted port) is due.
    await this.ask('time', ExitReason.PreemptionTimer, boardDue ? 1 : 0);
    // An owner that has no further deadline says so; one that repeats a deadline that has passed would never let the guest go on.
    if (this.deadline === due && due <= this.now) this.deadline = Infinity;
  }

  private leave(reason: ExitReason, qualification: number): MaybePromise<ExitReply> {
    const { processor } = this;
    const { exit } = processor;
    // A memory access is answered in the middle of translated code; whoever answers anything else sees the guest.
    if (exit.access === null) processor.leaveTranslatedCode();
    const name = exitReasonName(reason);
    const groups = this.config.stateGroups.get(reason) ?? StateGroup.Registers;
    const request: Exit = {
      vmId: this.config.spec.id, epoch: this.config.epoch, seq: ++this.seq, reason, qualification,
      instructionLength: exit.instructionLength, guestLinear: exit.guestLinear >>> 0, guestPhysical: exit.guestPhysical,
      now: this.now, retired: processor.retired, executed: processor.executed, interruptible: this.windowAfter(exit.access),
      ...this.timeStamp(), access: exit.access, event: exit.event, walk: exit.walk, instruction: exit.instruction,
      registers: (groups & StateGroup.Registers) !== 0 ? readRegisters(processor) : null,
      segments: (groups & StateGroup.Segments) !== 0 ? readSegments(processor) : null,
    };
    this.recorder.countExit(name, reason === ExitReason.Hypercall || reason === ExitReason.Vmcall ? 1 : 0);
    this.meter.left(request, processor.cpu.controls.deprivileged);
    return this.books.request(name, `exit.${name}`, () => this.ports.exits!.exit(request));
  }

  private cycle(bus: Bus, access: BusAccess | null): MaybePromise<BusReply> {
    const request: BusRequest = {
      vmId: this.config.spec.id, epoch: this.config.epoch, seq: ++this.seq, ordinal: 0, bus, now: this.now,
      address: access?.address ?? 0, size: access?.size ?? 1, write: access?.write ?? false, count: access?.count ?? 0,
      data: access?.data ?? NO_BYTES, interruptible: this.windowAfter(access),
    };
    return this.books.request(`io.${bus}`, `io.${bus}`, () => this.ports.bus.cycle(request));
  }

  private complete(reply: ExitReply): void {
    const { disposition } = reply;
    this.meter.returned(reply, this.processor.cpu.controls.deprivileged);
    if (disposition.kind === 'retire') {
      if (this.processor.exit.access !== null) this.processor.completeAccess(disposition.data);
      else this.processor.retireExit(disposition.count ?? 1);
    }
    this.apply(reply.effects);
    if (disposition.kind === 'inject') this.processor.inject(disposition.event, disposition.cr2 ?? undefined);
  }

  private completeCycle(reply: BusReply): void {
    this.meter.cycle(this.processor.exit.access!);
    this.processor.completeAccess(reply.data);
    return this.afterCycle(reply);
  }

  private afterCycle(reply: BusReply): void {
    if (this.native) {
      this.deadline = reply.deadline;
    } else {
      // A granted port: ring -1 has not seen this reply. It learns of a line that rose through an exit, of a deadline when it comes.
      this.boardDeadline = reply.deadline;
      this.boardRose |= reply.rose;
      this.boardLines = reply.lines;
    }
    this.apply(reply.effects);
  }

  /** A line rose on a granted port: ring -1 routes interrupts, so it must hear of it (reason `input`, rose << 16 | lines). */
  private reportLines(): Promise<void> | undefined {
    const qualification = ((this.boardRose << 16) | this.boardLines) >>> 0;
    this.boardRose = 0;
    return this.ask('input', ExitReason.Input, qualification);
  }

  private async waitHalted(): Promise<boolean> {
    if (!this.canWake()) {
      this.enter('halted', 'halted with interrupts disabled: nothing can wake the guest');
      return false;
    }
    const next = Math.min(this.deadline, this.boardDeadline);
    if (next === Infinity) {
      this.enter('halted', 'halted, no deadline: waits for input');
      return false;
    }
    if (this.config.spec.clock !== 'real') {
      this.processor.skipTime(next - this.now);
      return true;
    }
    if (this.ports.sleep === undefined) throw new Error('the real clock needs a sleep port');
    const nap = this.ports.sleep(next - this.now);
    this.sleeping = nap;
    await nap.done;
    this.sleeping = null;
    this.followWallClock();
    return true;
  }

  /** A deprivileged guest blocks by hypercall and is woken by effects; any other needs IF. */
  private canWake(): boolean {
    const { cpu } = this.processor;
    if (this.translations !== null) return this.translations.interruptFlag;
    return cpu.controls.deprivileged || (cpu.i32[EFLAGS_SYSTEM]! & EFLAGS_IF) !== 0;
  }

  private followWallClock(): void {
    if (this.realOrigin === null) return;
    const target = this.realOrigin.virtualNs + (this.ports.wallClock() - this.realOrigin.wallNs);
    const behind = Math.floor(target - this.now);
    if (behind > 0) this.processor.skipTime(behind);
  }

  private windowOpen(): boolean {
    return this.processor.cpu.i32[INTR_LINE] !== 0 && this.processor.interruptible;
  }

  /** A memory access is answered in the middle of its instruction: no interrupt can be taken there. */
  private windowAfter(access: BusAccess | null): boolean {
    return access?.space === 'memory' ? false : this.processor.interruptible;
  }

  private markReached(mark: Mark): void {
    const closed = this.recorder.mark(mark, this.moment());
    this.ports.hooks?.mark?.(mark, this);
    if (closed !== null) {
      closed.stateHash = this.stateHash?.value ?? null;
      this.ports.hooks?.operationEnds?.(closed);
    } else {
      this.announceOperation();
    }
  }

  private beginBoot(): void {
    this.recorder.begin(OPERATIONS.boot, this.moment());
    this.announceOperation();
  }

  private announceOperation(): void {
    const open = this.recorder.current;
    if (open !== null && open.traceId === null) open.traceId = this.ports.hooks?.operationBegins?.(open) ?? null;
  }

  private moment(): Moment {
    const { processor } = this;
    const primitives = this.meter.total(processor.executed, eventCounts(processor.cpu));
    return {
      retired: processor.retired, executed: processor.executed, virtualNs: this.now, wallNs: this.ports.wallClock(), resends: this.ports.resends?.() ?? 0,
      ...(this.translations === null ? {} : { translation: { ...this.translations.counts } }),
      primitives, recurring: primitivesBetween(this.meter.once(this.translations?.counts.directExits ?? 0), primitives),
    };
  }

  /** For ring -1, which answers RDTSC where the processor does not. */
  private timeStamp(): { timeStamp?: number } {
    const { cpu } = this.processor;
    if (!cpu.controls.deprivileged || (cpu.timeStampSource === null && cpu.f64[TSC_ADJUST] === 0)) return {};
    return { timeStamp: Number(this.processor.readMsr(MSR_TSC)!) };
  }

  /** Modelled cycles since the machine began, in whole ones: all work, and the time that went by in HLT at the hardware's clock rate. */
  private cyclesAt(cpu: Cpu, table: CostTable): number {
    return Math.floor(modelledCycles(table, this.meter.total(executedSoFar(cpu), eventCounts(cpu))) + cpu.f64[SKIPPED]! * table.gigahertz);
  }

  private enter(state: MachineState, why: string): void {
    if (this.state === state && this.why === why) return;
    this.state = state;
    this.why = why;
    this.ports.hooks?.stateChanged?.(state, why);
  }
}

/** Thrown by ports when a service did not answer within its timeout and resends. */
export class UnreachableError extends Error {
  override name = 'UnreachableError';
}
/** Thrown by a translator's port when it was answered, but not by a unit. */
export class TranslationError extends Error {
  override name = 'TranslationError';
}
function stateFor(error: unknown): StopState {
  const { name } = error as { name?: unknown };
  return name === 'UnreachableError' ? 'unreachable' : name === 'TranslationError' ? 'translation-refused' : 'crashed';
}

function settle<T>(value: MaybePromise<T>, then: (value: T) => void): Promise<void> | undefined {
  if (value instanceof Promise) return value.then(then);
  then(value);
  return undefined;
}
