import { loadMultiboot, type LoadedMultiboot } from '@ringside/loaders';
import { modelledTable, type Bus, type BusReply, type Effect, type VmSpec } from '@ringside/machine';
import { SplitBoard } from '@ringside/platform';
import { ExitReason, exitReasonName, NO_CONTROLS, type BusAccess, type ExecutionControls, type VirtualState } from '@ringside/x86';
import { MonitorSpace, PAGE_BYTES } from '../monitor-space.js';
import { ShadowMmu, SHADOW_PAGES } from '../shadow/shadow-mmu.js';
import type { Transaction } from '../transaction.js';
import { GuestInterpreter } from './guest-interpreter.js';
import { MonitorTables, type MonitorSelectors } from './monitor-tables.js';
import { flatDescriptor, gateDescriptor } from './segment-descriptor.js';
import { VirtualCpu } from './virtual-cpu.js';

const NO_BYTES = new Uint8Array(0);
const RING_0_CODE = 0xfff0;
/** The monitor's own descriptors stand at the very end of the GDT. */
export const FIRST_MONITOR_ENTRY = 0xffe0 >> 3;
const SELECTORS: MonitorSelectors = { tss: 0xffe0, ldt: 0xffe8, reserved: new Map([[RING_0_CODE, flatDescriptor(0, 0xb)]]) };
const INTERRUPT_GATE = 14;
/** Leads to the monitor: the processor leaves before it enters ring 0. DPL 3, for what INT n may reach is the guest's IDT's to say. */
export const MONITOR_GATE = gateDescriptor(INTERRUPT_GATE, 3, RING_0_CODE, 0);
const VECTORS = 256;
/** The monitor's CR0 and CR4: PE ET NE WP PG, and PAE, the format of the shadow. MP, EM, TS and AM, and TSD and DE, are the guest's. */
const CR0_TS = 8;
const MONITOR_CR0 = 0x8001_0031, GUEST_CR0 = 0x4_000e;
const MONITOR_CR4 = 0x20, GUEST_CR4 = 0xc;
/** CR4.UMIP, where the generation has it: what an application asks with SGDT and its like is answered by ring -1. Only translated kernels can have it: in ring 1 it would trap as well. */
const CR4_UMIP = 0x800;
/** IF is always 1 in the real EFLAGS: interrupts are the monitor's. */
const REAL_EFLAGS = 0x202;
/** Ring compression shows in CS and SS alone. */
const CODE_SELECTOR = 0x09, STACK_SELECTOR = 0x11, DATA_SELECTOR = 0x10;
const CODE_RIGHTS_DPL1 = 0xc0bb, DATA_RIGHTS_DPL1 = 0xc0b3;

/**
 * An unmodified guest whose kernel runs in ring 1: its privileged state (VirtualCpu), the monitor's descriptor tables that it really runs on,
 * with ring 0 compressed into ring 1, its shadow page tables, its interrupt controllers and timer.
 */
export class DeprivilegedMachine {
  readonly vcpu = new VirtualCpu();
  readonly shadow: ShadowMmu;
  readonly tables: MonitorTables;
  readonly board: SplitBoard;
  readonly interpreter: GuestInterpreter;
  /** Entries of the GDT and LDT that the guest has filled. */
  gdtEntries = 0;
  ldtEntries = 0;
  /** Frames that its descriptor tables lie in: write-traced, page of the table by frame. */
  readonly tableFrames = new Map<number, { readonly table: 'gdt' | 'ldt'; readonly offset: number }[]>();
  /** Tables of which pages could not be copied. */
  readonly unread = new Set<'gdt' | 'ldt'>();
  /** INTR as the interrupt controllers last drove it. */
  line = false;
  stopped = false;
  /** The real CR0.TS is set whatever the virtual one is. */
  taskSwitchedHeld = false;
  private readonly loaded: LoadedMultiboot;
  private transaction: Transaction | null = null;
  private deadline = Infinity;
  private controls: ExecutionControls;
  private readonly ramBytes: number;
  private readonly monitorCr4: number;

