import { NO_CONTROLS, type ExecutionControls } from './execution-controls.js';
import type { BusAccess, ProcessorEvent, ProcessorExit } from './step.js';

/** Where guest RAM begins in the VM's memory; below it lie the processor state and the TLB (state.ts). */
export const RAM_BASE = 0x40000;

/**
 * The machine that every instruction function takes as its parameter: views on the VM's memory and what cannot live in it.
 * One class for all VMs, no closures per VM, so that call sites stay monomorphic.
 */
export class Cpu {
  readonly memory: WebAssembly.Memory;
  readonly i32: Int32Array;
  readonly u32: Uint32Array;
  readonly u16: Uint16Array;
  readonly u8: Uint8Array;
  readonly f64: Float64Array;
  /** Byte offsets and sizes in `memory`. */
  readonly ramBytes: number;
  readonly monitorBase: number;
  readonly monitorBytes: number;
  controls: ExecutionControls = NO_CONTROLS;
  readonly exit: ProcessorExit = { reason: 0, qualification: 0, instructionLength: 0, guestLinear: 0, guestPhysical: 0, access: null, event: null, mark: 0 };

  constructor(ramBytes: number, monitorBytes: number) {
    const pages = Math.ceil((RAM_BASE + ramBytes + monitorBytes) / 65_536);
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    const { buffer } = this.memory;
    this.i32 = new Int32Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.u8 = new Uint8Array(buffer);
    this.f64 = new Float64Array(buffer);
    this.ramBytes = ramBytes;
    this.monitorBase = RAM_BASE + ramBytes;
    this.monitorBytes = monitorBytes;
  }
}

export type { BusAccess, ProcessorEvent };
