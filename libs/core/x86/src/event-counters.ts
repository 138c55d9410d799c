import type { Cpu } from './cpu.js';

/*
 * What happened in the processor beside plain instructions, counted for the modelled clock: each of these costs cycles of its own on
 * real hardware. They are f64 words in the VM's memory behind the instruction counters (state.ts), counted once the thing
 * is done; one that faults or leaves the guest has not happened. All of them are rare beside instructions, so they are always
 * counted. A person's look at memory counts nothing.
 */
const FIRST = 264;
export const GATE_ENTRIES = FIRST;
export const IRETS = FIRST + 1;
/** Paging-structure entries read by page walks: the guest's own, or a shadow's. */
export const PAGE_WALK_READS = FIRST + 2;
export const NESTED_WALK_READS = FIRST + 3;
/** Page-directory-pointer entries loaded with CR3 are part of the write. */
export const CONTROL_REGISTER_WRITES = FIRST + 4;
/** By MOV, POP, LDS and the like, of a descriptor: a null selector reads none. */
export const SEGMENT_LOADS = FIRST + 5;
export const DIVISIONS = FIRST + 6;
export const SERIALIZING = FIRST + 7;
export const TIME_STAMPS = FIRST + 8;
/** At the end of each look-up of translated code: one jump for all targets, which no processor of its time foresees. */
export const LOOKUP_JUMPS = FIRST + 9;
/** Gates of translated code that lead to the monitor and straight back: where to go on, or whether an interrupt waits. */
export const TRANSLATION_GATES = FIRST + 10;
/** Translated code entered by the guest's EIP: the monitor has looked it up. */
export const TRANSLATION_ENTRIES = FIRST + 11;
/** Far JMP, CALL and RET. */
export const FAR_TRANSFERS = FIRST + 12;
/** SYSENTER and SYSEXIT. */
export const FAST_SYSTEM_CALLS = FIRST + 13;

/** The counters by name, as a record of their values now. */
export function eventCounts({ f64 }: Cpu): ProcessorEventCounts {
  return {
    gateEntries: f64[GATE_ENTRIES]!, irets: f64[IRETS]!, pageWalkReads: f64[PAGE_WALK_READS]!, nestedWalkReads: f64[NESTED_WALK_READS]!,
    controlRegisterWrites: f64[CONTROL_REGISTER_WRITES]!, segmentLoads: f64[SEGMENT_LOADS]!, divisions: f64[DIVISIONS]!,
    serializing: f64[SERIALIZING]!, timeStamps: f64[TIME_STAMPS]!, lookupJumps: f64[LOOKUP_JUMPS]!,
    translationGates: f64[TRANSLATION_GATES]!, translationEntries: f64[TRANSLATION_ENTRIES]!, farTransfers: f64[FAR_TRANSFERS]!, fastSystemCalls: f64[FAST_SYSTEM_CALLS]!,
  };
}

/** An event that went through a gate into the translation cache has not been delivered after all: it begins anew. */
export function forgetGateEntry({ f64 }: Cpu): void {
  f64[GATE_ENTRIES]! -= 1;
}

export interface ProcessorEventCounts {
  /** Events delivered through a gate of the IDT, INT n among them. */
  readonly gateEntries: number;
  readonly irets: number;
  readonly pageWalkReads: number;
  readonly nestedWalkReads: number;
  /** MOV to CRn, CLTS, LMSW, LGDT, LIDT, LLDT, LTR. */
  readonly controlRegisterWrites: number;
  readonly segmentLoads: number;
  readonly divisions: number;
  /** CPUID, INVLPG, WRMSR. */
  readonly serializing: number;
  readonly timeStamps: number;
  readonly lookupJumps: number;
  readonly translationGates: number;
  readonly translationEntries: number;
  readonly farTransfers: number;
  readonly fastSystemCalls: number;
}