  /** `sensitive`: whether the guest's own sensitive instructions run, to be compared with what ring 0 would show. Throws LoaderError for an image that is no Multiboot kernel or does not fit. */
  constructor(readonly spec: VmSpec, image: Uint8Array, private readonly sensitive: 'observed' | 'translated' = 'observed') {
    this.ramBytes = spec.memoryMiB * 0x10_0000;
    const umip = spec.path === 'binary-translation' && (modelledTable(spec.clock)?.features.umip ?? true);
    this.monitorCr4 = MONITOR_CR4 | (umip ? CR4_UMIP : 0);
    this.loaded = loadMultiboot({ image, memoryBytes: this.ramBytes, commandLine: spec.commandLine });
    const space = new MonitorSpace(DeprivilegedMachine.MONITOR_BYTES);
    this.tables = new MonitorTables(space, SELECTORS);
    this.shadow = new ShadowMmu(space);
    this.interpreter = new GuestInterpreter(this.ramBytes);
    this.controls = { ...NO_CONTROLS, nonRoot: true, deprivileged: true, ...this.shadow.controls, virtualState: this.virtualState };
    this.board = new SplitBoard({ cycle: (request) => this.transaction!.forward(request) });
  }

  static readonly MONITOR_BYTES = (MonitorTables.PAGES + SHADOW_PAGES) * PAGE_BYTES;

  initialEffects(): Effect[] {
    const segments = (['ds', 'es', 'fs', 'gs', 'ss'] as const).map((segment): Effect =>
      ({ kind: 'segment', segment, selector: segment === 'ss' ? STACK_SELECTOR : DATA_SELECTOR, base: 0, limit: 0xffff_ffff, rights: DATA_RIGHTS_DPL1 }));
    const gates = Array.from({ length: VECTORS }, (_, vector) => this.tables.initialGate(vector, MONITOR_GATE));
    return [
      ...this.loaded.effects, ...this.tables.initialEffects(), ...gates,
      { kind: 'register', register: 'cr4', value: this.monitorCr4 },
      { kind: 'register', register: 'cr0', value: MONITOR_CR0 },
      { kind: 'register', register: 'eflags', value: REAL_EFLAGS },
      { kind: 'register', register: 'cpl', value: 1 },
      { kind: 'segment', segment: 'cs', selector: CODE_SELECTOR, base: 0, limit: 0xffff_ffff, rights: CODE_RIGHTS_DPL1 },
      ...segments,
      { kind: 'controls', controls: this.controls },
    ];
  }

  /** A cycle on the guest's board. INTR is kept here (`line`); the vector, if `interruptible` let it be acknowledged, is the caller's to deliver. */
  async cycle(transaction: Transaction, bus: Bus, access: BusAccess | null, interruptible: boolean): Promise<{ data: Uint8Array; vector: number | null }> {
    this.transaction = transaction;
    const { exit } = transaction;
    const reply: BusReply = await this.board.cycle({
      vmId: exit.vmId, epoch: exit.epoch, seq: exit.seq, ordinal: 0, bus, now: exit.now, interruptible,
      address: access?.address ?? 0, size: access?.size ?? 1, write: access?.write ?? false, count: access?.count ?? 0, data: access?.data ?? NO_BYTES,
    });
    const vector = this.take(transaction, reply.effects);
    this.setDeadline(transaction, reply.deadline);
    return { data: reply.data, vector };
  }

  /** Lines rose past ring -1 (a granted port). */
  noteLines(transaction: Transaction, levels: number, rose: number): void {
    this.board.noteLines(levels, rose);
    const { interrupt, deadline } = this.board.standing(transaction.exit.now, false);
    this.take(transaction, [interrupt]);
    this.setDeadline(transaction, deadline);
  }

