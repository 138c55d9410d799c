import { PAGE_BYTES } from '../../monitor-space.js';
import { DOMID_SELF, Hypercall, MmuUpdate, UVMF_FLUSHTYPE_MASK, UVMF_INVLPG, UVMF_TLB_FLUSH } from '../abi.js';
import { splitMachineAddress } from '../direct-paging.js';
import { Errno } from '../errno.js';
import { FrameType, isPageTable } from '../frame-table.js';
import type { ParavirtExit } from '../paravirt-exit.js';
import type { HypercallEntry } from './hypercall-registry.js';

const { min } = Math;
const REQUEST_BYTES = 16;
/** Requests fetched at once. */
const BATCH = 64;

/** mmu_update(requests, count, &done, domid): { u64 machine address of the entry | command, u64 value } each, in order, up to the first error. */
export const mmuUpdate: HypercallEntry = {
  number: Hypercall.mmu_update,
  name: 'mmu_update',
  summary: 'Changes page-table entries: each new entry is checked against the frame table, then written.',
  async call(exit, [requests, count, doneAddress, domid]) {
    if (domid !== DOMID_SELF) return -Errno.ESRCH;
    let result = 0;
    let done = 0;
    while (done < count! && result === 0) {
      const batch = min(BATCH, count! - done);
      const words = await exit.memory.read32(requests! + done * REQUEST_BYTES, batch * 4);
      for (let index = 0; index < batch; index++) {
        if (!exit.transaction.spend(1)) result = -Errno.E2BIG;
        if (result !== 0) break;
        const [pointerLow, pointerHigh, low, high] = words.subarray(index * 4, index * 4 + 4) as unknown as [number, number, number, number];
        result = await update(exit, pointerLow, pointerHigh, low, high);
        if (result !== 0) break;
        done++;
      }
    }
    if (doneAddress !== 0) exit.memory.write32(doneAddress!, done);
    return result;
  },
};

async function update({ domain, transaction }: ParavirtExit, pointerLow: number, pointerHigh: number, low: number, high: number): Promise<number> {
  const command = pointerLow & 3;
  const address = (pointerLow & ~3) >>> 0;
  const { mfn, index } = splitMachineAddress(address + pointerHigh * 0x1_0000_0000);
  const { paging } = domain;
  if (!paging.frames.isDomains(mfn)) return -Errno.EINVAL;
  if (command === MmuUpdate.machphys) {
    transaction.write32('monitor', domain.m2p + mfn * 4, low);
    return 0;
  }
  if (command !== MmuUpdate.normal && command !== MmuUpdate.preserve_ad) return -Errno.ENOSYS;
  if (address % 8 !== 0) return -Errno.EINVAL;
  if (isPageTable(paging.frames.type[mfn]!) && paging.frames.typeCount[mfn]! > 0) {
    return paging.updateEntry(transaction, mfn, index, { low, high }, command === MmuUpdate.preserve_ad);
  }
  // A frame that is no page table yet may be filled in this way as well.
  const result = await paging.getType(transaction, mfn, FrameType.writable);
  if (result !== 0) return -Errno.EINVAL;
  transaction.write32('guest', mfn * PAGE_BYTES + index * 8, low, high);
  paging.putType(transaction, mfn);
  return 0;
}

/** update_va_mapping(linear, value low, value high, flags): the L1 entry that maps a linear address, and what to flush. */
export const updateVaMapping: HypercallEntry = {
  number: Hypercall.update_va_mapping,
  name: 'update_va_mapping',
  summary: 'Changes the page-table entry of one linear address, found through the guest\'s current tables.',
  async call({ domain, transaction }, [linear, low, high, flags]) {
    const { paging } = domain;
    const leaf = paging.leafTable(linear!);
    if (leaf === null) return -Errno.EINVAL;
    const result = await paging.updateEntry(transaction, leaf.tableMfn, leaf.index, { low: low!, high: high! }, false);
    if (result !== 0) return result;
    // The upper bits of flags point to a set of processors to flush; there is one.
    const flush = flags! & UVMF_FLUSHTYPE_MASK;
    if (flush === UVMF_TLB_FLUSH) paging.flush(transaction);
    if (flush === UVMF_INVLPG) transaction.add({ kind: 'flush-page', linear: linear! });
    return 0;
  },
};
