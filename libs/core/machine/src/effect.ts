import type { Boundary, ExecutionControls } from '@ringside/x86';

/**
 * The one way anybody changes a virtual machine: a list of effects in the reply to an exit (or in the request that
 * creates the machine), applied at once, in order, while the guest stands still. Applying a list twice is prevented by
 * (epoch, seq); see protocol.
 */
export type Effect =
  | { kind: 'register'; register: RegisterName; value: number }
  /** Load a segment register or table register with its hidden part, as a VM entry does. */
  | { kind: 'segment'; segment: SegmentName; selector: number; base: number; limit: number; rights: number; space?: MemorySpace }
  | { kind: 'table'; table: 'gdtr' | 'idtr'; base: number; limit: number; space: MemorySpace }
  | { kind: 'msr'; msr: number; value: bigint }
  | { kind: 'memory'; space: MemorySpace; address: number; bytes: Uint8Array }
  /** Where a machine frame lives: a frame of RAM, a frame of monitor space, or nowhere (a hole: the empty bus). */
  | { kind: 'frame'; frame: number; target: { space: MemorySpace; frame: number } | null }
  | { kind: 'flush'; scope: 'all' | 'non-global' } | { kind: 'flush-page'; linear: number }
  | { kind: 'controls'; controls: ExecutionControls }
  /** Ring -1 has executed an instruction or delivered an event itself, and with it decided what the boundary behind it is like. First in its list. */
  | { kind: 'boundary'; boundary: Boundary }
  /** The INTR line after this exit; a vector if the owner has acknowledged: it is delivered right after the instruction retires. */
  | { kind: 'interrupt'; line: boolean; vector: number | null }
  /** Virtual time (ns) at which the guest must leave next, Infinity for never. Stands until replaced. */
  | { kind: 'deadline'; at: number }
  /** `halted`: wait for an interrupt, deadline or input. `stopped`: the machine ends here, by name. */
  | { kind: 'activity'; activity: 'active' } | { kind: 'activity'; activity: 'halted' } | { kind: 'activity'; activity: 'stopped'; state: StopState; why: string };

/** 'guest': guest-physical (on paravirt machine-physical) addresses as the processor's bus sees them. 'monitor': offsets in monitor space. */
export type MemorySpace = 'guest' | 'monitor';

export const REGISTER_NAMES = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi', 'eip', 'eflags', 'cr0', 'cr2', 'cr3', 'cr4', 'cpl'] as const;
export type RegisterName = (typeof REGISTER_NAMES)[number];
export const SEGMENT_NAMES = ['es', 'cs', 'ss', 'ds', 'fs', 'gs', 'ldtr', 'tr'] as const;
export type SegmentName = (typeof SEGMENT_NAMES)[number];

/** How a machine can end. Every one is shown by `vm show` with a sentence that says why. */
export const STOP_STATES = [
  /** The guest asked for power off. */ 'shutdown',
  /** Triple fault. */ 'triple-fault',
  /** Real mode, virtual-8086, a task gate. */ 'unsupported-mode',
  /** The guest broke a rule of its path (a PV guest that Xen would crash). */ 'crashed',
  /** A service did not answer within its timeout. */ 'unreachable',
  /** A translator's answer was not fit to run: `why` names the unit and what is wrong with it. */ 'translation-refused',
  /** A person stopped it. */ 'stopped',
] as const;
export type StopState = (typeof STOP_STATES)[number];
