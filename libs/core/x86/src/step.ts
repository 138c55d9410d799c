import type { ExitReason } from './exit-reason.js';

/** Why `Processor.step` returned. The processor always stands between two instructions (or two iterations of a REP). */
export const StepResult = {
  /** The budget is used up, to the instruction. */
  Budget: 0,
  /** A VM exit to ring -1: see `Processor.exit`. */
  Exit: 1,
  /** A bus cycle that no execution control intercepts: `Processor.exit.access`; answered by `completeAccess`. */
  BusCycle: 2,
  /** HLT completed (and is not intercepted). */
  Halted: 3,
  /** INTR is asserted and the guest can accept it at this boundary. */
  InterruptWindow: 4,
  /** An annotation NOP completed: `Processor.exit.mark`. */
  Mark: 5,
  /** Shutdown (triple fault) without a hypervisor, or an unsupported mode: `Processor.exit.reason`. Cannot go on. */
  Stopped: 6,
} as const;
export type StepResult = (typeof StepResult)[keyof typeof StepResult];

/** One port or memory access that leaves the processor. String instructions are one access per page run. */
export interface BusAccess {
  space: 'port' | 'memory';
  /** Port number, or guest-physical address. */
  address: number;
  /** Bytes of one element: 1, 2 or 4. */
  size: 1 | 2 | 4;
  write: boolean;
  /** Elements: 1, or the iterations of a REP INS/OUTS in this run. */
  count: number;
  /** `size * count` bytes when writing, in the order of the iterations; empty when reading. */
  data: Uint8Array;
}

/** SDM Vol. 3C 25.8.3, interruption type. */
export const EventType = { ExternalInterrupt: 0, Nmi: 2, HardwareException: 3, SoftwareInterrupt: 4, PrivilegedSoftwareException: 5, SoftwareException: 6 } as const;
export type EventType = (typeof EventType)[keyof typeof EventType];

export interface ProcessorEvent {
  vector: number;
  type: EventType;
  /** Null when the vector pushes none. */
  errorCode: number | null;
}

/** A paging-structure entry of the guest as the processor read it: guest-physical address, and value (`high` is 0 with 32-bit paging). Words are signed. */
export interface WalkedEntry { address: number; low: number; high: number }

/**
 * Decode assist of a #PF under shadow paging: what the guest's own tables say about `exit.guestLinear`, from the directory down to the last entry
 * that could be read, and the aligned line of 64 bytes around that one, so that ring -1 can fill in the neighbours in the
 * same exit. For MOV to CR3 under PAE: no entries, and the line is the 32-byte table that the new value names.
 */
export interface GuestWalk {
  entries: WalkedEntry[];
  lineAddress: number;
  line: Uint8Array;
}

/** Decode assist of a #GP, #NP or #SS under shadow paging: the instruction that faulted, so that ring -1 can carry it out without decoding. */
export interface InstructionAssist {
  /** Mnemonic and operand forms, as in the opcode table: `MOV Cd,Rd`. */
  name: string;
  length: number;
  operandSize: 2 | 4;
  /** REP or REPNE. */
  repeated: boolean;
  address16: boolean;
  /** ModRM.reg and ModRM.rm as register numbers (`b` −1: memory); the selector of a direct far pointer is in `a`. */
  a: number;
  b: number;
  immediate: number;
  /** Number of the segment register of the memory operand, and its linear address; null if there is none. Limits are not checked. */
  segment: number;
  linear: number | null;
}

/** What a step ended on. One object per processor, overwritten by the next step. */
export interface ProcessorExit {
  reason: ExitReason;
  /** Exit qualification as the SDM lays it out for the reason (Vol. 3C 27.2.1); for reasons ≥ 0x100 as exit-reason.ts says. */
  qualification: number;
  instructionLength: number;
  guestLinear: number;
  guestPhysical: number;
  access: BusAccess | null;
  event: ProcessorEvent | null;
  walk: GuestWalk | null;
  instruction: InstructionAssist | null;
  /** imm32 of an annotation NOP. */
  mark: number;
}
