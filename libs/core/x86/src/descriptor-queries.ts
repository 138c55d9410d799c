import type { Cpu } from './cpu.js';
import { CALL_GATE16, CALL_GATE32, Descriptor, LDT, SELECTOR_RPL, TASK_GATE, TSS16_AVAILABLE, TSS16_BUSY, TSS32_AVAILABLE, TSS32_BUSY, effectiveLevel, isNull, readDescriptor } from './descriptor.js';
import { observeSensitive } from './sensitive.js';
import { CPL } from './state.js';

/*
 * LAR, LSL, VERR, VERW and ARPL: what software may learn about a descriptor without loading it (SDM Vol. 3A 5.10). They do not
 * trap in any ring, which makes them `sensitive`: a deprivileged kernel is told of the monitor's descriptors and its own ring.
 */
const scratch = new Descriptor();

/** Result of `lar` and `lsl` when the descriptor may not be shown: ZF = 0 and the destination stays as it is. */
export const NOT_VISIBLE = -1;

const bits = (...types: number[]): number => types.reduce((set, type) => set | (1 << type), 0);
/** System types that have access rights to show (SDM Vol. 2A, LAR) and those that have a limit (LSL). */
const LAR_TYPES = bits(TSS16_AVAILABLE, LDT, TSS16_BUSY, CALL_GATE16, TASK_GATE, TSS32_AVAILABLE, TSS32_BUSY, CALL_GATE32);
const LSL_TYPES = bits(TSS16_AVAILABLE, LDT, TSS16_BUSY, TSS32_AVAILABLE, TSS32_BUSY);

/** Read the descriptor; false when there is none, or of a system type without an answer. */
function exists(cpu: Cpu, selector: number, systemTypes: number): boolean {
  if (isNull(selector) || !readDescriptor(cpu, selector, scratch)) return false;
  return !scratch.system || (systemTypes >>> scratch.type & 1) !== 0;
}

/** `show` of the descriptor, if the current and requested levels may see it. A deprivileged guest should have seen it with its own levels. */
function query(cpu: Cpu, mnemonic: string, selector: number, systemTypes: number, show: (dpl: number) => number): number {
  if (!exists(cpu, selector, systemTypes)) return NOT_VISIBLE;
  const { dpl, conforming } = scratch;
  const seen = conforming || dpl >= effectiveLevel(cpu, selector) ? show(dpl) : NOT_VISIBLE;
  if (cpu.controls.virtualState !== null && cpu.i32[CPL] === 1) {
    const own = scratch.system || conforming || dpl !== 1 ? dpl : 0;
    observeSensitive(cpu, mnemonic, 'result (all ones: ZF = 0)', seen, conforming || own >= (selector & SELECTOR_RPL) ? show(own) : NOT_VISIBLE);
  }
  return seen;
}

const accessRights = (dpl: number): number => ((scratch.high & ~DPL) | (dpl << DPL_SHIFT)) & 0x00f0_ff00;
const segmentLimit = (): number => scratch.limit >>> 0;
const isReadable = (): number => (scratch.readable ? 1 : NOT_VISIBLE);
const isWritable = (): number => (scratch.writableData ? 1 : NOT_VISIBLE);
const DPL_SHIFT = 13, DPL = 3 << DPL_SHIFT;

/** LAR: the second word of the descriptor masked to its access rights (bits 8–15, 20–23), or `NOT_VISIBLE`. 16-bit forms keep the low half. */
export const lar = (cpu: Cpu, selector: number): number => query(cpu, 'LAR', selector, LAR_TYPES, accessRights);
/** LSL: the limit in bytes, 0 to 2^32 − 1, or `NOT_VISIBLE`. */
export const lsl = (cpu: Cpu, selector: number): number => query(cpu, 'LSL', selector, LSL_TYPES, segmentLimit);
/** VERR: the new ZF. */
export const verr = (cpu: Cpu, selector: number): boolean => query(cpu, 'VERR', selector, 0, isReadable) !== NOT_VISIBLE;
/** VERW: the new ZF. */
export const verw = (cpu: Cpu, selector: number): boolean => query(cpu, 'VERW', selector, 0, isWritable) !== NOT_VISIBLE;

/** ARPL: the destination selector with its RPL raised to the source's (ZF = 1), or `NOT_VISIBLE` when it is high enough (ZF = 0). */
export function arpl(destination: number, source: number): number {
  return (destination & SELECTOR_RPL) < (source & SELECTOR_RPL) ? (destination & ~SELECTOR_RPL) | (source & SELECTOR_RPL) : NOT_VISIBLE;
}
