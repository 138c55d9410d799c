/** What guest-cpu asks a translator. The answer depends on nothing else: the same bytes get the same unit, whoever translates. */
export interface TranslationRequest {
  /** Guest code from `eip` to the end of its page; or, where its first instruction reaches into the next page, a few bytes beyond. */
  readonly bytes: Uint8Array;
  /** Offset in CS of the first byte. */
  readonly eip: number;
  /** Low 12 bits of its linear address: where the page ends, and which targets lie in it. */
  readonly pageOffset: number;
  readonly mode: TranslationMode;
  /** `LAYOUT_VERSION` of the asking processor's monitor data. */
  readonly layout: number;
}

/** What a translation depends on besides its bytes. Bit 0 CS.D, bit 1 SS.B, bits 2–3 virtual CPL, bit 4 virtual IOPL is not 0, bit 5 MODE_ASK. */
export type TranslationMode = number;
export const MODE_CODE32 = 1;
export const MODE_STACK32 = 2;
export const MODE_CPL_SHIFT = 2;
export const MODE_IOPL = 16;
/** The first instruction is a store that has met write traces often: the unit is it alone, behind a callout that asks first. */
export const MODE_ASK = 32;

/** Gates in the monitor's IDT by which translated code leaves the cache. */
export const GATE_CALLOUT = 0x83;
export const GATE_EXIT = 0x84;

/** At most so many guest instructions become one unit. */
export const MOST_INSTRUCTIONS = 12;

/** What became of one guest instruction, and why. */
export type Treatment =
  /** Copied as it is. */ 'ident'
  /** A transfer to a known target. */ | 'direct'
  /** A transfer to a computed target, found in the lookup table. */ | 'indirect'
  /** Rewritten to work on the monitor data area. */ | 'in-cache'
  /** Left to ring -1. */ | 'callout';

export interface TranslatedInstruction {
  /** Offset in the unit's guest bytes, and length. */
  readonly at: number;
  readonly length: number;
  /** Host code from, to (exclusive); exits and slow ways may lie behind `to`. */
  readonly from: number;
  readonly to: number;
  readonly treatment: Treatment;
  readonly why: string;
}

export type UnitExit =
  /** `int 0x84` and three bytes, to be patched into a jump once the unit at `target` (same page) is there. */
  | { readonly kind: 'direct'; readonly at: number; readonly target: number }
  /** A jump to the lookup stub, relative address still 0. */
  | { readonly kind: 'lookup'; readonly at: number }
  /** `int 0x84` behind an instruction that has set IF while an interrupt waits; goes on behind it. */
  | { readonly kind: 'pending'; readonly at: number; readonly shadow: boolean }
  /** `int 0x83`: ring -1 executes the guest instruction at this offset of the guest bytes. In a unit of MODE_ASK ring -1 is told of the store behind, which is executed there. */
  | { readonly kind: 'callout'; readonly at: number; readonly instruction: number };

/** Executing the host instruction completes a guest instruction: it is counted. */
export const COMMITS = 1;
/** The guest's EIP is in TARGET, not in the side table. */
export const DYNAMIC_EIP = 2;
/** A fault of this host instruction (a segment load) is a callout, not the guest's fault. */
export const FAULT_IS_CALLOUT = 4;
/** The virtual IF that the guest has is in KEPT_IF. */
export const IF_KEPT = 8;
/** In the stub of a gate: the event that came through it has not been delivered yet; the guest still stands at its INT. */
export const UNDELIVERED = 16;
/** Bits 8–15: general registers whose guest value is in SAVED, by number. */
export const SPILLED_SHIFT = 8;
/** Words of a side-table entry: host offset, guest EIP, flags. */
export const SIDE_WORDS = 3;

export interface TranslationUnit {
  readonly eip: number;
  readonly mode: TranslationMode;
  readonly layout: number;
  /** The guest bytes that it was made of. */
  readonly guest: Uint8Array;
  /** Whether its one instruction lies in two pages: no other unit may be chained to it. */
  readonly straddles: boolean;
  readonly code: Uint8Array;
  readonly instructions: readonly TranslatedInstruction[];
  readonly exits: readonly UnitExit[];
  /**
   * An entry for every host instruction, in order: the guest's EIP as it is when this host instruction is about to be executed (the instruction
   * it works for, or the one behind it once that has committed), and what to put back before anybody sees the guest there.
   */
  readonly sideTable: Int32Array;
}

/** The guest bytes end inside the first instruction (the next page is needed), or the mode is one that is not translated. */
export interface TranslationRefused { readonly refused: 'more-bytes' | 'mode' | 'layout' }

export function isRefused(answer: TranslationUnit | TranslationRefused): answer is TranslationRefused {
  return 'refused' in answer;
}
