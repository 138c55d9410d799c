import { CodeCache } from './code-cache.js';
import { I686_FEATURES, type CpuFeatures } from './cpuid.js';
import { NO_CONTROLS, type ExecutionControls } from './execution-controls.js';
import { ExitReason } from './exit-reason.js';
import type { PortAccess } from './io-instructions.js';
import type { MisledInstruction } from './sensitive.js';
import type { StaleTranslationWatch } from './stale-translation.js';
import { TLB_ENTRIES } from './tlb.js';
import type { TranslatedCode } from './translated-code.js';
import type { BusAccess, ProcessorEvent, ProcessorExit } from './step.js';

const { ceil } = Math;

/** Where guest RAM begins in the VM's memory; below it lie the processor state and the TLB (state.ts). */
export const RAM_BASE = 0x40000;

/** A processor whose memory is brought to it frame by frame (ring -1's interpreter): asked for one, it may throw, and the instruction is begun again later. */
export interface FrameSource {
  /** Byte offset in memory of the frame, or -1 for the empty bus. */
  wanted(frame: number): number;
}

/**
 * The machine that every instruction function takes as its parameter: views on the VM's memory and what cannot live in it.
 * One class for all VMs, no closures per VM, so that call sites stay monomorphic.
 */
export class Cpu {
  readonly memory: WebAssembly.Memory;
  readonly i32: Int32Array;
  readonly u32: Uint32Array;
  readonly u16: Uint16Array;
  readonly u8: Uint8Array;
  readonly f64: Float64Array;
  /** Byte offsets and sizes in `memory`. */
  readonly ramBytes: number;
  readonly monitorBase: number;
  readonly monitorBytes: number;
  controls: ExecutionControls = NO_CONTROLS;
  readonly exit: ProcessorExit = { reason: ExitReason.ExceptionOrNmi, qualification: 0, instructionLength: 0, guestLinear: 0, guestPhysical: 0, access: null, event: null, walk: null, instruction: null, mark: 0 };

  /** Predecoded instructions (slots.ts). */
  readonly code: CodeCache;
  /** Mode bits that decoding depends on (slots.ts), and 1 while CPL is 3. Kept by `modeChanged`. */
  mode = 0;
  user = 0;
  /** Whether a breakpoint is enabled in DR7, and which the instruction being executed has met (breakpoints.ts). */
  debugging = false;
  breakpointsMet = 0;
  /** Translations of the guest's kernel, under binary translation. */
  translatedCode: TranslatedCode | null = null;
  /** What the run loop returns after an instruction that ends a step: a StepResult, or -1. */
  stepResult = -1;
  /** Budget of the running slice; less REMAINING, what it has retired so far. */
  sliceBudget = 0;

  /** TLB entries in use, so that a flush touches only those; more than fit are found by a full scan (paging.ts). */
  readonly tlbLog = new Int32Array(1024);
  tlbLogged = 0;
  readonly tlbGlobal = new Uint8Array(2 * TLB_ENTRIES);
  /** 1 once a page larger than 4 KiB was entered: INVLPG then flushes the whole TLB. */
  tlbLarge = false;
  /** Whether uses of stale TLB entries are looked for, and what was found (stale-translation.ts). */
  staleWatch: StaleTranslationWatch | null = null;
  /** Guest-physical address of the last translation that led outside RAM. */
  busPhysical = 0;
  /** Whether it was EPT that led nowhere: the access leaves with an EPT violation, else with a bus cycle. */
  eptViolated = false;
  /** Where in memory the last translation for a write led, if its page is write-traced (`busPhysical` is its guest-physical address); else -1. */
  tracedHost = -1;
  /** Sensitive instructions that have shown a deprivileged guest what ring 0 would not: the first, and how many (sensitive.ts). */
  misled: MisledInstruction | null = null;
  misledCount = 0;
  /** Accesses outside RAM by page walks and instruction fetches, which read all ones. */
  strayReads = 0;
  /** What the TSC counts where it is not virtual time: a modelled clock's cycles. */
  timeStampSource: ((cpu: Cpu) => number) | null = null;
  /** Frames whose place differs from the default (identity over RAM, all else bus): byte offset in `memory`, or -1 for none. */
  readonly frames = new Map<number, number>();
  /** Who has the frames that are not there yet; null: they are on the empty bus. */
  frameSource: FrameSource | null = null;
  /** Answers to the bus accesses of the instruction being executed, by ordinal (memory.ts). */
  readonly replay: Uint8Array[] = [];
  /** The port access that the processor last left with (io-instructions.ts). */
  readonly portAccess: PortAccess = { string: false, repeated: false, narrow: false, length: 0, linear: 0 };

  constructor(ramBytes: number, monitorBytes: number, readonly features: CpuFeatures = I686_FEATURES) {
    const pages = ceil((RAM_BASE + ramBytes + monitorBytes) / 65_536);
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    const { buffer } = this.memory;
    this.i32 = new Int32Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.u8 = new Uint8Array(buffer);
    this.f64 = new Float64Array(buffer);
    this.ramBytes = ramBytes;
    this.monitorBase = RAM_BASE + ramBytes;
    this.monitorBytes = monitorBytes;
    this.code = new CodeCache(buffer.byteLength >>> 12);
  }
}

export type { BusAccess, ProcessorEvent };
