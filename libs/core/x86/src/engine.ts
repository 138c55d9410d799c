import { JUMP_MASK, OP_STALE, USER_JUMPS } from './code-cache.js';
import type { Cpu } from './cpu.js';
import { EXIT, FAULT } from './fault.js';
import { findSlot, isolate } from './fetch.js';
import { FUNCTIONS, SYSTEM_BASE } from './operations.js';
import { CURRENT_SLOT, EIP, REMAINING, REP_DONE } from './state.js';

/** `run` stopped at an instruction boundary and there is something to look at, or the budget is spent. */
export const BOUNDARY = -1;
/** The instruction at EIP raised the fault in FAULT_VECTOR. */
export const FAULTED = -2;

export function run(cpu: Cpu, single: boolean): number {
  const { i32, code } = cpu;
  const { jumps } = code;
  const jumpBase = cpu.user !== 0 ? USER_JUMPS : 0;
  let { slots } = code;
  let remaining = i32[REMAINING]!;
  let reserve = 0;
  let eip = i32[EIP]!;
  let eipPage = 0;
  let pc = 0;
  let link = 0;
  let ran = false;
  i32[REP_DONE] = 0;
  try {
    for (;;) {
      remaining += reserve;
      reserve = 0;
      if (remaining === 0 || (single && ran)) {
        i32[EIP] = eip;
        i32[REMAINING] = remaining;
        return BOUNDARY;
      }
      const entry = jumpBase + ((eip ^ (eip >>> 10)) & JUMP_MASK) * 2;
      pc = jumps[entry + 1]!;
      if (pc === 0 || jumps[entry]! !== eip || slots[pc]! === OP_STALE) {
        pc = 0;
        eipPage = eip;
        const { generation } = code;
        const found = findSlot(cpu, eip);
        slots = code.slots;
        if (generation !== code.generation) link = 0;
        pc = found;
      }
      const meta = slots[pc + 7]!;
      eipPage = (eip - ((meta >>> 12) & 0xfff)) | 0;
      if (link !== 0) {
        if (pc >= 64) slots[link] = pc;
        link = 0;
      }
      if (single || (meta & 0xff) > remaining) {
        pc = isolate(slots, pc);
        i32[CURRENT_SLOT] = pc;
        reserve = remaining - 1;
        remaining = 0;
      } else remaining -= meta & 0xff;
      ran = true;
      for (;;) {
        const operation = slots[pc]!;
        if (operation === OP_STALE) {
          remaining += slots[pc + 7]! & 0xff;
          eip = (eipPage + ((slots[pc + 7]! >>> 12) & 0xfff)) | 0;
          break;
        }
        if (operation === 2) {
          const target = slots[pc + 1]!;
          if (target !== 0) {
            const length = slots[target + 7]! & 0xff;
            if (length <= remaining) {
              remaining -= length;
              pc = target;
              continue;
            }
          }
          eip = (eipPage + slots[pc + 6]!) | 0;
          if (slots[pc + 6]! < 4096) link = pc + 1;
          break;
        }
        i32[CURRENT_SLOT] = pc;
        if (operation < SYSTEM_BASE) {
          FUNCTIONS[operation]!(cpu, pc);
          pc += 8;
          continue;
        }
        const last = slots[pc + 7]!;
        i32[EIP] = eipPage + ((last >>> 12) & 0xfff) + ((last >>> 8) & 15);
        i32[REMAINING] = remaining + reserve + (last & 0xff);
        cpu.stepResult = BOUNDARY;
        FUNCTIONS[operation]!(cpu, pc);
        const done = i32[REP_DONE]!;
        i32[REMAINING]! -= done === 0 ? 1 : done;
        return cpu.stepResult;
      }
    }
  } catch (thrown) {
    if (thrown !== FAULT && thrown !== EXIT) throw thrown;
    const meta = slots[pc + 7]!;
    i32[EIP] = eipPage + ((meta >>> 12) & 0xfff);
    i32[REMAINING] = remaining + reserve + (meta & 0xff) - i32[REP_DONE]!;
    return thrown === FAULT ? FAULTED : cpu.stepResult;
  }
}
