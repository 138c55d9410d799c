import type { VirtualState } from '@ringside/x86';

const CR0_PE_ET = 0x11;
export const EFLAGS_IF = 1 << 9, EFLAGS_IOPL = 3 << 12;

export interface VirtualTable { readonly base: number; readonly limit: number }
/** LDTR and TR with their hidden parts; `rights` as VMX lays them out. */
export interface VirtualSystemSegment extends VirtualTable { readonly selector: number; readonly rights: number }

/** The privileged state that a deprivileged guest believes in; the processor's own is the monitor's. CR2 alone is kept in the processor. */
export class VirtualCpu {
  cr0 = CR0_PE_ET;
  cr3 = 0;
  cr4 = 0;
  interruptFlag = false;
  iopl = 0;
  gdtr: VirtualTable = { base: 0, limit: 0 };
  idtr: VirtualTable = { base: 0, limit: 0 };
  ldtr: VirtualSystemSegment = { selector: 0, base: 0, limit: 0, rights: 0x1_0000 };
  tr: VirtualSystemSegment = { selector: 0, base: 0, limit: 0xffff, rights: 0x8b };
  halted = false;
  /** Retired instructions at the boundary behind STI or MOV SS, where no interrupt is taken yet, and which of the two (SHADOW_STI, SHADOW_MOV_SS). */
  shadowAt = -1;
  shadow = 0;
  /** Bits of DR6 for the debug trap that the processor has been told of. */
  trapTold = 0;
  readonly debug = new Uint32Array([0, 0, 0, 0, 0, 0, 0xffff_0ff0, 0x400]);
  readonly msrs = new Map<number, bigint>([[0x174, 0n], [0x175, 0n], [0x176, 0n], [0xc000_0080, 0n]]);

  /** IF and IOPL, in their places. */
  get flags(): number {
    return (this.interruptFlag ? EFLAGS_IF : 0) | (this.iopl << 12);
  }

  set flags(image: number) {
    this.interruptFlag = (image & EFLAGS_IF) !== 0;
    this.iopl = (image & EFLAGS_IOPL) >>> 12;
  }

  get state(): VirtualState {
    return {
      flags: this.flags, cr0: this.cr0, gdtBase: this.gdtr.base, gdtLimit: this.gdtr.limit, idtBase: this.idtr.base, idtLimit: this.idtr.limit,
      ldtr: this.ldtr.selector, tr: this.tr.selector,
    };
  }
}
