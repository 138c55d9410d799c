import {
  ARENA_BASE, ARENA_TABLE, CODE, CODE_LINEAR, CODE_SELECTORS, DATA, DATA_LINEAR, DATA_SELECTORS, descriptor, FREE_SELECTOR, GDT, IDT, LANDING, LDT, LDT_SELECTOR, PAE_ARENA_TABLE,
  PAGE_DIRECTORY, PDPT, STACK0, STACK1, STACK2,
} from '../../libs/core/x86/src/testing/arena.js';
import { seededRegisters, type ArenaPatch, type OracleCase } from '../../libs/core/x86/src/testing/case.js';
import type { Random } from '../../libs/core/x86/src/testing/random.js';
import { ALL_FLAGS } from './instruction-forms.js';

export type Paging = 'none' | 'two-level' | 'pae';

export const CR0_WP = 0x1_0000, CR4_PSE = 0x10, CR4_PAE = 0x20, CR4_PGE = 0x80, EFER_NXE = 0x800;
/** PE, TS (a task switch has set it), ET, NE. */
const CR0_BASE = 0x39;

export const EAX = 0, ECX = 1, EDX = 2, EBX = 3, ESP = 4, EBP = 5, ESI = 6, EDI = 7;

export const bytes32 = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
export const bytes16 = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff];

/** A system-level case under construction: privilege level, paging mode, descriptors, gates, stacks, code. */
export class SystemScene {
  readonly registers: Uint32Array;
  readonly patches: ArenaPatch[] = [];
  readonly selectors: number[];
  readonly sysenter = new Uint32Array(3);
  readonly code: number[] = [];
  eflags: number;
  cr0: number;
  cr4: number;
  efer: number;
  undefinedFlags = 0;
  delivered = 0;
  private readonly codeOffset: number;
  private freeSelector = FREE_SELECTOR;

  constructor(readonly random: Random, seed: number, readonly cpl: number, readonly paging: Paging) {
    this.registers = seededRegisters(seed);
    this.eflags = 2 | (random.u32() & ALL_FLAGS) | (random.oneIn(2) ? 0x200 : 0) | (random.below(4) << 12);
    this.cr0 = CR0_BASE | (paging === 'none' ? 0 : 0x8000_0000) | (random.oneIn(2) ? CR0_WP : 0);
    this.cr4 = (paging === 'pae' ? CR4_PAE : 0) | (random.oneIn(2) ? CR4_PSE : 0);
    this.efer = paging === 'pae' && random.oneIn(2) ? EFER_NXE : 0;
    this.codeOffset = random.below(0xf00);
    const code = CODE_SELECTORS[cpl] as number, data = DATA_SELECTORS[cpl] as number;
    this.selectors = [data, code, data, data, random.oneIn(2) ? 0 : data, random.oneIn(2) ? random.below(4) : data];
    this.registers[ESP] = this.stackBase + 0x400 + random.below(0x200) * 4;
  }

  /** Linear address of the code and data windows, and of the arena (mapped one to one). */
  get codeLinear(): number {
    return this.paging === 'none' ? ARENA_BASE + CODE : CODE_LINEAR;
  }

  get dataLinear(): number {
    return this.paging === 'none' ? ARENA_BASE + DATA : DATA_LINEAR;
  }

  get eip(): number {
    return this.codeLinear + this.codeOffset;
  }

  /** Linear address of the next instruction to be emitted. */
  get here(): number {
    return this.eip + this.code.length;
  }

  /** Where the stack of this privilege level lies: ring 3 uses the data window's physical pages. */
  get stackBase(): number {
    return ARENA_BASE + ([STACK0, STACK1, STACK2, DATA][this.cpl] as number);
  }

  patch(offset: number, bytes: ArrayLike<number>): void {
    this.patches.push({ offset, bytes: Uint8Array.from(bytes) });
  }

  poke32(offset: number, value: number): void {
    this.patch(offset, bytes32(value));
  }

  /** Bytes at a linear address inside the identity-mapped arena. */
  pokeLinear(linear: number, bytes: ArrayLike<number>): void {
    this.patch(linear - ARENA_BASE, bytes);
  }

  /** Puts a descriptor in a free entry of the GDT or LDT; the selector comes with RPL 0. */
  define(bytes: Uint8Array): number {
    const inLdt = this.random.oneIn(4);
    const selector = this.freeSelector;
    this.freeSelector += 8;
    if (!inLdt) {
      this.patch(GDT + selector, bytes);
      return selector;
    }
    const entry = (selector - FREE_SELECTOR) / 8 + 1;
    this.patch(LDT + entry * 8, bytes);
    return entry * 8 + 4;
  }

