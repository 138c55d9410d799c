/**
 * The processor's state, at fixed places in the virtual machine's own WebAssembly.Memory, so that a compiled tier can
 * share it with the interpreter without copying. Every constant below is an index into `Cpu.i32` (4-byte words).
 *
 * The memory of one VM:
 *
 *   0x00000  processor state (this file)
 *   0x10000  TLB (paging.ts)
 *   RAM_BASE guest RAM, `ramBytes`
 *   ...      monitor space, `monitorBytes`: memory that only ring -1 (and translated code) can address
 */

// General registers, in encoding order, so that a ModRM register number is its own index.
export const EAX = 0;
export const ECX = 1;
export const EDX = 2;
export const EBX = 3;
export const ESP = 4;
export const EBP = 5;
export const ESI = 6;
export const EDI = 7;
/** Always 0: the base or index of an effective address that has none. */
export const ZERO = 8;
/** Instruction pointer: an offset in CS. Exact whenever no instruction is being executed. */
export const EIP = 9;

/**
 * EFLAGS but for the six arithmetic flags (OF SF ZF AF PF CF), which are lazy: see flags.ts.
 * Bit 1 is always set here. Use `getEflags` and `setEflags` to read and write the whole register.
 */
export const EFLAGS_SYSTEM = 10;
/**
 * The arithmetic flags, lazily (flags.ts draws the layout): the last result, sign-extended from the operation's width, gives
 * ZF, SF and PF; the carries give CF, OF and AF. Words 11, 14 and 15 are free.
 */
export const FLAG_RESULT = 12;
export const FLAG_CARRIES = 13;

export const CR0 = 16;
export const CR2 = 17;
export const CR3 = 18;
export const CR4 = 19;
/** Current privilege level, 0–3. Kept apart from CS.RPL so that conforming code is right. */
export const CPL = 20;
/**
 * Not 0 from STI (SHADOW_STI) or MOV/POP SS (SHADOW_MOV_SS) until the next instruction has completed: no external interrupt is
 * taken, and after MOV/POP SS no single-step trap either. Values as in VMX's interruptibility state (SDM Vol. 3C 25.4.2).
 */
export const SHADOW_STI = 1;
export const SHADOW_MOV_SS = 2;
export const INTERRUPT_SHADOW = 21;
/** 1 while the interrupt controller asserts INTR, as last told by an effect. */
export const INTR_LINE = 22;
/** 0 active, 1 halted (HLT), 2 shut down (triple fault), 3 stopped by name (unsupported mode). */
export const ACTIVITY = 23;
export const DR0 = 24; // DR0..DR7 at 24..31
export const DR6 = 30;
export const DR7 = 31;
/** DR6.BS: a single step; DR7.GD: MOV to and from debug registers is #DB (SDM Vol. 3B 17.2). */
export const DR6_BS = 1 << 14, DR7_GD = 1 << 13;

/**
 * Segment registers, 4 words each: selector, base, limit (in bytes, already scaled), access rights. LDTR and TR follow.
 * Access rights are laid out as VMX does (SDM Vol. 3C 25.4.1): bits 0–3 type, 4 S, 5–6 DPL, 7 P, 12 AVL, 14 D/B, 15 G, 16 unusable.
 */
export const SEGMENTS = 32;
export const SEGMENT_WORDS = 4;
export const ES = 0;
export const CS = 1;
export const SS = 2;
export const DS = 3;
export const FS = 4;
export const GS = 5;
export const LDTR = 6;
export const TR = 7;
export const SEGMENT_SELECTOR = 0;
export const SEGMENT_BASE = 1;
export const SEGMENT_LIMIT = 2;
export const SEGMENT_RIGHTS = 3;

export const RIGHTS_UNUSABLE = 1 << 16;

/**
 * Descriptor tables: base, limit, space. Space 0: the base is a linear address, as on hardware. Space 1 (deprivileged
 * guests): the base is an offset in monitor space, read past paging; the guest cannot name it.
 */
export const GDTR_BASE = 64;
export const GDTR_LIMIT = 65;
export const GDTR_SPACE = 66;
export const IDTR_BASE = 67;
export const IDTR_LIMIT = 68;
export const IDTR_SPACE = 69;
/** Space of TR's (and LDTR's) base: 0 linear, 1 monitor space. */
export const TR_SPACE = 70;
export const LDTR_SPACE = 71;

export const SYSENTER_CS = 72;
export const SYSENTER_ESP = 73;
export const SYSENTER_EIP = 74;
/** EFER (only NXE is meaningful in 32-bit mode), PAT and APIC base as plain words. */
export const EFER = 75;
/** Space that EIP addresses: 0 the guest's linear space by way of CS, 1 monitor space: translated code (translated-code.ts). */
export const CS_SPACE = 76;

/** PAE: the four page-directory-pointer entries are loaded by MOV CR3 (SDM Vol. 3A 4.4.1): 8 words. */
export const PDPTE = 80;

/** The event (fault) or exit being raised, read by the run loop: see fault.ts. */
export const FAULT_VECTOR = 96;
export const FAULT_ERROR = 97;
export const FAULT_HAS_ERROR = 98;
/** Address of the slot being executed, written before anything that can fault (slots.ts). */
export const CURRENT_SLOT = 99;

/** Words from here to the f64 counters are the engine's own. */
export const ENGINE_WORDS = 128;
/** Budget left at the beginning of the instruction being executed; written before every function of the cold table. */
export const REMAINING = 128;
/** Iterations that the REP instruction being executed has completed in this step. */
export const REP_DONE = 129;
/** REP_DONE of an instruction that has left the guest without completing, and returned instead of throwing. */
export const NOT_COMPLETED = -1;
/** Host instructions of translated code executed in this step that completed no guest instruction. */
export const EXTRA_EXECUTED = 136;
/** Ordinal of the next bus access inside the instruction being executed (memory.ts). */
export const BUS_ORDINAL = 130;
/** 1: the REP instruction just executed has more to do, the budget being spent. */
export const REP_UNFINISHED = 133;
/** Bits of DR6 for the debug trap that is due at this boundary, 0 for none: BS after a single step, B0–B3 after data breakpoints. */
export const TRAP_DUE = 131;
/** Events delivered since the last instruction retired: see processor.ts, "exception storms". */
export const EVENTS_WITHOUT_PROGRESS = 132;

/** f64 indices into `Cpu.f64` (byte offset 0x800): exact integer counters below 2^53. */
export const RETIRED = 256;
export const EXECUTED = 257;
/** Guest time minus retired instructions, in ns: what HLT skipped. TSC = retired + skipped (1 GHz). */
export const SKIPPED = 258;
/** What WRMSR to IA32_TIME_STAMP_COUNTER has added to the TSC. */
export const TSC_ADJUST = 259;
