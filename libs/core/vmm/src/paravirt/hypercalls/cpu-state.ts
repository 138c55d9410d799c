import { Hypercall, VmAssist, VmAssistType } from '../abi.js';
import { fixSelector } from '../descriptor-check.js';
import { Errno } from '../errno.js';
import type { ParavirtExit } from '../paravirt-exit.js';
import type { HypercallEntry } from './hypercall-registry.js';

const CR0_TS = 8;

/** stack_switch(ss, esp): where events from ring 3 begin, for bounce frames and for gates straight into the guest. */
export const stackSwitch: HypercallEntry = {
  number: Hypercall.stack_switch,
  name: 'stack_switch',
  summary: 'Sets the kernel stack for the next entry from ring 3: SS1:ESP1 of the TSS.',
  call({ domain, transaction }, [ss, esp]) {
    domain.kernelSs = fixSelector(ss! & 0xffff, domain.kernelRing);
    domain.kernelEsp = esp!;
    // With the kernel in ring 3 no event changes the ring: the stack is ring -1's to switch.
    if (domain.kernelRing === 1) domain.tables.setInnerStack(transaction, domain.kernelSs, esp!);
    return 0;
  },
};

/** fpu_taskswitch(set): CR0.TS. */
export const fpuTaskswitch: HypercallEntry = {
  number: Hypercall.fpu_taskswitch,
  name: 'fpu_taskswitch',
  summary: 'Sets or clears CR0.TS, which only ring 0 may touch.',
  call(exit, [set]) {
    writeTaskSwitched(exit, set !== 0);
    return 0;
  },
};

export function writeTaskSwitched({ transaction, frame }: ParavirtExit, set: boolean): void {
  const cr0 = set ? frame.cr0 | CR0_TS : frame.cr0 & ~CR0_TS;
  if (cr0 >>> 0 === frame.cr0 >>> 0) return;
  frame.cr0 = cr0 >>> 0;
  transaction.add({ kind: 'register', register: 'cr0', value: frame.cr0 });
}

/** set_debugreg and get_debugreg(register): kept for the guest to read back; breakpoints are not armed in the processor. */
export const setDebugreg: HypercallEntry = {
  number: Hypercall.set_debugreg,
  name: 'set_debugreg',
  summary: 'Keeps a debug register\'s value.',
  call({ domain }, [register, value]) {
    if (register! > 7) return -Errno.EINVAL;
    if (register === 4 || register === 5) return -Errno.EPERM;
    domain.debugRegisters[register!] = value!;
    return 0;
  },
};

export const getDebugreg: HypercallEntry = {
  number: Hypercall.get_debugreg,
  name: 'get_debugreg',
  summary: 'Reads a debug register\'s value back.',
  call: ({ domain }, [register]) => (register! > 7 || register === 4 || register === 5 ? -Errno.EINVAL : domain.debugRegisters[register!]! | 0),
};

const ACCEPTED_ASSISTS: ReadonlySet<number> = new Set([VmAssistType.x4gb_segments, VmAssistType.x4gb_segments_notify, VmAssistType.pae_extended_cr3]);

/**
 * vm_assist(command, type). Segments are 4 GiB and CR3 is below 4 GiB anyway, so those assists change nothing. Writable page
 * tables are not offered: a store into a page table is the guest's own #PF.
 */
export const vmAssist: HypercallEntry = {
  number: Hypercall.vm_assist,
  name: 'vm_assist',
  summary: 'Accepts the assists that ask for nothing; the others are refused.',
  call(_exit, [command, type]) {
    if (command !== VmAssist.enable && command !== VmAssist.disable) return -Errno.ENOSYS;
    return ACCEPTED_ASSISTS.has(type!) ? 0 : -Errno.EINVAL;
  },
};
