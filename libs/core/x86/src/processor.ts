import { instructionBreakpoints } from './breakpoints.js';
import { codeWritten, dropCode } from './code-cache.js';
import { Cpu, RAM_BASE } from './cpu.js';
import { I686_FEATURES, type CpuFeatures } from './cpuid.js';
import { disassembleBytes, type DisassembledInstruction } from './disassembler.js';
import { BOUNDARY, FAULTED, run } from './engine.js';
import { TRANSLATION_ENTRIES, TRANSLATION_GATES } from './event-counters.js';
import type { ExecutionControls } from './execution-controls.js';
import { ExitReason } from './exit-reason.js';
import { DB, EXIT, GP, NP, PF, SS_FAULT } from './fault.js';
import { getEflags, IF, RF, setEflags, TF } from './flags.js';
import { combineEvents, injectEvent, interrupt } from './interrupts.js';
import { assistInstruction, describeInstruction } from './instruction-assist.js';
import { completePort } from './io-instructions.js';
import { MODE_CODE32 } from './mode.js';
import { readMsr, writeMsr } from './msr.js';
import { isSoftwareInterrupt } from './operations.js';
import { flushPage, flushTlb, peekLinear, physicalOffset, readPhysicalWord, resetTlb } from './paging.js';
import { modeChanged } from './slots.js';
import {
  ACTIVITY, BUS_ORDINAL, CPL, CR0, CR2, CR3, CR4, CS, CS_SPACE, CURRENT_SLOT, DR6, DR7, DS, EAX, EBP, EBX, ECX, EDI, EDX, EFLAGS_SYSTEM, EIP, ES, ESI, ESP, EVENTS_WITHOUT_PROGRESS, EXECUTED, EXTRA_EXECUTED, FAULT_ERROR, FAULT_HAS_ERROR,
  FAULT_VECTOR, FS, GDTR_BASE, GS, IDTR_BASE, INTERRUPT_SHADOW, INTR_LINE, LDTR, LDTR_SPACE, PDPTE, REMAINING, REP_DONE, REP_UNFINISHED, RETIRED, RIGHTS_UNUSABLE, SEGMENTS, SEGMENT_BASE, SEGMENT_LIMIT, SEGMENT_RIGHTS,
  SEGMENT_SELECTOR, SEGMENT_WORDS, SHADOW_MOV_SS, SKIPPED, SS, TR, TRAP_DUE, TR_SPACE,
} from './state.js';
import type { StaleTranslation } from './stale-translation.js';
import { EventType, StepResult, type ProcessorEvent, type ProcessorExit } from './step.js';
import { FAULT } from './fault.js';
import { MARK_INSIDE, observeGuest, type TranslatedCode } from './translated-code.js';
import { runTranslated } from './translated-engine.js';

export type ProcessorSpace = 'guest' | 'monitor';
export interface SegmentValue { selector: number; base: number; limit: number; rights: number; space?: ProcessorSpace }
export interface TableValue { base: number; limit: number; space: ProcessorSpace }
export interface ProcessorOptions { ramBytes: number; monitorBytes?: number; features?: Partial<CpuFeatures> }

const REGISTERS = { eax: EAX, ecx: ECX, edx: EDX, ebx: EBX, esp: ESP, ebp: EBP, esi: ESI, edi: EDI, eip: EIP, cr0: CR0, cr2: CR2, cr3: CR3, cr4: CR4, cpl: CPL } as const;
export type ProcessorRegister = keyof typeof REGISTERS | 'eflags';
const SEGMENT_NUMBERS = { es: ES, cs: CS, ss: SS, ds: DS, fs: FS, gs: GS, ldtr: LDTR, tr: TR } as const;
export type ProcessorSegment = keyof typeof SEGMENT_NUMBERS;

/** Longest slice that fits the run loop's 31-bit counter. */
const LONGEST_SLICE = 0x3fff_ffff;
/**
 * Exception storms: a handler whose first instruction faults again retires nothing, so time would stand still for ever. As on
 * hardware it passes: from this many events in a row on, each costs one nanosecond of guest time and one unit of budget.
 */
const STORM = 16;
const DR6_SINGLE_STEP = 1 << 14;
const CR0_PG = 1 << 31;
const CR4_PAE = 1 << 5;
const LIMITED_READ = 4096;
const { min, floor } = Math;

