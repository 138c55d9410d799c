import type { Cpu } from './cpu.js';

/** An instruction: executes the predecoded `slot`. Raises a fault or leaves before it has changed anything guest-visible. */
export type InstructionFunction = (cpu: Cpu, slot: number) => void;

/**
 * Functions by mnemonic and operand shape (decode-table.ts): one, or those for 16- and 32-bit operand size. A string instruction has
 * a second one under `REP …`.
 */
export type InstructionSet = Readonly<Record<string, InstructionFunction | readonly [InstructionFunction, InstructionFunction]>>;
