import { whenSettled, type Bus, type BusReply, type Effect, type MaybePromise, type VmSpec } from '@ringside/machine';
import { loadMultiboot, type LoadedMultiboot } from '@ringside/loaders';
import { SplitBoard } from '@ringside/platform';
import type { BusAccess, ExecutionControls } from '@ringside/x86';
import { MonitorSpace, PAGE_BYTES } from '../monitor-space.js';
import type { Transaction } from '../transaction.js';
import { ShadowMmu, SHADOW_PAGES } from '../shadow/shadow-mmu.js';
import { initialControls, MSR_RESERVED, shadowControls } from './controls.js';
import { ExtendedPageTables } from './extended-page-tables.js';

const NO_BYTES = new Uint8Array(0);

/** How the guest's memory is virtualized: nested page tables, or (first-generation VT-x) shadow page tables. */
type Paging = { readonly kind: 'nested'; readonly ept: ExtendedPageTables } | { readonly kind: 'shadow'; readonly shadow: ShadowMmu };

/** What ring -1 keeps for one hardware-assisted guest: its VMCS fields, its nested or shadow page tables, and its interrupt controllers and timer. */
export class HardwareAssistedMachine {
  readonly paging: Paging;
  controls: ExecutionControls;
  /** PIC and PIT live here, every other device at the device model. */
  readonly board: SplitBoard;
  /** The MSRs whose accesses exit, as the guest sees them. */
  readonly msrs = new Map<number, bigint>([...MSR_RESERVED.keys()].map((msr) => [msr, 0n]));
  /** Exits by reason that no control of ours asks for: 0 on a processor that does as it is told. */
  readonly unexpectedExits = new Map<number, number>();
  private readonly loaded: LoadedMultiboot;
  private readonly ramBytes: number;
  private transaction: Transaction | null = null;
  private deadline = Infinity;

  /** Throws LoaderError for an image that is no Multiboot kernel or does not fit. */
  constructor(readonly spec: VmSpec, image: Uint8Array) {
    const ramBytes = spec.memoryMiB * 0x10_0000;
    this.loaded = loadMultiboot({ image, memoryBytes: ramBytes, commandLine: spec.commandLine });
    this.ramBytes = ramBytes;
    const space = new MonitorSpace(HardwareAssistedMachine.monitorBytes(spec));
    if (spec.mmu === 'shadow') {
      const shadow = new ShadowMmu(space);
      this.paging = { kind: 'shadow', shadow };
      this.controls = shadowControls(spec, shadow.controls);
    } else {
      const ept = new ExtendedPageTables(space, ramBytes);
      this.paging = { kind: 'nested', ept };
      this.controls = initialControls(spec, ept.root);
    }
    // One exit is answered at a time, so the remote board is always asked on behalf of the transaction at hand.
    this.board = new SplitBoard({ cycle: (request) => this.transaction!.forward(request) });
  }

  static monitorBytes({ mmu }: VmSpec): number {
    return (mmu === 'shadow' ? SHADOW_PAGES : ExtendedPageTables.MAX_PAGES) * PAGE_BYTES;
  }

  isRam(guestPhysical: number): boolean {
    return guestPhysical < this.ramBytes;
  }

  initialEffects(): Effect[] {
    return [...this.loaded.effects, { kind: 'controls', controls: this.controls }];
  }

  /** A cycle on the guest's board; what it means for INTR and the next deadline goes into the reply. */
  cycle(transaction: Transaction, bus: Bus, access: BusAccess | null, interruptible: boolean): MaybePromise<BusReply> {
    this.transaction = transaction;
    const { exit } = transaction;
    return whenSettled(this.board.cycle({
      vmId: exit.vmId, epoch: exit.epoch, seq: exit.seq, ordinal: 0, bus, now: exit.now, interruptible,
      address: access?.address ?? 0, size: access?.size ?? 1, write: access?.write ?? false, count: access?.count ?? 0, data: access?.data ?? NO_BYTES,
    }), (reply) => this.settle(transaction, reply));
  }

  /** INTR and deadline as they stand, after lines changed without a cycle of ours. */
  settleStanding(transaction: Transaction): void {
    const { exit } = transaction;
    const { interrupt, deadline } = this.board.standing(exit.now, exit.interruptible);
    transaction.add(interrupt);
    this.setDeadline(transaction, deadline);
  }

  exitBegins(transaction: Transaction): void {
    if (this.paging.kind === 'shadow') this.paging.shadow.exitBegins(transaction);
  }

  /** Leave at `at` (ns), whatever the board's deadline is; the next cycle names that anew. */
  leaveAt(transaction: Transaction, at: number): void {
    this.deadline = at;
    transaction.add({ kind: 'deadline', at });
  }

  setControls(transaction: Transaction, change: Partial<ExecutionControls>): void {
    this.controls = { ...this.controls, ...change };
    transaction.add({ kind: 'controls', controls: this.controls });
  }

  countUnexpected(reason: number): void {
    this.unexpectedExits.set(reason, (this.unexpectedExits.get(reason) ?? 0) + 1);
  }

  private settle(transaction: Transaction, reply: BusReply): BusReply {
    for (const effect of reply.effects) {
      // A device that writes to a page table by DMA changes what the shadow was made of.
      if (this.paging.kind === 'shadow' && effect.kind === 'memory' && effect.space === 'guest') this.paging.shadow.written(transaction, effect.address, effect.bytes.length);
      transaction.add(effect);
    }
    this.setDeadline(transaction, reply.deadline);
    return reply;
  }

  private setDeadline(transaction: Transaction, deadline: number): void {
    // A deadline that has passed is always set anew: the driver dropped it when it asked.
    if (deadline === this.deadline && deadline > transaction.exit.now) return;
    this.deadline = deadline;
    transaction.add({ kind: 'deadline', at: deadline });
  }
}