/** An exit for one of the accesses an instruction (or an event's delivery) makes, which happens again once it is answered. */
function isMemoryExit({ exit, controls }: Cpu): boolean {
  switch (exit.reason) {
    case ExitReason.EptViolation:
    case ExitReason.EptMisconfiguration:
    case ExitReason.WriteTrace:
      return true;
    default:
      return controls.shadowRoot !== null && exit.event?.vector === PF;
  }
}

/** Faults by which privileged instructions and segment loads of a deprivileged kernel show. */
const EMULATED_FAULTS: ReadonlySet<number> = new Set([GP, NP, SS_FAULT]);

export interface Boundary {
  /** Events delivered since the guest left, before the instruction that the answer completes. */
  readonly events: number;
  /** SHADOW_STI, SHADOW_MOV_SS or 0. */
  readonly shadow: number;
  /** Bits of DR6 for the debug trap that is due, 0 for none; null: as EFLAGS.TF has it. */
  readonly trap: number | null;
  /** The instruction is a REP that has more to do. */
  readonly repUnderWay: boolean;
  /** imm32 of an annotation NOP, if the instruction was one; else 0. */
  readonly mark: number;
}

type Pending = 'none' | 'instruction' | 'access';

/** One IA-32 processor with its memory. It stands still between calls of `step`, at an instruction boundary or an exit. */
export class Processor {
  readonly cpu: Cpu;
  /** What the last step that left for somebody ended on. */
  readonly exit: ProcessorExit;
  private pending: Pending = 'none';
  /** A result that came up outside a step (an event delivered between two), for the next one to return. */
  private waitingResult = BOUNDARY;
  /** An event whose delivery left the guest for memory. */
  private undelivered: { vector: number; type: EventType; errorCode: number | null; injected: boolean } | null = null;
  private observer: ((cpu: Cpu) => void) | null = null;
  /** An instruction has completed that the observer has not seen: it is called when what its exit's answer changes has been applied. */
  private observationDue = false;
  /** A REP instruction stands in the middle, unobserved. */
  private repUnderWay = false;
  /** Instructions or events until `stepOnce` is done. */
  private boundariesLeft = Infinity;

  constructor(options: ProcessorOptions) {
    this.cpu = new Cpu(options.ramBytes, options.monitorBytes ?? 0, { ...I686_FEATURES, ...options.features });
    this.exit = this.cpu.exit;
    this.initialize();
  }

  /** Protected mode with flat 32-bit segments at level 0, paging and interrupts off, memory zero: a Multiboot loader sets the rest (Multiboot 3.2). */
  reset(): void {
    this.cpu.u8.fill(0);
    dropCode(this.cpu);
    this.initialize();
  }

  /** The memory of a new VM is zero already, and stays untouched: RAM that is never written costs nothing. */
  private initialize(): void {
    const { cpu } = this;
    resetTlb(cpu);
    setEflags(cpu, 2);
    cpu.i32[CR0] = 0x11; // PE, ET
    cpu.i32[DR6] = 0xffff0ff0;
    cpu.i32[DR7] = 0x400;
    for (const segment of [ES, SS, DS, FS, GS]) this.loadSegment(segment, 0x10, 0, 0xffff_ffff, 0xc093);
    this.loadSegment(CS, 0x08, 0, 0xffff_ffff, 0xc09b);
    this.loadSegment(LDTR, 0, 0, 0, RIGHTS_UNUSABLE);
    this.loadSegment(TR, 0, 0, 0xffff, 0x8b);
    this.pending = 'none';
    this.waitingResult = BOUNDARY;
    this.undelivered = null;
    this.observationDue = this.repUnderWay = false;
    cpu.replay.length = 0;
    modeChanged(cpu);
  }

  // ---- Execution -----------------------------------------------------------------------------------------------------------

