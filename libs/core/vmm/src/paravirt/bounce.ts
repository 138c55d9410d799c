import { isReturnCode, isStack, segmentState } from '../deprivileged/segment-descriptor.js';
import type { Callback } from './domain.js';
import { GuestFault } from './guest-memory.js';
import type { ParavirtExit } from './paravirt-exit.js';

const EFLAGS_TF = 1 << 8, EFLAGS_IF = 1 << 9, EFLAGS_NT = 1 << 14, EFLAGS_RF = 1 << 16, EFLAGS_VM = 1 << 17;
/** Exceptions that push an error code (SDM Vol. 3A Table 6-1). */
const WITH_ERROR_CODE = (1 << 8) | (1 << 10) | (1 << 11) | (1 << 12) | (1 << 13) | (1 << 14) | (1 << 17);

/** Deliver exception or INT n `vector` to the guest through its trap table; the frame's EIP is the one to return to. */
export async function bounceTrap(exit: ParavirtExit, vector: number, errorCode: number): Promise<void> {
  const { domain, transaction } = exit;
  const trap = domain.trapTable.get(vector);
  if (trap === undefined) {
    domain.crash(transaction, `the guest raised vector ${vector} (error code 0x${errorCode.toString(16)}) at EIP 0x${exit.frame.eip.toString(16)} and has no entry for it in its trap table`);
    return;
  }
  const pushed = vector < 32 && (WITH_ERROR_CODE & (1 << vector)) !== 0 ? [errorCode] : [];
  await bounce(exit, trap, pushed);
}

/** The event upcall: no error code, further upcalls masked. */
export async function bounceEvent(exit: ParavirtExit): Promise<void> {
  await bounce(exit, { ...exit.domain.eventCallback, masksEvents: true }, []);
}

/** The failsafe callback: a return to the guest met a selector that cannot be loaded. Pushes the data selectors: DS, ES, FS, GS. */
export async function bounceFailsafe(exit: ParavirtExit): Promise<void> {
  const { frame, domain } = exit;
  await bounce(exit, domain.failsafeCallback, (['ds', 'es', 'fs', 'gs'] as const).map((name) => frame.segment(name).selector));
}

/**
 * Xen's create_bounce_frame. On the kernel's stack (the current one, or SS1:ESP1 when the guest ran in ring 2 or 3), upwards:
 *
 *   [what `pushed` says] EIP  CS | saved upcall mask << 16  EFLAGS with IF = !mask  [ESP SS]
 *
 * With the kernel in ring 3 the RPL of that CS tells where the event came from, as on 64-bit Xen: 0 the kernel, 3 an application.
 */
async function bounce(exit: ParavirtExit, target: Callback, pushed: readonly number[]): Promise<void> {
  const { domain, frame, memory, transaction } = exit;
  transaction.charge('descriptor-check', 2); // CS and SS
  const code = domain.tables.descriptor(target.cs);
  if (code === null || !isReturnCode(code, target.cs & 3)) {
    domain.crash(transaction, `the guest's handler stands in segment 0x${target.cs.toString(16)}, which is no code segment it may use`);
    return;
  }
  const switches = (domain.guestRing(frame) & 2) !== 0;
  const stackSelector = switches ? domain.kernelSs : frame.segment('ss').selector;
  const stack = domain.tables.descriptor(stackSelector);
  if (stack === null || !isStack(stack, target.cs & 3)) {
    domain.crash(transaction, `the guest's kernel stack segment 0x${stackSelector.toString(16)} cannot be loaded in ring ${target.cs & 3}`);
    return;
  }
  const ss = switches ? segmentState(stackSelector, stack) : frame.segment('ss');
  const mask = await domain.events.upcallMask(transaction);
  const eflags = ((frame.eflags & ~EFLAGS_IF) | (mask === 0 ? EFLAGS_IF : 0)) >>> 0;
  const from = frame.segment('cs').selector & (domain.kernelRing === 3 && !switches ? 0xfffc : 0xffff);
  const words = [...pushed, frame.eip, from | (mask << 16), eflags];
  if (switches) words.push(frame.esp, frame.segment('ss').selector);
  const esp = ((switches ? domain.kernelEsp : frame.esp) - words.length * 4) >>> 0;
  domain.paging.enterKernelMode(transaction);
  try {
    memory.write32((ss.base + esp) >>> 0, ...words);
  } catch (error) {
    if (!(error instanceof GuestFault)) throw error;
    domain.crash(transaction, `the guest's kernel stack at 0x${esp.toString(16)} is not writable`);
    return;
  }
  if (target.masksEvents && mask === 0) domain.events.setUpcallMask(transaction, 1);
  frame.esp = esp;
  if (switches) frame.setSegment('ss', ss);
  frame.setSegment('cs', segmentState(target.cs, code));
  frame.cpl = target.cs & 3;
  frame.eip = target.address;
  frame.eflags = (frame.eflags & ~(EFLAGS_TF | EFLAGS_NT | EFLAGS_RF | EFLAGS_VM)) >>> 0;
}
