import { Hypercall, PhysdevOp } from '../abi.js';
import { Errno } from '../errno.js';
import type { ParavirtExit } from '../paravirt-exit.js';
import type { HypercallEntry } from './hypercall-registry.js';

const ISA_LINES = 16;

/** physdev_op(cmd, arg). */
export const physdevOp: HypercallEntry = {
  number: Hypercall.physdev_op,
  name: 'physdev_op',
  summary: 'Physical devices: I/O privilege of the guest\'s kernel, its I/O bitmap, interrupt lines.',
  call: (exit, [command, argument]) => perform(exit, command!, argument!),
};

/** physdev_op_compat({ u32 cmd, arg… }). */
export const physdevOpCompat: HypercallEntry = {
  number: Hypercall.physdev_op_compat,
  name: 'physdev_op_compat',
  summary: 'The old form of physdev_op, with the command in the structure.',
  call: async (exit, [structure]) => perform(exit, (await exit.memory.read32(structure!, 1))[0]!, structure! + 4),
};

async function perform({ domain, memory, transaction }: ParavirtExit, command: number, argument: number): Promise<number> {
  const first = async (): Promise<number> => (await memory.read32(argument, 1))[0]!;
  switch (command) {
    case PhysdevOp.set_iopl: {
      const iopl = await first();
      if (iopl > 3) return -Errno.EINVAL;
      // Ring 1 has I/O privilege from IOPL 1 on: then the ports that the spec granted open, in the TSS.
      if ((iopl > 0) !== (domain.iopl > 0)) domain.tables.setPorts(transaction, domain.spec.grantedPorts, iopl > 0 ? 'open' : 'closed');
      domain.iopl = iopl;
      return 0;
    }
    case PhysdevOp.set_iobitmap: {
      const [linear, ports] = await memory.read32(argument, 2) as unknown as [number, number];
      if (ports > 65_536) return -Errno.EINVAL;
      domain.ioBitmap = { linear, ports };
      return 0;
    }
    case PhysdevOp.irq_status_query: {
      if (await first() >= ISA_LINES) return -Errno.EINVAL;
      memory.write32(argument + 4, 0); // No line needs an EOI: edges become events.
      return 0;
    }
    case PhysdevOp.irq_unmask_notify: case PhysdevOp.eoi:
      return await first() < ISA_LINES ? 0 : -Errno.EINVAL;
    case PhysdevOp.alloc_irq_vector: {
      const irq = await first();
      if (irq >= ISA_LINES) return -Errno.EINVAL;
      memory.write32(argument + 4, 0x20 + irq);
      return 0;
    }
    case PhysdevOp.map_pirq: {
      // { u16 domid, s32 type, s32 index, s32 pirq, … }: an ISA line is its own pirq.
      const [, , index, pirq] = new Int32Array((await memory.read(argument, 16)).buffer) as unknown as [number, number, number, number];
      if (index < 0 || index >= ISA_LINES || (pirq >= 0 && pirq !== index)) return -Errno.EINVAL;
      memory.write32(argument + 12, index);
      return 0;
    }
    case PhysdevOp.unmap_pirq: case PhysdevOp.setup_gsi: return 0;
    default: return -Errno.ENOSYS;
  }
}