  /**
   * Execute at most `budget` instructions (iterations of a REP count one each), less if something comes up. (A REP INS or OUTS that the budget still
   * reaches leaves for its whole page run, and completing that access can retire more.)
   */
  step(budget: number): StepResult {
    const { cpu } = this;
    const { i32, f64 } = cpu;
    // An event whose delivery left between two steps is delivered anew, so that the exit says all again.
    if (this.undelivered !== null) this.waitingResult = BOUNDARY;
    if (this.waitingResult === BOUNDARY) {
      cpu.exit.access = null;
      cpu.exit.event = null;
      cpu.exit.walk = null;
      cpu.exit.instruction = null;
    }
    this.pending = 'none';
    this.observe();
    if (i32[CS_SPACE] !== 0) cpu.translatedCode!.resume(cpu);
    let left = floor(budget);
    for (;;) {
      const slice = left > LONGEST_SLICE ? LONGEST_SLICE : left > 0 ? left : 0;
      i32[REMAINING] = cpu.sliceBudget = slice;
      const result = this.slice();
      const done = cpu.sliceBudget - i32[REMAINING]!;
      f64[RETIRED] = f64[RETIRED]! + done;
      f64[EXECUTED] = f64[EXECUTED]! + done + i32[EXTRA_EXECUTED]!;
      i32[EXTRA_EXECUTED] = 0;
      cpu.sliceBudget = i32[REMAINING] = 0;
      left -= slice;
      if (result !== StepResult.Budget || left <= 0) return result;
    }
  }

  /**
   * One instruction (or iteration of a REP) or one event, whichever comes first, and nothing of what is due at the boundary behind it. `budget` 0: only an
   * event that has begun.
   */
  stepOnce(budget: 0 | 1): StepResult {
    this.boundariesLeft = 1;
    try {
      return this.step(budget);
    } finally {
      this.boundariesLeft = Infinity;
    }
  }

  private slice(): StepResult {
    const { cpu } = this;
    const { i32 } = cpu;
    for (;;) {
      if (this.waitingResult !== BOUNDARY) {
        const result = this.waitingResult as StepResult;
        this.waitingResult = BOUNDARY;
        return this.left(result);
      }
      if (this.undelivered !== null) {
        const { vector, type, errorCode, injected } = this.undelivered;
        const event = this.undelivered;
        this.undelivered = null;
        try {
          this.deliver(vector, type, errorCode, injected);
        } catch (thrown) {
          this.undelivered = event; // a frame is wanted (cpu.frameSource)
          throw thrown;
        }
        continue;
      }
      if (this.boundariesLeft <= 0) return StepResult.Budget;
      if (cpu.staleWatch !== null) cpu.staleWatch.retired = cpu.f64[RETIRED]! + cpu.sliceBudget - i32[REMAINING]!;
      if (i32[ACTIVITY] !== 0) return i32[ACTIVITY] === 1 ? StepResult.Halted : StepResult.Stopped;
      if (i32[TRAP_DUE] !== 0) {
        i32[DR6]! |= i32[TRAP_DUE]!;
        i32[TRAP_DUE] = 0;
        this.observeRep();
        if (!this.deliver(DB, EventType.HardwareException, null)) continue;
      }
      if (i32[INTR_LINE] !== 0 && this.interruptible && !this.insideInstruction) return StepResult.InterruptWindow;
      if (i32[REMAINING]! <= 0) return StepResult.Budget;
      if (cpu.translatedCode !== null && i32[CS_SPACE] === 0 && (i32[CPL] !== 3 || !cpu.translatedCode.runsDirectly)) {
        const way = this.enterTranslated(cpu.translatedCode);
        if (way === 'left') return this.left(cpu.stepResult as StepResult);
        if (way === 'fault') continue;
      }
      const translated = i32[CS_SPACE] !== 0;

      const flags = i32[EFLAGS_SYSTEM]!;
      const shadow = i32[INTERRUPT_SHADOW]!;
      const replaying = cpu.replay.length > 0;
      if (cpu.debugging) {
        cpu.breakpointsMet = 0;
        const met = !translated && (flags & RF) === 0 && shadow !== SHADOW_MOV_SS && !replaying ? instructionBreakpoints(cpu, i32[EIP]!) : 0;
        if (met !== 0) {
          i32[DR6]! |= met;
          this.deliver(DB, EventType.HardwareException, null);
          continue;
        }
      }
      const single = cpu.debugging || cpu.staleWatch !== null || this.observer !== null || shadow !== 0 || replaying || (flags & (TF | RF)) !== 0;
      const before = i32[REMAINING]!;
      // Under TF a REP traps after every iteration, and so it does at a data breakpoint (SDM Vol. 3B 17.3.1.2, 17.3.1.4).
      const heldBack = cpu.debugging || (flags & TF) !== 0 ? before - 1 : 0;
      i32[REMAINING] = before - heldBack;
      cpu.sliceBudget -= heldBack;
      i32[INTERRUPT_SHADOW] = 0;
      i32[REP_UNFINISHED] = 0;
      const result = translated ? runTranslated(cpu, single) : run(cpu, single);
      const done = before - heldBack - i32[REMAINING]!;
      i32[REMAINING]! += heldBack;
      cpu.sliceBudget += heldBack;
      if (done > 0) i32[EVENTS_WITHOUT_PROGRESS] = 0;

      if (result === FAULTED) {
        if (this.observer !== null && i32[REP_DONE] !== 0) this.repUnderWay = true;
        // Of a deprivileged guest it may be ring -1's alone: what is delivered splits a REP when the answer says so (setBoundary).
        if (!cpu.controls.deprivileged) this.observeRep();
        this.forgetReplay();
        if (translated && cpu.translatedCode!.recoverFault(cpu)) return this.left(StepResult.Exit);
        this.deliver(i32[FAULT_VECTOR]!, EventType.HardwareException, i32[FAULT_HAS_ERROR] === 0 ? null : i32[FAULT_ERROR]!);
        continue;
      }
      if (result === StepResult.Exit || result === StepResult.BusCycle || result === StepResult.Stopped) {
        if (done === 0) i32[INTERRUPT_SHADOW] = shadow;
        else if (this.observer !== null) this.repUnderWay = true;
        i32[BUS_ORDINAL] = 0;
        if (translated && !this.leavesTranslated(cpu.translatedCode!)) continue;
        return this.left(result);
      }
      if (translated && done === 0) i32[INTERRUPT_SHADOW] = shadow;
      // The instruction (or all of several) completed.
      if (done > 0) this.boundariesLeft--;
      if (replaying && (!translated || done > 0)) this.forgetReplay();
      if (single) {
        if ((flags & RF) !== 0 && (!translated || done > 0)) i32[EFLAGS_SYSTEM]! &= ~RF;
        if ((flags & TF) !== 0 && done > 0 && i32[INTERRUPT_SHADOW] !== SHADOW_MOV_SS && !(isSoftwareInterrupt(cpu.code.slots[i32[CURRENT_SLOT]!]!) && (i32[EFLAGS_SYSTEM]! & TF) === 0)) i32[TRAP_DUE]! |= DR6_SINGLE_STEP;
        i32[TRAP_DUE]! |= cpu.breakpointsMet;
        if (this.observer !== null && done > 0) {
          if (i32[REP_UNFINISHED] !== 0) this.repUnderWay = true;
          else {
            this.repUnderWay = false;
            this.callObserver(this.observer);
          }
        }
      }
      if (result === StepResult.Mark) return StepResult.Mark;
    }
  }

