import { SCRATCH_SLOT } from './code-cache.js';
import type { Cpu } from './cpu.js';
import { decode } from './decoder.js';
import { FUNCTIONS } from './operations.js';
import { SLOT_OP } from './slot-layout.js';
import { CPL, CURRENT_SLOT, EIP, NOT_COMPLETED, REP_DONE } from './state.js';

/**
 * IN, OUT, INS and OUTS of a translated kernel, left to ring -1: carried out up to the access, which stands in `cpu.exit` as with any port access, and with
 * the permission of ring 0, which the guest believes to be in. The registers are the guest's. False if there is no access to make
 * (a REP with nothing left): nothing has happened then. May raise a fault or leave, for the memory side of a string.
 */
export function beginPortAccess(cpu: Cpu, bytes: Uint8Array): boolean {
  const { i32, code } = cpu;
  const level = i32[CPL]!;
  const eip = i32[EIP]!;
  decode(cpu, bytes, 0, bytes.length, SCRATCH_SLOT, 0, cpu.mode);
  i32[CURRENT_SLOT] = SCRATCH_SLOT;
  i32[EIP] = eip + bytes.length;
  i32[CPL] = 0;
  try {
    FUNCTIONS[code.slots[SCRATCH_SLOT + SLOT_OP]!]!(cpu, SCRATCH_SLOT);
  } finally {
    i32[CPL] = level;
    i32[EIP] = eip;
  }
  const left = i32[REP_DONE] === NOT_COMPLETED;
  i32[REP_DONE] = 0;
  return left;
}
