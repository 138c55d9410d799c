import { DOMID_SELF, EventChannelOp, Hypercall, NR_VIRQS } from '../abi.js';
import { Errno } from '../errno.js';
import { statusOf } from '../event-channels.js';
import type { ParavirtExit } from '../paravirt-exit.js';
import type { HypercallEntry } from './hypercall-registry.js';

/** Interrupt lines of the machine that a domain can bind. */
const PIRQS = 16;

/** event_channel_op(cmd, arg). */
export const eventChannelOp: HypercallEntry = {
  number: Hypercall.event_channel_op,
  name: 'event_channel_op',
  summary: 'Binds, notifies, masks and closes event channels: virtual interrupts, interrupt lines, the console.',
  call: (exit, [command, argument]) => perform(exit, command!, argument!),
};

/** event_channel_op_compat({ u32 cmd, arg… }). */
export const eventChannelOpCompat: HypercallEntry = {
  number: Hypercall.event_channel_op_compat,
  name: 'event_channel_op_compat',
  summary: 'The old form of event_channel_op, with the command in the structure.',
  call: async (exit, [structure]) => perform(exit, (await exit.memory.read32(structure!, 1))[0]!, structure! + 4),
};

async function perform(exit: ParavirtExit, command: number, argument: number): Promise<number> {
  const { domain, memory, transaction } = exit;
  const { channels } = domain;
  const words = async (count: number): Promise<[number, number, number]> => await memory.read32(argument, count) as unknown as [number, number, number];
  switch (command) {
    case EventChannelOp.bind_virq: {
      const [virq, vcpu] = await words(2);
      if (virq >= NR_VIRQS) return -Errno.EINVAL;
      if (vcpu !== 0) return -Errno.ENOENT;
      if (channels.portOf('virq', virq) >= 0) return -Errno.EEXIST;
      return allocated(exit, argument + 8, channels.allocate({ kind: 'virq', virq }));
    }
    case EventChannelOp.bind_pirq: {
      const [pirq] = await words(2);
      if (pirq >= PIRQS) return -Errno.EINVAL;
      if (channels.portOf('pirq', pirq) >= 0) return -Errno.EEXIST;
      return allocated(exit, argument + 8, channels.allocate({ kind: 'pirq', pirq }));
    }
    case EventChannelOp.bind_ipi: {
      const [vcpu] = await words(1);
      if (vcpu !== 0) return -Errno.ENOENT;
      return allocated(exit, argument + 4, channels.allocate({ kind: 'ipi' }));
    }
    case EventChannelOp.alloc_unbound: {
      const [domains] = await words(1);
      if ((domains & 0xffff) !== DOMID_SELF) return -Errno.EPERM;
      return allocated(exit, argument + 4, channels.allocate({ kind: 'unbound', remote: domains >>> 16 }));
    }
    case EventChannelOp.bind_interdomain: return bindInterdomain(exit, argument);
    case EventChannelOp.close: {
      const [port] = await words(1);
      if (channels.get(port).kind === 'free') return -Errno.EINVAL;
      await domain.events.clearPending(transaction, port);
      channels.close(port, DOMID_SELF);
      return 0;
    }
    case EventChannelOp.send: return send(exit, (await words(1))[0]);
    case EventChannelOp.status: {
      const bytes = await memory.read(argument, 8);
      const view = new DataView(bytes.buffer);
      if (view.getUint16(0, true) !== DOMID_SELF) return -Errno.ESRCH;
      const port = view.getUint32(4, true);
      if (port >= channels.ports) return -Errno.EINVAL;
      const { status, detail } = statusOf(channels.get(port));
      memory.write32(argument + 8, status, 0, detail);
      return 0;
    }
    case EventChannelOp.bind_vcpu: {
      const [port, vcpu] = await words(2);
      if (vcpu !== 0) return -Errno.ENOENT;
      return channels.get(port).kind === 'free' ? -Errno.EINVAL : 0;
    }
    case EventChannelOp.unmask: {
      const [port] = await words(1);
      if (port >= channels.ports) return -Errno.EINVAL;
      await domain.events.unmask(transaction, port);
      return 0;
    }
    case EventChannelOp.reset:
      for (let port = 1; port < channels.ports; port++) channels.close(port, DOMID_SELF);
      return 0;
    default: return -Errno.ENOSYS;
  }
}

/** Hand out a new port: it starts unmasked-or-masked as the guest left the bit, and not pending. */
async function allocated({ domain, memory, transaction }: ParavirtExit, address: number, port: number): Promise<number> {
  if (port < 0) return port;
  try {
    memory.write32(address, port);
  } catch (error) {
    domain.channels.close(port, DOMID_SELF);
    throw error;
  }
  await domain.events.clearPending(transaction, port);
  return 0;
}

/** { u16 remote_dom, u32 remote_port, u32 local_port (out) }: within the domain alone; there is no other to talk to. */
async function bindInterdomain(exit: ParavirtExit, argument: number): Promise<number> {
  const { domain, memory } = exit;
  const bytes = await memory.read(argument, 8);
  const view = new DataView(bytes.buffer);
  if (view.getUint16(0, true) !== DOMID_SELF) return -Errno.ESRCH;
  const remote = view.getUint32(4, true);
  if (domain.channels.get(remote).kind !== 'unbound') return -Errno.EINVAL;
  const local = domain.channels.allocate({ kind: 'loop', port: remote });
  const result = await allocated(exit, argument + 8, local);
  if (result === 0) domain.channels.bind(remote, { kind: 'loop', port: local });
  return result;
}

async function send({ domain, transaction }: ParavirtExit, port: number): Promise<number> {
  const binding = domain.channels.get(port);
  switch (binding.kind) {
    case 'console':
      await domain.console.notified(domain, transaction);
      return 0;
    case 'loop':
      await domain.raisePort(transaction, binding.port);
      return 0;
    case 'ipi':
      await domain.raisePort(transaction, port);
      return 0;
    case 'unbound': return 0; // Nobody listens yet.
    default: return -Errno.EINVAL;
  }
}

