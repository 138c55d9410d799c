import type { GuestPaging, VirtualState } from '@ringside/x86';
import type { MachineState, MachineStatistics, RegisterName, SegmentName, SegmentState, VmSpec } from '@ringside/machine';
import type { ListingRow, UnitExit } from '@ringside/translation';
import type { ConsoleVerb, ControlVerb, CpuVerb } from './subjects.js';

/**
 * The control plane: JSON. A request is `{ id, data }`, its reply `{ id, data }` or `{ id, error }`. The id makes a resent
 * request take effect once. Binary content is base64; times are ns of virtual time unless a name says otherwise.
 */
export interface ControlRequest<T = unknown> { id: string; data: T }
export type ControlReply<T = unknown> = { id: string; data: T } | { id: string; error: ControlError };

/** What went wrong, in one sentence a user can act on. */
export interface ControlError { code: ControlErrorCode; message: string }
/**
 * `not-found`, `exists`, `wrong-state`: about a VM, image or document. `invalid`: the request itself. `unreachable`: another service did
 * not answer. `failed`: a fault of ours.
 */
export type ControlErrorCode = 'not-found' | 'exists' | 'wrong-state' | 'invalid' | 'unreachable' | 'failed';

/** A VM as `vm show` and `vm list` tell it. */
export interface VmRecord {
  spec: VmSpec;
  /** Bumped by every start from boot. */
  epoch: number;
  state: MachineState;
  /** Why it is in that state, in a sentence. */
  why: string;
  /** As far as guest-cpu could be asked; null otherwise. */
  progress: { retired: number; executed: number; virtualNs: number } | null;
  /** What ring -1 asked the processor to leave for; null on native. */
  controls: ExecutionControlsView | null;
}

/** Execution controls, with bitmaps as the ranges (inclusive) that exit. */
export interface ExecutionControlsView {
  nonRoot: boolean; hltExiting: boolean; invlpgExiting: boolean; rdtscExiting: boolean; cr3LoadExiting: boolean; cr3StoreExiting: boolean;
  movDrExiting: boolean; descriptorTableExiting: boolean; wbinvdExiting: boolean; pauseExiting: boolean; deprivileged: boolean;
  ioExiting: 'all' | 'none' | { from: number; to: number }[];
  msrExiting: 'all' | 'none' | 'bitmap';
  exceptionBitmap: number; cr0Mask: number; cr0ReadShadow: number; cr4Mask: number; cr4ReadShadow: number; eptRoot: number | null; shadowRoot: number | null; guestPaging: GuestPaging | null; virtualState: VirtualState | null; tscOffset: number;
}

export interface RegistersView {
  state: MachineState;
  virtualNs: number; retired: number; executed: number;
  registers: Record<RegisterName, number>;
  segments: Record<SegmentName, SegmentState>;
}
export interface DisassembledLine { address: number; bytes: string; text: string }
/** Binary translation: guest code from an EIP on beside its translation, unit by unit; empty where no code is mapped. */
export interface TranslatedView { eip: number; units: TranslatedUnitView[] }
export interface TranslatedUnitView {
  eip: number;
  /** Where its code lies in monitor space; null: the VM has not come here yet, and the unit was made for the reader. */
  at: number | null;
  guestBytes: number; hostBytes: number;
  rows: ListingRow[];
  /** By offset in its code: where it leaves, and the EIP of the unit that this exit is chained to. */
  exits: { at: number; kind: UnitExit['kind']; target: number | null; chainedTo: number | null }[];
}
export interface VmReference { vmId: string }
export interface ImageChunk { sha256: string; totalBytes: number; offset: number; data: string }
/** Image bytes in one control message: base64 of this still fits NATS' default of 1 MiB. */
export const IMAGE_CHUNK_BYTES = 512 * 1024;
export interface ConsoleChunk { epoch: number; offset: number; data: string; /** Bytes written so far in this epoch. */ end: number }
export interface DocumentInfo { name: string; bytes: number; complete: boolean }
/** `revision` counts a machine's changes of state: a report that arrives late is known by it. */
export interface MachineReport { vmId: string; epoch: number; revision: number; state: MachineState; why: string }
/** End digests of a standing machine: RAM, control registers; and the running hash where it is kept. */
export interface MachineDigest { memory: string; registers: string; stateHash: string | null; samples: number }

export interface CreateMachine {
  spec: VmSpec; epoch: number; monitorBytes: number; native: boolean;
  /** Binary translation: where in monitor space guest-cpu keeps translations, bytes; null on the other paths. */
  translationCache: { offset: number; bytes: number } | null;
  /** [exit reason, state groups]. */
  stateGroups: [number, number][];
}