  /** Translated code stands inside a guest instruction. */
  private get insideInstruction(): boolean {
    const { i32, translatedCode } = this.cpu;
    return translatedCode !== null && i32[CS_SPACE] !== 0 && (translatedCode.marks[i32[EIP]!]! & MARK_INSIDE) !== 0;
  }

  /** From the guest's EIP into translated code. `left`: there is none yet, or the fetch left; `fault`: the fetch's has been delivered. */
  private enterTranslated(translated: TranslatedCode): 'entered' | 'left' | 'fault' {
    const { cpu } = this;
    try {
      if (translated.enter(cpu)) {
        cpu.f64[TRANSLATION_ENTRIES]! += 1;
        return 'entered';
      }
      cpu.exit.reason = ExitReason.TranslationMiss;
      cpu.exit.qualification = 0;
      cpu.exit.instructionLength = 0;
      cpu.stepResult = StepResult.Exit;
      return 'left';
    } catch (thrown) {
      if (thrown === EXIT) return 'left';
      if (thrown !== FAULT) throw thrown;
      this.deliver(cpu.i32[FAULT_VECTOR]!, EventType.HardwareException, cpu.i32[FAULT_HAS_ERROR] === 0 ? null : cpu.i32[FAULT_ERROR]!);
      return 'fault';
    }
  }

