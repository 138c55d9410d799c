import type { SegmentName } from '@ringside/machine';
import { isReturnCode, isStack, segmentState } from '../../deprivileged/segment-descriptor.js';
import { EAX } from '../../deprivileged/guest-frame.js';
import { Hypercall } from '../abi.js';
import { bounceFailsafe } from '../bounce.js';
import { fixSelector } from '../descriptor-check.js';
import { GuestFault } from '../guest-memory.js';
import type { ParavirtExit } from '../paravirt-exit.js';
import type { HypercallEntry } from './hypercall-registry.js';

const EFLAGS_IF = 1 << 9, EFLAGS_IOPL = 3 << 12, EFLAGS_NT = 1 << 14, EFLAGS_VM = 1 << 17;
const UNUSABLE = 0x1_0000;
const DATA_SEGMENTS: readonly SegmentName[] = ['es', 'ds', 'fs', 'gs'];

/**
 * iret(): return from an event or exception with the virtual interrupt flag. The frame stands at ESP:
 *
 *   EAX  EIP  CS  EFLAGS  [ESP  SS, when CS is not the kernel's]
 *
 * A kernel in ring 3 names itself by RPL 0 or 1 in CS; RPL 3 returns to an application, on the page tables made for those.
 *
 * EFLAGS.IF becomes !evtchn_upcall_mask; the processor's own IF stays 1. A frame that cannot be read ends the domain; a
 * selector that cannot be loaded goes to the failsafe callback.
 */
export const iret: HypercallEntry = {
  number: Hypercall.iret,
  name: 'iret',
  summary: 'Returns from an exception or event, restoring the guest\'s virtual interrupt flag.',
  async call(exit) {
    const { domain, frame, memory, transaction } = exit;
    const stack = (frame.segment('ss').base + frame.esp) >>> 0;
    let words: Uint32Array;
    try {
      words = await memory.read32(stack, 4);
      if ((words[2]! & 3) > 1) words = await memory.read32(stack, 6);
    } catch (error) {
      if (!(error instanceof GuestFault)) throw error;
      domain.crash(transaction, `the iret hypercall's frame at 0x${stack.toString(16)} is not readable`);
      return 0;
    }
    const [eax, eip, csWord, eflags] = words as unknown as [number, number, number, number];
    const cs = fixSelector(csWord & 0xffff, domain.kernelRing);
    if ((domain.kernelRing === 1 && (csWord & 3) === 0) || (eflags & EFLAGS_VM) !== 0) {
      domain.crash(transaction, (eflags & EFLAGS_VM) !== 0 ? 'the iret hypercall asked for virtual-8086 mode' : `the iret hypercall asked for ring 0 (CS 0x${(csWord & 0xffff).toString(16)})`);
      return 0;
    }
    const outward = words.length > 4;
    if (outward && domain.kernelRing === 3 && !domain.paging.enterUserMode(transaction)) {
      domain.crash(transaction, 'the iret hypercall asked for an application, and the guest has named no page tables for those (MMUEXT_NEW_USER_BASEPTR)');
      return 0;
    }
    frame.eip = eip;
    frame.eflags = ((eflags & ~(EFLAGS_IOPL | EFLAGS_NT)) | EFLAGS_IF) >>> 0;
    frame.esp = outward ? words[4]! : (frame.esp + 16) >>> 0;
    frame.general[EAX] = eax;
    domain.events.setUpcallMask(transaction, (eflags & EFLAGS_IF) === 0 ? 1 : 0);
    const ssSelector = outward ? words[5]! & 0xffff : frame.segment('ss').selector;
    await enterRing(exit, cs, ssSelector);
    return eax;
  },
};

/** What Xen's own IRET would load; where that faults, the failsafe callback is told, on the kernel's stack. */
async function enterRing(exit: ParavirtExit, cs: number, ss: number): Promise<void> {
  const { domain, frame, transaction } = exit;
  transaction.charge('descriptor-check', 2);
  const ring = cs & 3;
  const code = domain.tables.descriptor(cs);
  const stack = domain.tables.descriptor(ss);
  if (code === null || !isReturnCode(code, ring) || stack === null || (ss & 3) !== ring || !isStack(stack, ring)) {
    frame.setSegment('cs', { ...frame.segment('cs'), selector: cs });
    frame.setSegment('ss', { ...frame.segment('ss'), selector: ss });
    frame.cpl = ring;
    await bounceFailsafe(exit);
    return;
  }
  if (ring > frame.cpl) {
    // SDM Vol. 3A 6.12.1: data segments of an inner ring do not survive the return to an outer one.
    for (const name of DATA_SEGMENTS) {
      const { rights } = frame.segment(name);
      if ((rights & UNUSABLE) === 0 && ((rights >> 5) & 3) < ring) frame.setSegment(name, { selector: 0, base: 0, limit: 0, rights: UNUSABLE });
    }
  }
  frame.setSegment('cs', segmentState(cs, code));
  frame.setSegment('ss', segmentState(ss, stack));
  frame.cpl = ring;
}
