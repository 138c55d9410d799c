import type { MonitorPrimitive } from './modelled/cost-table.js';
import type { BusAccess, ExitReason, GuestWalk, InstructionAssist, ProcessorEvent } from '@ringside/x86';
import type { Effect, SegmentName } from './effect.js';

/** General registers and the rest of the integer state. 32-bit values are unsigned. */
export interface RegisterState {
  /** EAX ECX EDX EBX ESP EBP ESI EDI. */
  general: Uint32Array;
  eip: number;
  eflags: number;
  cr0: number; cr2: number; cr3: number; cr4: number;
  cpl: number;
}
export interface SegmentState { selector: number; base: number; limit: number; rights: number }

/**
 * State groups: which parts of the state an exit carries, so that a handler gets what it needs and no more
 * (NOVA's message transfer descriptors). A bit mask.
 */
export const StateGroup = { Registers: 1, Segments: 2 } as const;

/** guest-cpu → ring -1: control has left the guest. The guest stands still until the reply is applied. */
export interface Exit {
  vmId: string;
  /** Bumped whenever the machine (re)starts or changes owner. */
  epoch: number;
  /** 1, 2, 3 … per (vm, epoch). A repeated seq is a resend, never a second exit. */
  seq: number;
  reason: ExitReason;
  qualification: number;
  instructionLength: number;
  guestLinear: number;
  guestPhysical: number;
  /** Virtual time in ns when the instruction began, and both counters. */
  now: number;
  retired: number;
  executed: number;
  /** Whether the guest could accept an external interrupt at the boundary behind this exit (the instruction retired). */
  interruptible: boolean;
  /** What RDTSC reads at this exit, where that is not `now`: the guest set its TSC, or a modelled clock counts cycles. */
  timeStamp?: number;
  access: BusAccess | null;
  event: ProcessorEvent | null;
  /** Under shadow paging: what the guest's own tables say (GuestWalk). Null or absent otherwise. */
  walk?: GuestWalk | null;
  /** With a #GP, #NP or #SS of a deprivileged guest under shadow paging: the instruction that faulted, decoded. */
  instruction?: InstructionAssist | null;
  registers: RegisterState | null;
  segments: Partial<Record<SegmentName, SegmentState>> | null;
}

/** What becomes of the instruction that exited. */
export type Disposition =
  /** It is done: advance EIP past it and count it. For an access: `data` is what was read; the processor completes the instruction. */
  /** `count`: iterations of a REP that ring -1 has carried out, 1 if absent. */
  | { kind: 'retire'; data: Uint8Array | null; count?: number }
  /** Execute it again (a page was filled in), or, between instructions, just go on. */
  | { kind: 'resume' }
  /** It does not happen; this event is delivered instead. */
  | { kind: 'inject'; event: ProcessorEvent; cr2: number | null };

export interface ExitReply {
  disposition: Disposition;
  effects: Effect[];
  /** Requests that answering took, and the handler's own wall time (ns) without them: for the books, never for the guest. */
  cost: ExitCost;
}

/** Per subject class: how many distinct requests the handler sent, and the wall time spent waiting for them. */
export interface ExitCost {
  handlerNs: number;
  nested: { bus: string; count: number; waitNs: number }[];
  /** What the handler's own work is made of, for the modelled clock; ring -1's replies alone have it. */
  work?: MonitorWork;
}
export type MonitorWork = Partial<Record<MonitorPrimitive, number>>;
export const NO_COST: ExitCost = { handlerNs: 0, nested: [] };

export type MaybePromise<T> = T | Promise<T>;
/** Go on with a value, at once if it is there: plain calls stay synchronous. */
export function whenSettled<T, U>(value: MaybePromise<T>, next: (value: T) => U): MaybePromise<U> {
  return value instanceof Promise ? value.then(next) : next(value);
}

/** Ring -1 as guest-cpu sees it. */
export interface ExitHandler { exit(exit: Exit): MaybePromise<ExitReply> }