  /** What translated code left with. False: it goes on. An access of its first host instruction is answered there; for anything else the guest is put back first. */
  private leavesTranslated(translated: TranslatedCode): boolean {
    const { cpu } = this;
    if (cpu.exit.reason === ExitReason.TranslationMiss && cpu.stepResult === StepResult.Exit) {
      try {
        const way = translated.gate(cpu);
        if (way === 'go-on') cpu.f64[TRANSLATION_GATES]! += 1;
        return way === 'exit';
      } catch (thrown) {
        if (thrown === EXIT) return true;
        if (thrown !== FAULT) throw thrown;
        this.deliver(cpu.i32[FAULT_VECTOR]!, EventType.HardwareException, cpu.i32[FAULT_HAS_ERROR] === 0 ? null : cpu.i32[FAULT_ERROR]!);
        return false;
      }
    }
    if (cpu.exit.access !== null && cpu.stepResult === StepResult.Exit && cpu.exit.reason === ExitReason.WriteTrace) translated.traced(cpu);
    // An access in the middle of a sequence: all of it runs again, with the answers to its accesses in their order.
    if (cpu.exit.access === null || this.insideInstruction) translated.recover(cpu);
    return true;
  }

  private callObserver(observer: (cpu: Cpu) => void): void {
    const { cpu } = this;
    if (cpu.translatedCode === null) observer(cpu);
    else observeGuest(cpu, cpu.translatedCode, observer);
  }

  /** The registers are the guest's from here on: for whoever reads or changes them between two steps. */
  leaveTranslatedCode(): void {
    const { cpu } = this;
    if (cpu.i32[CS_SPACE] !== 0) cpu.translatedCode!.recover(cpu);
  }

  /** Who keeps the translations of the guest's kernel; null for none: code above ring 3 then runs as it is. */
  setTranslatedCode(translatedCode: TranslatedCode | null): void {
    const { cpu } = this;
    if (cpu.i32[CS_SPACE] !== 0) cpu.translatedCode?.recover(cpu);
    cpu.translatedCode = translatedCode;
    cpu.code.translatedJumps.fill(0);
  }

  private left(result: StepResult): StepResult {
    const { access, event } = this.exit;
    if (event !== null && result === StepResult.Exit && this.cpu.controls.shadowRoot !== null && this.exit.reason === ExitReason.DeprivilegedException && EMULATED_FAULTS.has(event.vector)) {
      assistInstruction(this.cpu, describeInstruction(this.cpu));
    }
    this.pending = access !== null ? 'access' : 'instruction';
    // A miss is answered with nothing for the guest: no instruction of its is under way, and an interrupt shadow holds.
    if (result === StepResult.Stopped || (result === StepResult.Exit && this.exit.reason === ExitReason.TranslationMiss)) this.pending = 'none';
    return result;
  }

  /**
   * Deliver an event at this boundary; false if that left the guest, which the next slice reports. `interrupted` is the event whose
   * delivery met this one, a fault: together they may be a double fault.
   */
  private deliver(vector: number, type: EventType, errorCode: number | null, injected = false, interrupted: { vector: number; type: EventType } | null = null): boolean {
    const { cpu } = this;
    const { i32 } = cpu;
    if (i32[CS_SPACE] !== 0) cpu.translatedCode!.recover(cpu);
    try {
      if (interrupted !== null) ({ vector, type, errorCode } = combineEvents(cpu, interrupted, { vector, type, errorCode }));
      if (injected) injectEvent(cpu, vector, type, errorCode);
      else interrupt(cpu, vector, type, errorCode);
    } catch (thrown) {
      if (thrown !== EXIT) throw thrown;
      i32[BUS_ORDINAL] = 0;
      this.waitingResult = cpu.stepResult;
      // An access of the delivery itself left: the event is delivered again when that is answered.
      if (cpu.stepResult === StepResult.BusCycle || (cpu.stepResult === StepResult.Exit && isMemoryExit(cpu))) {
        this.undelivered = { vector, type, errorCode, injected };
      }
      return false;
    }
    this.forgetReplay();
    this.boundariesLeft--;
    this.countEvent();
    return true;
  }

  private countEvent(): void {
    const { cpu } = this;
    if (++cpu.i32[EVENTS_WITHOUT_PROGRESS]! <= STORM) return;
    cpu.f64[SKIPPED]! += 1;
    if (cpu.i32[REMAINING]! > 0) {
      cpu.i32[REMAINING]!--;
      cpu.sliceBudget--;
    }
  }

  private forgetReplay(): void {
    this.cpu.replay.length = 0;
    this.cpu.i32[BUS_ORDINAL] = 0;
  }

  /** Show the observer an instruction that an answer has completed, once the answer's effects are applied. The next step does so too. */
  observe(): void {
    if (!this.observationDue) return;
    this.observationDue = false;
    if (this.observer !== null) this.callObserver(this.observer);
  }