/** Verb → what is asked and what is answered. */
export interface ControlMessages extends Record<ControlVerb, { request: unknown; reply: unknown }> {
  'vm.create': { request: { spec: VmSpec; start: boolean }; reply: VmRecord };
  'vm.list': { request: Record<string, never>; reply: VmRecord[] };
  'vm.show': { request: VmReference; reply: VmRecord };
  /** created, paused → goes on; anything stopped → boots again with the next epoch. */
  'vm.start': { request: VmReference; reply: VmRecord };
  'vm.pause': { request: VmReference; reply: VmRecord };
  'vm.stop': { request: VmReference; reply: VmRecord };
  'vm.delete': { request: VmReference; reply: Record<string, never> };
  'vm.registers': { request: VmReference; reply: RegistersView };
  'vm.step': { request: VmReference & { instructions?: number; exits?: number }; reply: RegistersView };
  'vm.stats': { request: VmReference; reply: VmStatistics };
  'vm.disassemble': { request: VmReference & { address: number; count: number }; reply: DisassembledLine[] };
  /** `wrong-state` on every other path. */
  'vm.translated': { request: VmReference & { address: number; count: number }; reply: TranslatedView };
  'image.put': { request: ImageChunk; reply: { receivedBytes: number; complete: boolean } };
  'image.has': { request: { sha256: string }; reply: { present: boolean } };
  'image.fetch': { request: { sha256: string; offset: number }; reply: ImageChunk };
  'document.list': { request: VmReference; reply: DocumentInfo[] };
  'document.fetch': { request: VmReference & { name: string; offset: number }; reply: { data: string; totalBytes: number } };
  'cpu.create': { request: CreateMachine; reply: Record<string, never> };
  'board.create': { request: { spec: VmSpec; epoch: number }; reply: Record<string, never> };
  /** The machine has ended: a document that was begun is closed. Console and documents stay until the board is released. */
  'board.finish': { request: VmReference; reply: Record<string, never> };
  /** FNV digest of the disk's contents; null without a disk. */
  'board.digest': { request: VmReference; reply: { disk: string | null } };
  'board.release': { request: VmReference; reply: Record<string, never> };
  'vm.changed': { request: MachineReport; reply: Record<string, never> };
}

/** Verbs on a VM's own subjects (`ringside.vm.<id>.cpu.<verb>`), JSON like the control plane; `read` and `effects` are binary. */
export interface CpuMessages extends Partial<Record<CpuVerb, { request: unknown; reply: unknown }>> {
  run: { request: { epoch: number }; reply: MachineReport };
  pause: { request: { epoch: number }; reply: MachineReport };
  kick: { request: Record<string, never>; reply: Record<string, never> };
  registers: { request: Record<string, never>; reply: RegistersView };
  step: { request: { instructions?: number; exits?: number }; reply: RegistersView };
  stats: { request: Record<string, never>; reply: VmStatistics };
  disassemble: { request: { address: number; count: number }; reply: DisassembledLine[] };
  translated: { request: { address: number; count: number }; reply: TranslatedView };
  digest: { request: Record<string, never>; reply: MachineDigest };
  /** The machine ends (`stopped`, with the reason given) and can still be looked at. */
  stop: { request: { why: string }; reply: MachineReport };
  /** Its memory is given back. */
  release: { request: Record<string, never>; reply: Record<string, never> };
}
export type VmStatistics = MachineStatistics & MachineReport;

export interface ConsoleMessages extends Partial<Record<ConsoleVerb, { request: unknown; reply: unknown }>> {
  in: { request: { data: string }; reply: { acceptedBytes: number } };
  /** Without `offset`: the last `maxBytes`. */
  fetch: { request: { offset?: number; maxBytes?: number }; reply: ConsoleChunk };
}

/** One service instance's answer on `ringside.ctl.services`. */
export interface ServiceStatus {
  service: 'guest-cpu' | 'hypervisor' | 'device-model' | 'translator';
  instance: string;
  pid: number;
  node: string;
  /** HTTP port of /healthz. */
  port: number;
  vms: string[];
  uptimeSeconds: number;
  counters: Record<string, number>;
}

/** A finished span as services keep and hand it out on `ringside.ctl.spans`. Times are µs since the epoch, durations µs. */
export interface SpanRecord {
  traceId: string; spanId: string; parentSpanId: string | null;
  service: string; name: string; kind: 'internal' | 'server' | 'client' | 'producer' | 'consumer';
  startUs: number; durationUs: number;
  attributes: Record<string, string | number | boolean>;
  error: string | null;
}
/** Every instance answers with its own spans of the trace, at most 1,000 at a time. */
export interface SpansRequest { traceId: string; from: number }
export interface SpansReply { service: string; instance: string; spans: SpanRecord[]; total: number }
export const SPANS_SUBJECT = 'ringside.ctl.spans';
