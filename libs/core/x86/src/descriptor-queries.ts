import type { Cpu } from './cpu.js';
import { CALL_GATE16, CALL_GATE32, Descriptor, LDT, SELECTOR_RPL, TASK_GATE, TSS16_AVAILABLE, TSS16_BUSY, TSS32_AVAILABLE, TSS32_BUSY, effectiveLevel, isNull, readDescriptor } from './descriptor.js';

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

/** Read the descriptor; false when it does not exist or the current and requested levels may not see it. */
function visible(cpu: Cpu, selector: number, systemTypes: number): boolean {
  if (isNull(selector) || !readDescriptor(cpu, selector, scratch)) return false;
  if (scratch.system && (systemTypes >>> scratch.type & 1) === 0) return false;
  return scratch.conforming || scratch.dpl >= effectiveLevel(cpu, selector);
}

/** LAR: the second word of the descriptor masked to its access rights (bits 8–15, 20–23), or `NOT_VISIBLE`. 16-bit forms keep the low half. */
export function lar(cpu: Cpu, selector: number): number {
  return visible(cpu, selector, LAR_TYPES) ? scratch.high & 0x00f0_ff00 : NOT_VISIBLE;
}

/** LSL: the limit in bytes, 0 to 2^32 − 1, or `NOT_VISIBLE`. */
export function lsl(cpu: Cpu, selector: number): number {
  return visible(cpu, selector, LSL_TYPES) ? scratch.limit >>> 0 : NOT_VISIBLE;
}

/** VERR: the new ZF. */
export function verr(cpu: Cpu, selector: number): boolean {
  return visible(cpu, selector, 0) && scratch.readable;
}

/** VERW: the new ZF. */
export function verw(cpu: Cpu, selector: number): boolean {
  return visible(cpu, selector, 0) && scratch.writableData;
}

/** ARPL: the destination selector with its RPL raised to the source's (ZF = 1), or `NOT_VISIBLE` when it is high enough (ZF = 0). */
export function arpl(destination: number, source: number): number {
  return (destination & SELECTOR_RPL) < (source & SELECTOR_RPL) ? (destination & ~SELECTOR_RPL) | (source & SELECTOR_RPL) : NOT_VISIBLE;
}
