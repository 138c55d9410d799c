import { PAGE_BYTES } from '../../monitor-space.js';
import { DOMID_SELF, Hypercall, MACH2PHYS_VIRT_END, MACH2PHYS_VIRT_START, MemoryOp } from '../abi.js';
import { Errno } from '../errno.js';
import { FrameOwner, FrameType } from '../frame-table.js';
import type { ParavirtExit } from '../paravirt-exit.js';
import type { HypercallEntry } from './hypercall-registry.js';

const NO_PFN = 0xffff_ffff;
const E820_RAM = 1;

/** memory_op(cmd, arg): the domain's reservation of machine frames. */
export const memoryOp: HypercallEntry = {
  number: Hypercall.memory_op,
  name: 'memory_op',
  summary: 'Gives machine frames back and takes them again; tells the size and the map of memory.',
  async call(exit, [command, argument]) {
    const { domain, memory } = exit;
    const { frames } = domain.paging;
    switch (command) {
      case MemoryOp.maximum_ram_page: return frames.frames - 1;
      case MemoryOp.current_reservation: case MemoryOp.maximum_reservation: {
        const [domid] = await memory.read32(argument!, 1);
        if ((domid! & 0xffff) !== DOMID_SELF) return -Errno.ESRCH;
        const given = command === MemoryOp.current_reservation ? domain.paging.free.length : 0;
        return domain.ramFrameOf.size - given;
      }
      case MemoryOp.decrease_reservation: return reserve(exit, argument!, decrease);
      case MemoryOp.increase_reservation: return reserve(exit, argument!, increase);
      case MemoryOp.populate_physmap: return reserve(exit, argument!, populate);
      case MemoryOp.memory_map: {
        // { u32 nr_entries (in: room, out: used), u32 buffer } of { u64 address, u64 size, u32 type }.
        const [room, buffer] = await memory.read32(argument!, 2) as unknown as [number, number];
        if (room < 1) return -Errno.EINVAL;
        memory.write32(buffer, 0, 0, domain.ramFrameOf.size * PAGE_BYTES, 0, E820_RAM);
        memory.write32(argument!, 1);
        return 0;
      }
      case MemoryOp.machphys_mapping:
        memory.write32(argument!, MACH2PHYS_VIRT_START, MACH2PHYS_VIRT_END, frames.frames - 1);
        return 0;
      case MemoryOp.add_to_physmap: return -Errno.EINVAL; // For translated guests alone.
      default: return -Errno.ENOSYS;
    }
  },
};

type Extent = (exit: ParavirtExit, list: number, index: number) => Promise<boolean>;

/** struct xen_memory_reservation { u32 extent_start, u32 nr_extents, u32 extent_order, u32 mem_flags, u16 domid }. Returns how many extents were done. */
async function reserve(exit: ParavirtExit, argument: number, extent: Extent): Promise<number> {
  const [list, count, order, , domid] = await exit.memory.read32(argument, 5) as unknown as [number, number, number, number, number];
  if ((domid & 0xffff) !== DOMID_SELF) return -Errno.ESRCH;
  if (order !== 0) return 0; // Contiguous extents are not to be had.
  let done = 0;
  while (done < count && exit.transaction.spend(8) && await extent(exit, list, done)) done++;
  return done;
}

async function decrease({ domain, memory, transaction }: ParavirtExit, list: number, index: number): Promise<boolean> {
  const [mfn] = await memory.read32(list + index * 4, 1) as unknown as [number];
  const { frames } = domain.paging;
  // A frame that the domain gave back before stays until its last mapping is gone, and cannot be given twice.
  if (mfn >= frames.frames || frames.owner[mfn] !== FrameOwner.domain || frames.allocated[mfn] === 0) return false;
  frames.allocated[mfn] = 0;
  transaction.write32('monitor', domain.m2p + mfn * 4, NO_PFN);
  domain.paging.putPage(transaction, mfn);
  return true;
}

/** A new frame, its number written to the list. */
async function increase(exit: ParavirtExit, list: number, index: number): Promise<boolean> {
  const mfn = allocate(exit, NO_PFN);
  if (mfn < 0) return false;
  if (list !== 0) exit.memory.write32(list + index * 4, mfn);
  return true;
}

/** A new frame for the pseudo-physical frame in the list, which its machine frame replaces. */
async function populate(exit: ParavirtExit, list: number, index: number): Promise<boolean> {
  const [pfn] = await exit.memory.read32(list + index * 4, 1) as unknown as [number];
  const mfn = allocate(exit, pfn);
  if (mfn < 0) return false;
  exit.memory.write32(list + index * 4, mfn);
  return true;
}

function allocate({ domain, transaction }: ParavirtExit, pfn: number): number {
  const { frames, free } = domain.paging;
  const mfn = free.shift();
  if (mfn === undefined) return -Errno.ENOMEM;
  frames.owner[mfn] = FrameOwner.domain;
  frames.allocated[mfn] = 1;
  frames.refCount[mfn] = 1;
  frames.type[mfn] = FrameType.none;
  frames.typeCount[mfn] = 0;
  transaction.add({ kind: 'frame', frame: mfn, target: { space: 'guest', frame: domain.ramFrameOf.get(mfn)! } });
  transaction.write('guest', mfn * PAGE_BYTES, new Uint8Array(PAGE_BYTES));
  transaction.write32('monitor', domain.m2p + mfn * 4, pfn);
  return mfn;
}
