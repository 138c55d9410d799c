import { Hypercall, SchedOp, ShutdownReason } from '../abi.js';
import { Errno } from '../errno.js';
import type { ParavirtExit } from '../paravirt-exit.js';
import type { HypercallEntry } from './hypercall-registry.js';

/** Ports that one poll may name: Xen's limit. */
const MAX_POLL_PORTS = 128;

/** sched_op(cmd, arg): yield; block; shutdown { u32 reason }; poll { u32 ports, u32 nr_ports, u64 timeout }. */
export const schedOp: HypercallEntry = {
  number: Hypercall.sched_op,
  name: 'sched_op',
  summary: 'Gives up the processor: yield, block until an event (STI; HLT), poll for some ports, shut down.',
  async call(exit, [command, argument]) {
    switch (command) {
      case SchedOp.yield: return 0;
      case SchedOp.block: return block(exit);
      case SchedOp.shutdown: return shutdown(exit, (await exit.memory.read32(argument!, 1))[0]!);
      case SchedOp.poll: return poll(exit, argument!);
      default: return -Errno.ENOSYS;
    }
  },
};

/** sched_op_compat(cmd, reason): the same before Xen 3.1; the reason itself is the argument. */
export const schedOpCompat: HypercallEntry = {
  number: Hypercall.sched_op_compat,
  name: 'sched_op_compat',
  summary: 'The old form of sched_op.',
  call(exit, [command, reason]) {
    switch (command) {
      case SchedOp.yield: return 0;
      case SchedOp.block: return block(exit);
      case SchedOp.shutdown: return shutdown(exit, reason!);
      default: return -Errno.ENOSYS;
    }
  },
};

/** Events come in from now on; if none waits, the processor does. `finish` wakes it at once for one that does. */
function block({ domain, transaction }: ParavirtExit): number {
  domain.events.setUpcallMask(transaction, 0);
  domain.blocked = { kind: 'block' };
  transaction.add({ kind: 'activity', activity: 'halted' });
  return 0;
}

async function poll({ domain, memory, transaction }: ParavirtExit, argument: number): Promise<number> {
  const bytes = await memory.read(argument, 16);
  const view = new DataView(bytes.buffer);
  const count = view.getUint32(4, true);
  if (count > MAX_POLL_PORTS) return -Errno.EINVAL;
  const ports = [...await memory.read32(view.getUint32(0, true), count)];
  if (ports.some((port) => port >= domain.channels.ports)) return -Errno.EINVAL;
  for (const port of ports) if (await domain.events.isPending(transaction, port)) return 0;
  const timeout = view.getUint32(8, true) + view.getUint32(12, true) * 0x1_0000_0000;
  domain.blocked = { kind: 'poll', ports, until: timeout === 0 ? Infinity : timeout };
  transaction.add({ kind: 'activity', activity: 'halted' });
  return 0;
}

function shutdown({ domain, transaction }: ParavirtExit, reason: number): number {
  switch (reason) {
    case ShutdownReason.poweroff:
      domain.stop(transaction, 'shutdown', 'the guest powered off');
      return 0;
    case ShutdownReason.reboot:
      domain.stop(transaction, 'shutdown', 'the guest asked for a reboot');
      return 0;
    case ShutdownReason.suspend:
      domain.stop(transaction, 'shutdown', 'the guest suspended itself');
      return 0;
    case ShutdownReason.crash: case ShutdownReason.watchdog:
      domain.crash(transaction, 'the guest reported that it had crashed');
      return 0;
    default: return -Errno.EINVAL;
  }
}