  private take(transaction: Transaction, effects: readonly Effect[]): number | null {
    let vector: number | null = null;
    for (const effect of effects) {
      if (effect.kind === 'interrupt') {
        this.line = effect.line;
        vector = effect.vector;
        continue;
      }
      if (effect.kind === 'memory' && effect.space === 'guest') this.shadow.written(transaction, effect.address, effect.bytes.length);
      transaction.add(effect);
    }
    return vector;
  }

  private setDeadline(transaction: Transaction, deadline: number): void {
    if (deadline === this.deadline && deadline > transaction.exit.now) return;
    this.deadline = deadline;
    transaction.add({ kind: 'deadline', at: deadline });
  }

  /** Leave at `at` (ns), whatever the board's deadline is; the next cycle names that anew. */
  leaveAt(transaction: Transaction, at: number): void {
    this.deadline = at;
    transaction.add({ kind: 'deadline', at });
  }

  /** Nothing can wake the guest any more. */
  dropDeadline(transaction: Transaction): void {
    this.deadline = Infinity;
    transaction.add({ kind: 'deadline', at: Infinity });
  }

  /** The processor knows INTR and the virtual IF, and leaves when it can take an interrupt. */
  get windows(): boolean {
    return this.sensitive === 'translated';
  }

  private get virtualState(): VirtualState | null {
    return this.sensitive === 'observed' ? this.vcpu.state : null;
  }

  /** What the processor runs with follows the virtual state, where that has changed. */
  settleControls(transaction: Transaction): void {
    const next = { ...this.controls, ...this.shadow.controls, virtualState: this.virtualState };
    const before = this.controls;
    const sameState = next.virtualState === null || (Object.keys(next.virtualState) as (keyof VirtualState)[]).every((key) => next.virtualState![key] === before.virtualState![key]);
    const samePaging = next.shadowRoot === before.shadowRoot && next.guestPaging?.cr3 === before.guestPaging?.cr3 && next.guestPaging?.pae === before.guestPaging?.pae
      && next.guestPaging?.pse === before.guestPaging?.pse && (next.guestPaging?.pointers ?? []).every((word, index) => word === before.guestPaging?.pointers[index]);
    if (sameState && samePaging) return;
    this.controls = next;
    transaction.add({ kind: 'controls', controls: next });
  }

  /**
   * The real CR0 and CR4: what of them is the guest's own follows its virtual ones. But TS of a translated kernel stays set once it was: translated code clears and sets the
   * virtual one by itself, until a #NM shows that it matters (`clearTaskSwitched`).
   */
  settleControlRegisters(transaction: Transaction): void {
    if (this.sensitive === 'translated' && (this.vcpu.cr0 & CR0_TS) !== 0) this.taskSwitchedHeld = true;
    transaction.add({ kind: 'register', register: 'cr0', value: (MONITOR_CR0 | (this.vcpu.cr0 & GUEST_CR0) | (this.taskSwitchedHeld ? CR0_TS : 0)) >>> 0 });
    transaction.add({ kind: 'register', register: 'cr4', value: this.monitorCr4 | (this.vcpu.cr4 & GUEST_CR4) });
  }

  tripleFault(transaction: Transaction): void {
    this.stop(transaction, 'triple-fault', 'the guest raised an exception while delivering a double fault (SDM Vol. 3A 6.15)');
  }

  /** `mode`: an `UnsupportedMode` of the processor's. */
  unsupportedMode(transaction: Transaction, mode: number): void {
    this.stop(transaction, 'unsupported-mode', `the guest entered a mode that is not built (${exitReasonName(ExitReason.UnsupportedMode)}, qualification ${mode})`);
  }

  /** The real CR0.TS was set for nothing. */
  clearTaskSwitched(transaction: Transaction): void {
    this.taskSwitchedHeld = false;
    this.settleControlRegisters(transaction);
  }

  stop(transaction: Transaction, state: 'unsupported-mode' | 'triple-fault' | 'crashed', why: string): void {
    this.stopped = true;
    transaction.add({ kind: 'activity', activity: 'stopped', state, why });
  }
}
