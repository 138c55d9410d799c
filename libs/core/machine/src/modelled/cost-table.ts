/**
 * What a modelled clock charges for. Nothing here is an operation, an exit reason or a path: what one of those costs is the sum
 * of what it is made of. Each name says exactly one such thing.
 */
export const PRIMITIVES = {
  // Instructions that the processor executes, by class.
  'instruction': 'an executed instruction without a class of its own',
  'division': 'DIV or IDIV',
  'segment-load': 'a segment register loaded from a descriptor by an instruction',
  'far-transfer': 'far JMP, CALL or RET: descriptors read and checked, CS loaded',
  'fast-system-call': 'SYSENTER or SYSEXIT: CS and SS loaded without a descriptor',
  'control-register-write': 'MOV to a control register, CLTS or LMSW, or LGDT, LIDT, LLDT, LTR',
  'serializing': 'CPUID, INVLPG, WRMSR or another instruction that waits for all before it',
  'time-stamp': 'RDTSC',
  'lookup-jump': 'the indirect jump that ends a look-up inside the translation cache: one for all targets, so it is mispredicted',
  // Events of the processor.
  'gate-entry': 'an event through a gate of the IDT: descriptors checked, frame pushed, CS:EIP loaded',
  'iret': 'IRET: frame popped, descriptors checked',
  'page-walk-read': 'one paging-structure entry that a page walk reads',
  'nested-walk-read': 'one EPT entry that a page walk reads',
  'port-cycle': 'one access to a port, outside the processor',
  // Hardware assistance.
  'vm-exit': 'a VM exit: guest state saved, host state loaded',
  'vm-entry': 'a VM entry: controls checked, guest state loaded',
  'vmcs-read': 'one field read by VMREAD',
  'vmcs-write': 'one field written by VMWRITE',
  // Work of the monitor, as its handlers do it.
  'monitor-dispatch': 'one handler of the monitor found and called, registers saved and restored',
  'guest-word': 'one word of guest memory read or written by the monitor',
  'page-table-entry': 'one page-table entry (nested, shadow, or a paravirtualized guest\'s) that the monitor checks and writes, or whose references it takes or drops',
  'descriptor-check': 'one descriptor or gate checked by the monitor',
  'instruction-decode': 'one guest instruction fetched and decoded by the monitor, to emulate it or to know what it stores',
  'code-lookup': 'one look-up of guest code by the monitor, before translated code is entered or chained',
  'translation': 'one guest instruction translated',
  'device-access': 'one access to a device, carried out by the monitor\'s model of it',
} as const;
export type Primitive = keyof typeof PRIMITIVES;
export const PRIMITIVE_NAMES = Object.keys(PRIMITIVES) as readonly Primitive[];
/** What handlers of the monitor charge for by themselves (Transaction.charge in libs/core/vmm). */
export type MonitorPrimitive = 'monitor-dispatch' | 'guest-word' | 'page-table-entry' | 'descriptor-check' | 'instruction-decode' | 'code-lookup' | 'translation' | 'device-access';

/** Where a figure is from. `quoted`: the page says so, at this address. `assumed`: no page that could be opened says so, and this is why it is what it is. */
export type FigureSource = { readonly quoted: string; readonly url: string } | { readonly assumed: string };

export interface Figure { readonly cycles: number; readonly source: FigureSource }

/** One generation of hardware: what it has, and what each primitive costs in cycles of its clock; null for what it does not have. */
export interface CostTable {
  /** After `modelled:` on the command line. */
  readonly name: string;
  readonly processor: string;
  /** Cycles of its clock in a nanosecond. */
  readonly gigahertz: number;
  readonly features: { readonly vmx: boolean; readonly ept: boolean; readonly umip: boolean };
  readonly figures: Readonly<Record<Primitive, Figure | null>>;
}

/** How often each primitive happened. */
export type PrimitiveCounts = Readonly<Partial<Record<Primitive, number>>>;

/** Something happened that hardware of this generation cannot do. */
export class NotOfThisGenerationError extends Error {
  override readonly name = 'NotOfThisGenerationError';
  constructor(table: CostTable, primitive: Primitive) {
    super(`the ${table.processor} has no figure for ${primitive} (${PRIMITIVES[primitive]}): choose a table that has it, or another mmu`);
  }
}

/**
 * Cycles of `counts` on this hardware: Σ count × figure. `scaled` replaces the figures of some primitives by multiples, for
 * asking what depends on them. Throws NotOfThisGenerationError.
 */
export function modelledCycles(table: CostTable, counts: PrimitiveCounts, scaled: Readonly<Partial<Record<Primitive, number>>> = {}): number {
  let cycles = 0;
  for (const name of PRIMITIVE_NAMES) {
    const count = counts[name] ?? 0;
    if (count === 0) continue;
    const figure = table.figures[name];
    if (figure === null) throw new NotOfThisGenerationError(table, name);
    cycles += count * figure.cycles * (scaled[name] ?? 1);
  }
  return cycles;
}
