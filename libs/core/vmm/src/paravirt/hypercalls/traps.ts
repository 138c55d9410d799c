import { CALLBACKF_MASK_EVENTS, CallbackOp, CallbackType, Hypercall, HYPERCALL_VECTOR, TI_DPL, TI_MASK_EVENTS, TRAP_INFO_BYTES } from '../abi.js';
import { fixSelector } from '../descriptor-check.js';
import { NO_CALLBACK, type Callback, type TrapInfo } from '../domain.js';
import { Errno } from '../errno.js';
import { guestGate, xenGate } from '../xen-gates.js';
import type { ParavirtExit } from '../paravirt-exit.js';
import type { HypercallEntry } from './hypercall-registry.js';

/** The first vector that is no exception. */
const FIRST_INTERRUPT_VECTOR = 32;

/**
 * set_trap_table(table): where the guest wants its exceptions and INT n, up to an entry with address 0; null clears it.
 * A vector above the exceptions that its ring 3 may call goes straight into a kernel in ring 1, without Xen: a system call costs
 * no exit (xen-gates.ts).
 */
export const setTrapTable: HypercallEntry = {
  number: Hypercall.set_trap_table,
  name: 'set_trap_table',
  summary: 'Registers the guest\'s exception handlers; a DPL 3 vector such as 0x80 becomes a gate straight into the guest.',
  async call({ domain, memory, transaction }, [table]) {
    if (table === 0) {
      for (const vector of domain.trapTable.keys()) domain.tables.setGate(transaction, vector, vector < FIRST_INTERRUPT_VECTOR || vector === HYPERCALL_VECTOR ? xenGate(vector, domain.kernelRing) : null);
      domain.trapTable.clear();
      return 0;
    }
    // At most one entry per vector and the end mark.
    for (let index = 0; index <= 256; index++) {
      const bytes = await memory.read(table! + index * TRAP_INFO_BYTES, TRAP_INFO_BYTES);
      const view = new DataView(bytes.buffer);
      const address = view.getUint32(4, true);
      if (address === 0) return 0;
      const vector = bytes[0]!;
      const trap: TrapInfo = { cs: fixSelector(view.getUint16(2, true), domain.kernelRing), address, dpl: bytes[1]! & TI_DPL, masksEvents: (bytes[1]! & TI_MASK_EVENTS) !== 0 };
      domain.trapTable.set(vector, trap);
      if (vector < FIRST_INTERRUPT_VECTOR || vector === HYPERCALL_VECTOR) continue;
      domain.tables.setGate(transaction, vector, guestGate(trap, domain.kernelRing));
    }
    return 0;
  },
};

/** set_callbacks(event_selector, event_address, failsafe_selector, failsafe_address). */
export const setCallbacks: HypercallEntry = {
  number: Hypercall.set_callbacks,
  name: 'set_callbacks',
  summary: 'Registers the event upcall and the failsafe callback.',
  call({ domain }, [eventSelector, eventAddress, failsafeSelector, failsafeAddress]) {
    domain.eventCallback = { cs: fixSelector(eventSelector! & 0xffff, domain.kernelRing), address: eventAddress!, masksEvents: true };
    domain.failsafeCallback = { cs: fixSelector(failsafeSelector! & 0xffff, domain.kernelRing), address: failsafeAddress!, masksEvents: false };
    return 0;
  },
};

/** callback_op(cmd, arg): register { u16 type, u16 flags, u32 cs, u32 eip } or unregister { u16 type }. */
export const callbackOp: HypercallEntry = {
  number: Hypercall.callback_op,
  name: 'callback_op',
  summary: 'Registers or removes one callback: events, failsafe.',
  async call(exit, [command, argument]) {
    if (command === CallbackOp.register) {
      const bytes = await exit.memory.read(argument!, 12);
      const view = new DataView(bytes.buffer);
      const masksEvents = (view.getUint16(2, true) & CALLBACKF_MASK_EVENTS) !== 0;
      return install(exit, view.getUint16(0, true), { cs: fixSelector(view.getUint32(4, true) & 0xffff, exit.domain.kernelRing), address: view.getUint32(8, true), masksEvents });
    }
    if (command === CallbackOp.unregister) {
      const bytes = await exit.memory.read(argument!, 4);
      const type = new DataView(bytes.buffer).getUint16(0, true);
      // The two that a domain cannot live without cannot be removed.
      return type === CallbackType.event || type === CallbackType.failsafe ? -Errno.EINVAL : install(exit, type, NO_CALLBACK);
    }
    return -Errno.ENOSYS;
  },
};

function install({ domain }: ParavirtExit, type: number, callback: Callback): number {
  switch (type) {
    case CallbackType.event:
      domain.eventCallback = callback;
      return 0;
    case CallbackType.failsafe:
      domain.failsafeCallback = callback;
      return 0;
    case CallbackType.nmi:
      return 0; // There is no source of NMIs.
    default:
      // SYSCALL and SYSENTER callbacks need a 64-bit processor, or MSRs that a deprivileged guest does not have.
      return -Errno.ENOSYS;
  }
}