  /** A guest-visible event splits a REP: its iterations so far count as one completed instruction to the observer. */
  private observeRep(): void {
    if (!this.repUnderWay) return;
    this.repUnderWay = false;
    if (this.observer !== null) this.callObserver(this.observer);
  }

  /** Guest instructions completed, REP iterations one each. */
  get retired(): number {
    return this.cpu.f64[RETIRED]!;
  }
  /** Instructions the processor executed: the same, until translated code runs. */
  get executed(): number {
    return this.cpu.f64[EXECUTED]!;
  }
  /** Guest time in ns: retired instructions at 1 GHz plus what was skipped. */
  get virtualTime(): number {
    return this.cpu.f64[RETIRED]! + this.cpu.f64[SKIPPED]!;
  }
  /** Let `ns` of guest time pass without executing: HLT, the real clock. */
  skipTime(ns: number): void {
    this.cpu.f64[SKIPPED]! += ns;
  }

  /** Called after each completed guest instruction, or null for none. Slow; counts do not depend on it. */
  setObserver(observer: ((cpu: Cpu) => void) | null): void {
    this.observer = observer;
    this.repUnderWay = this.observationDue = false;
  }

  /** Look for the first use of a stale TLB entry from here on. Slow; the guest goes the same way. For `native` (stale-translation.ts). */
  watchStaleTranslations(): void {
    flushTlb(this.cpu, false);
    this.cpu.staleWatch = { first: null, retired: this.retired };
  }

  /** The first use of a stale TLB entry since `watchStaleTranslations`; null for none. */
  get staleTranslation(): StaleTranslation | null {
    return this.cpu.staleWatch?.first ?? null;
  }

  // ---- Answers to what a step left with ----------------------------------------------------------------------------------------

  /**
   * Answer the access in `exit.access`. A port access is finished and retired; `data` is what was read (null and missing bytes: all ones). The
   * answer to a memory access is kept, and the next step executes the instruction again with it.
   */
  completeAccess(data: Uint8Array | null): void {
    const { access } = this.exit;
    if (this.pending !== 'access' || access === null) throw new Error('no access is waiting for an answer');
    this.pending = 'none';
    if (access.space === 'memory') {
      this.cpu.replay.push(data ?? NO_BYTES);
      return;
    }
    const finishedAt = this.cpu.i32[EIP]!;
    const count = completePort(this.cpu, data);
    if (this.cpu.debugging) this.cpu.i32[TRAP_DUE]! |= this.cpu.breakpointsMet;
    this.retire(count, this.cpu.i32[EIP] !== finishedAt);
  }

  /** The instruction that exited is done: EIP moves behind it and it counts, or `count` iterations of a REP do. */
  retireExit(count = 1): void {
    if (this.pending !== 'instruction') throw new Error('no exit is waiting for an answer');
    this.pending = 'none';
    this.cpu.i32[EIP]! += this.exit.instructionLength;
    this.retire(count, true);
  }

  private retire(count: number, finished: boolean): void {
    const { i32, f64 } = this.cpu;
    f64[RETIRED]! += count;
    f64[EXECUTED]! += count;
    i32[INTERRUPT_SHADOW] = 0;
    i32[EVENTS_WITHOUT_PROGRESS] = 0;
    this.forgetReplay();
    if ((i32[EFLAGS_SYSTEM]! & TF) !== 0) i32[TRAP_DUE]! |= DR6_SINGLE_STEP;
    i32[EFLAGS_SYSTEM]! &= ~RF;
    if (this.observer === null) return;
    this.repUnderWay = !finished;
    this.observationDue = finished;
  }

  /** What ring -1 has made of the boundary that the guest stands at, having executed an instruction or delivered an event itself. */
  setBoundary({ events, shadow, trap, repUnderWay }: Boundary): void {
    const { i32 } = this.cpu;
    if (events > 0) {
      this.observeRep();
      for (let n = 0; n < events; n++) this.countEvent();
    }
    i32[INTERRUPT_SHADOW] = shadow;
    if (trap !== null) i32[TRAP_DUE] = trap;
    if (repUnderWay) {
      this.observationDue = false;
      this.repUnderWay = true;
    }
  }

