import type { Cpu } from './cpu.js';
import type { ExitReason } from './exit-reason.js';
import { StepResult } from './step.js';
import { FAULT_ERROR, FAULT_HAS_ERROR, FAULT_VECTOR } from './state.js';

/** Exception vectors (SDM Vol. 3A 6.3.1). */
export const DE = 0, DB = 1, NMI = 2, BP = 3, OF = 4, BR = 5, UD = 6, NM = 7, DF = 8, TS = 10, NP = 11, SS_FAULT = 12, GP = 13, PF = 14, MF = 16, AC = 17;

/**
 * Thrown (preallocated, no stack) to leave an instruction before it has changed anything; the run loop catches it, restores EIP
 * to the instruction, and delivers the event (FAULT) or returns to its caller (EXIT).
 */
export const FAULT = Object.freeze({ thrown: 'fault' });
export const EXIT = Object.freeze({ thrown: 'exit' });

export function isControlTransfer(thrown: unknown): boolean {
  return thrown === FAULT || thrown === EXIT;
}

/** Raise an exception with an error code, or none when `errorCode` is negative. The instruction must not have changed any state. */
export function raise(cpu: Cpu, vector: number, errorCode = -1): never {
  cpu.i32[FAULT_VECTOR] = vector;
  cpu.i32[FAULT_HAS_ERROR] = errorCode < 0 ? 0 : 1;
  cpu.i32[FAULT_ERROR] = errorCode < 0 ? 0 : errorCode;
  throw FAULT;
}

/** Leave the guest before this instruction has changed anything. The caller has set what else the exit carries in `cpu.exit`. */
export function leave(cpu: Cpu, reason: ExitReason, qualification = 0): never {
  cpu.exit.reason = reason;
  cpu.exit.qualification = qualification >>> 0;
  cpu.stepResult = StepResult.Exit;
  throw EXIT;
}

/** Leave for a bus cycle that no execution control intercepts. The caller has set `cpu.exit.access`. */
export function leaveForBus(cpu: Cpu): never {
  cpu.stepResult = StepResult.BusCycle;
  throw EXIT;
}
