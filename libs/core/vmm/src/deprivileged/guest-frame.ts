import type { Disposition, Exit, RegisterName, SegmentName, SegmentState } from '@ringside/machine';
import type { Transaction } from '../transaction.js';

const EFLAGS_RF = 1 << 16;
const GENERAL: readonly RegisterName[] = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi'];
export const EAX = 0, ECX = 1, EDX = 2, EBX = 3, ESP = 4, EBP = 5, ESI = 6, EDI = 7;

/**
 * The guest's registers while ring -1 works on them (Xen's cpu_user_regs): begun from the exit, changed by any number of
 * operations, and turned into effects once, at the end. So a hypercall's result and the frame of an event that follows
 * it compose.
 */
export class GuestFrame {
  readonly general: Uint32Array;
  eip: number;
  eflags: number;
  cpl: number;
  /** CR0 as this exit leaves it; whoever changes it adds the effect. */
  cr0: number;
  cr2: number;
  /** The instruction loads EFLAGS, RF among them. */
  loadsFlags = false;
  private readonly changed = new Map<SegmentName, SegmentState>();

  constructor(private readonly exit: Exit) {
    const { general, eip, eflags, cpl, cr0, cr2 } = exit.registers!;
    this.general = general.slice();
    this.eip = eip;
    this.eflags = eflags;
    this.cpl = cpl;
    this.cr0 = cr0;
    this.cr2 = cr2;
  }

  get esp(): number {
    return this.general[ESP]!;
  }

  set esp(value: number) {
    this.general[ESP] = value;
  }

  segment(name: SegmentName): SegmentState {
    const segment = this.changed.get(name) ?? this.exit.segments?.[name];
    if (segment === undefined) throw new RangeError(`the exit carries no ${name}`);
    return segment;
  }

  setSegment(name: SegmentName, state: SegmentState): void {
    this.changed.set(name, state);
  }

  /** Past the instruction that exited. */
  skipInstruction(): void {
    this.eip = (this.eip + this.exit.instructionLength) >>> 0;
  }

  /** The differences as effects. Effects apply after the disposition, so a retired instruction has moved EIP by then. */
  commit(transaction: Transaction, disposition: Disposition): void {
    const before = this.exit.registers!;
    for (const [index, register] of GENERAL.entries()) {
      if (this.general[index] !== before.general[index]) transaction.add({ kind: 'register', register, value: this.general[index]! });
    }
    for (const [segment, state] of this.changed) transaction.add({ kind: 'segment', segment, ...state });
    if (this.cpl !== before.cpl) transaction.add({ kind: 'register', register: 'cpl', value: this.cpl });
    if (this.cr2 !== before.cr2) transaction.add({ kind: 'register', register: 'cr2', value: this.cr2 >>> 0 });
    // Where an instruction retires RF is cleared, unless that is what it has loaded.
    if (this.eflags >>> 0 !== before.eflags >>> 0 || (this.loadsFlags && (before.eflags & EFLAGS_RF) !== 0)) transaction.add({ kind: 'register', register: 'eflags', value: this.eflags >>> 0 });
    // An exit for an exception carries no length, so where a retired instruction leaves EIP is said in any case.
    if (this.eip !== before.eip || disposition.kind === 'retire') transaction.add({ kind: 'register', register: 'eip', value: this.eip >>> 0 });
  }
}