  /**
   * Deliver `event` instead of what the guest was about to do, as a VM entry does. Software interrupts and exceptions return behind the instruction
   * that exited, which then counts.
   */
  inject(event: ProcessorEvent, cr2?: number): void {
    const { cpu } = this;
    const software = event.type === EventType.SoftwareInterrupt || event.type === EventType.PrivilegedSoftwareException || event.type === EventType.SoftwareException;
    if (software && this.pending === 'instruction') this.retireExit();
    this.pending = 'none';
    const interrupted = this.undelivered;
    this.undelivered = null;
    this.observe();
    this.observeRep();
    this.forgetReplay();
    if (cr2 !== undefined) cpu.i32[CR2] = cr2;
    this.deliver(event.vector, event.type, event.errorCode, true, event.type === EventType.HardwareException ? interrupted : null);
  }

  /** Deliver an external interrupt at this boundary, which must be `interruptible`; wakes a halted processor. */
  deliverInterrupt(vector: number): void {
    this.pending = 'none';
    this.observe();
    this.observeRep();
    this.deliver(vector, EventType.ExternalInterrupt, null);
  }

  /** Level of the INTR pin. */
  setIntr(level: boolean): void {
    this.cpu.i32[INTR_LINE] = level ? 1 : 0;
    this.cpu.translatedCode?.setPending(level);
  }

  /**
   * IF = 1 and no shadow: at the boundary behind the pending exit, its instruction taken as retired, or here when none is pending. Not in the
   * middle of an instruction whose memory access has been answered, nor of an event's delivery.
   */
  get interruptible(): boolean {
    const { i32, replay, translatedCode } = this.cpu;
    const enabled = translatedCode === null ? (i32[EFLAGS_SYSTEM]! & IF) !== 0 : translatedCode.interruptFlag;
    return enabled && this.undelivered === null && replay.length === 0 && (this.pending !== 'none' || i32[INTERRUPT_SHADOW] === 0);
  }

  setControls(controls: ExecutionControls): void {
    this.cpu.controls = controls;
    flushTlb(this.cpu, false);
    modeChanged(this.cpu);
  }

  // ---- Memory ------------------------------------------------------------------------------------------------------------------

  private offset(space: ProcessorSpace, address: number): number {
    if (space === 'guest') return physicalOffset(this.cpu, address);
    return address < this.cpu.monitorBytes ? this.cpu.monitorBase + address : -1;
  }