  setGate(vector: number, bytes: Uint8Array): void {
    this.patch(IDT + vector * 8, bytes);
  }

  /** The rights of a page of the arena, as PTE bits; the tables, TSS and stacks may well be out of an application's reach. */
  protectArena(page: number, rights: number): void {
    const frame = ARENA_BASE + page * 0x1000;
    this.poke32(ARENA_TABLE + page * 4, frame | rights);
    this.poke32(PAE_ARENA_TABLE + page * 8, frame | rights);
  }

  /** A code segment whose offset `offset` is an INT3; mostly valid. `small`: the offset fits 16 bits. */
  randomCode(small = this.random.oneIn(2)): { selector: number; offset: number; dpl: number; conforming: boolean; present: boolean } {
    const { random } = this;
    const present = !random.oneIn(20);
    const dpl = random.below(4), conforming = random.oneIn(3), based = small;
    const base = based ? ARENA_BASE + LANDING : 0;
    const offset = (based ? 0 : ARENA_BASE + LANDING) + random.below(0x800);
    let type = 0x18 | (conforming ? 4 : 0) | (random.oneIn(2) ? 2 : 0) | 1;
    if (random.oneIn(20)) type = random.pick([0x11, 0x13, 0x17, 0x02, 0x00, 0x08]); // data, LDT, reserved
    const limit = random.oneIn(8) ? offset : based ? 0xffff : 0xffff_ffff;
    const big = limit > 0xf_ffff;
    const bytes = descriptor(base, big ? Math.ceil(limit / 0x1000) - (limit === 0xffff_ffff ? 1 : 0) : limit, type, dpl, present, 4 | (big ? 8 : 0));
    return { selector: this.define(bytes), offset, dpl, conforming, present };
  }

  finish(name: string): OracleCase {
    const { random, paging, registers, eflags, cr0, cr4, efer, sysenter, patches, undefinedFlags, delivered } = this;
    this.patch(CODE + this.codeOffset, this.code);
    if (paging !== 'none' && random.oneIn(3)) for (const page of [0, 1, STACK0 >>> 12]) this.protectArena(page, 0x63); // supervisor only
    return {
      name, registers, eip: this.eip, eflags, selectors: Uint32Array.from(this.selectors), cr0, cr3: ARENA_BASE + (paging === 'pae' ? PDPT : PAGE_DIRECTORY), cr4, efer, sysenter,
      patches, undefinedFlags, delivered,
    };
  }
}

/** Any descriptor: every type, mostly present, limits small and large. `accessed`: as QEMU never sets that bit of CS and of a new stack. */
export function randomDescriptor(random: Random, accessed: boolean): Uint8Array {
  return descriptor(
    random.oneIn(2) ? 0 : random.operand(), random.oneIn(2) ? 0xf_ffff : random.u32() & 0xf_ffff,
    random.oneIn(4) ? random.below(16) : 0x10 | random.below(16) | (accessed ? 1 : 0), random.below(4), !random.oneIn(8), random.below(16));
}

/** A selector that cannot become CS: null, outside its table, data, system or absent segments. */
export function randomBadCode(scene: SystemScene): number {
  const { random } = scene;
  const rpl = random.below(4);
  switch (random.below(4)) {
    case 0: return rpl;
    case 1: return random.pick([0x3f8, 0x400, 0x78, 0x7c, 0x84, 0xfff8]) | rpl;
    case 2: return (random.pick([...DATA_SELECTORS, LDT_SELECTOR]) & ~3) | rpl;
    default: return scene.define(descriptor(0, 0xf_ffff, random.pick([0x02, 0x00, 0x08, 0x0a, 0x0d, 0x11, 0x13, 0x15, 0x17]), random.below(4), random.oneIn(2), 0xc)) | rpl;
  }
}

/** A selector somewhere: a fresh descriptor, a template entry, null, or outside its table. */
export function randomSelector(scene: SystemScene, accessed = true): number {
  const { random } = scene;
  const rpl = random.oneIn(2) ? scene.cpl : random.below(4);
  switch (random.below(8)) {
    case 0: return rpl;
    case 1: return (random.pick([...CODE_SELECTORS, ...DATA_SELECTORS, LDT_SELECTOR]) & ~3) | rpl;
    case 2: return random.pick([0x3f8, 0x400, 0x78, 0x7c, 0x84, 0xfff8]) | rpl;
    default: return scene.define(randomDescriptor(random, accessed)) | rpl;
  }
}