  /** Copy of physical memory; bytes outside RAM are 0xFF. */
  readPhysical(space: ProcessorSpace, address: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length).fill(0xff);
    for (let done = 0; done < length;) {
      const count = min(length - done, 4096 - ((address + done) & 0xfff));
      const at = this.offset(space, address + done);
      if (at >= 0) bytes.set(this.cpu.u8.subarray(at, at + count), done);
      done += count;
    }
    return bytes;
  }

  /** Write physical memory as DMA does: predecoded code made of it is forgotten; bytes outside RAM are dropped. */
  writePhysical(space: ProcessorSpace, address: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) {
      const count = min(bytes.length - done, 4096 - ((address + done) & 0xfff));
      const at = this.offset(space, address + done);
      if (at >= 0) {
        this.cpu.u8.set(bytes.subarray(done, done + count), at);
        codeWritten(this.cpu, at, count);
      }
      done += count;
    }
  }

  /** Read through the guest's page tables as supervisor, without side effects; null if any byte is not mapped to RAM. */
  readLinear(linear: number, length: number): Uint8Array | null {
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length;) {
      const from = (linear + done) | 0;
      const count = min(length - done, LIMITED_READ - (from & 0xfff));
      const at = peekLinear(this.cpu, from);
      if (at < 0) return null;
      bytes.set(this.cpu.u8.subarray(at, at + count), done);
      done += count;
    }
    return bytes;
  }

  /** Where a machine frame lies: by default frame n is frame n of RAM; null is the empty bus. */
  mapFrame(frame: number, target: { space: ProcessorSpace; frame: number } | null): void {
    const { cpu } = this;
    const base = target === null ? -1 : (target.space === 'guest' ? RAM_BASE : cpu.monitorBase) + target.frame * 4096;
    const end = target === null ? 0 : target.space === 'guest' ? cpu.ramBytes : cpu.monitorBytes;
    if (target !== null && (target.frame + 1) * 4096 > end) throw new RangeError(`frame ${target.frame} lies outside ${target.space} memory`);
    cpu.frames.set(frame, base);
    flushTlb(cpu, false);
  }

  flushTlb(scope: 'all' | 'non-global'): void {
    flushTlb(this.cpu, scope === 'non-global');
  }
  flushPage(linear: number): void {
    flushPage(this.cpu, linear);
  }

  // ---- Registers -----------------------------------------------------------------------------------------------------------------

  getRegister(name: ProcessorRegister): number {
    return (name === 'eflags' ? getEflags(this.cpu) : this.cpu.i32[REGISTERS[name]]!) >>> 0;
  }

  /** Set a register as a VM entry does: no privilege checks; control registers flush the TLB and load the PAE pointers. */
  setRegister(name: ProcessorRegister, value: number): void {
    const { cpu } = this;
    if (name === 'eflags') {
      setEflags(cpu, value);
      return;
    }
    cpu.i32[REGISTERS[name]] = value;
    if (name === 'cr0' || name === 'cr3' || name === 'cr4') {
      flushTlb(cpu, false);
      if ((cpu.i32[CR0]! & CR0_PG) !== 0 && (cpu.i32[CR4]! & CR4_PAE) !== 0) {
        const table = (cpu.i32[CR3]! & ~0x1f) >>> 0;
        for (let word = 0; word < 8; word++) cpu.i32[PDPTE + word] = readPhysicalWord(cpu, table + word * 4);
      }
    }
    modeChanged(cpu);
  }

  getSegment(name: ProcessorSegment): SegmentValue {
    const { i32 } = this.cpu;
    const at = SEGMENTS + SEGMENT_NUMBERS[name] * SEGMENT_WORDS;
    return { selector: i32[at + SEGMENT_SELECTOR]! & 0xffff, base: i32[at + SEGMENT_BASE]! >>> 0, limit: i32[at + SEGMENT_LIMIT]! >>> 0, rights: i32[at + SEGMENT_RIGHTS]! >>> 0 };
  }

  setSegment(name: ProcessorSegment, value: SegmentValue): void {
    this.loadSegment(SEGMENT_NUMBERS[name], value.selector, value.base, value.limit, value.rights);
    if (name === 'ldtr') this.cpu.i32[LDTR_SPACE] = value.space === 'monitor' ? 1 : 0;
    if (name === 'tr') this.cpu.i32[TR_SPACE] = value.space === 'monitor' ? 1 : 0;
    modeChanged(this.cpu);
  }

  private loadSegment(segment: number, selector: number, base: number, limit: number, rights: number): void {
    const { i32 } = this.cpu;
    const at = SEGMENTS + segment * SEGMENT_WORDS;
    i32[at + SEGMENT_SELECTOR] = selector;
    i32[at + SEGMENT_BASE] = base;
    i32[at + SEGMENT_LIMIT] = limit;
    i32[at + SEGMENT_RIGHTS] = rights;
  }

  setTable(table: 'gdtr' | 'idtr', value: TableValue): void {
    const at = table === 'gdtr' ? GDTR_BASE : IDTR_BASE;
    this.cpu.i32[at] = value.base;
    this.cpu.i32[at + 1] = value.limit;
    this.cpu.i32[at + 2] = value.space === 'monitor' ? 1 : 0;
  }

  /** Null: no such MSR. */
  readMsr(msr: number): bigint | null {
    return readMsr(this.cpu, msr);
  }
  writeMsr(msr: number, value: bigint): void {
    writeMsr(this.cpu, msr, value);
  }

  // ---- Disassembly ----------------------------------------------------------------------------------------------------------------

  /** Disassemble `count` instructions. `address` is linear, or physical in the space named; EIP-relative targets are shown as from there. */
  disassemble(space: ProcessorSpace | 'linear', address: number, count: number): DisassembledInstruction[] {
    const length = count * 15;
    const bytes = space === 'linear' ? this.readMapped(address, length) : this.readPhysical(space, address, length);
    return disassembleBytes(bytes, address, count, (this.cpu.mode & MODE_CODE32) !== 0);
  }

  /** As much as is mapped, from `linear` on. */
  private readMapped(linear: number, length: number): Uint8Array {
    const inPage = 4096 - (linear & 0xfff);
    if (length <= inPage) return this.readLinear(linear, length) ?? NO_BYTES;
    return this.readLinear(linear, length) ?? this.readLinear(linear, inPage) ?? NO_BYTES;
  }
}

const NO_BYTES = new Uint8Array(0);
