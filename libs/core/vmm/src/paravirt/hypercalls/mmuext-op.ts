import { PAGE_BYTES } from '../../monitor-space.js';
import { DOMID_SELF, Hypercall, MMUEXT_OP_BYTES, MmuExt } from '../abi.js';
import { Errno } from '../errno.js';
import { FrameType } from '../frame-table.js';
import type { ParavirtExit } from '../paravirt-exit.js';
import { setLdt } from './descriptors.js';
import type { HypercallEntry } from './hypercall-registry.js';

const { min } = Math;
const BATCH = 64;

/** mmuext_op(operations, count, &done, domid): pins, CR3, flushes, LDT; in order, up to the first error. */
export const mmuextOp: HypercallEntry = {
  number: Hypercall.mmuext_op,
  name: 'mmuext_op',
  summary: 'Pins page tables after validating them, loads CR3, flushes translations, sets the LDT.',
  async call(exit, [operations, count, doneAddress, domid]) {
    if (domid !== DOMID_SELF) return -Errno.ESRCH;
    let result = 0;
    let done = 0;
    while (done < count! && result === 0) {
      const batch = min(BATCH, count! - done);
      const words = await exit.memory.read32(operations! + done * MMUEXT_OP_BYTES, batch * 3);
      for (let index = 0; index < batch; index++) {
        result = !exit.transaction.spend(4) ? -Errno.E2BIG : await perform(exit, words[index * 3]!, words[index * 3 + 1]!, words[index * 3 + 2]!);
        if (result !== 0) break;
        done++;
      }
    }
    if (doneAddress !== 0) exit.memory.write32(doneAddress!, done);
    return result;
  },
};

async function perform(exit: ParavirtExit, command: number, first: number, second: number): Promise<number> {
  const { domain, transaction } = exit;
  const { paging } = domain;
  switch (command) {
    case MmuExt.pin_l1_table: return paging.pin(transaction, first, FrameType.l1);
    case MmuExt.pin_l2_table: return paging.pin(transaction, first, FrameType.l2);
    case MmuExt.pin_l3_table: return paging.pin(transaction, first, FrameType.l3);
    case MmuExt.pin_l4_table: return -Errno.EINVAL; // PAE has three levels.
    case MmuExt.unpin_table: return paging.unpin(transaction, first);
    case MmuExt.new_baseptr: return paging.setRoot(transaction, first);
    case MmuExt.new_user_baseptr: return domain.kernelRing === 3 ? paging.setUserRoot(transaction, first) : -Errno.ENOSYS;
    case MmuExt.tlb_flush_local: case MmuExt.tlb_flush_multi: case MmuExt.tlb_flush_all:
      paging.flush(transaction);
      return 0;
    case MmuExt.invlpg_local: case MmuExt.invlpg_multi: case MmuExt.invlpg_all:
      transaction.add({ kind: 'flush-page', linear: first });
      return 0;
    case MmuExt.flush_cache: return 0; // There are no caches.
    case MmuExt.set_ldt: return setLdt(exit, first, second);
    case MmuExt.clear_page: return fill(exit, first, new Uint8Array(PAGE_BYTES));
    case MmuExt.copy_page:
      if (!paging.frames.isDomains(second)) return -Errno.EINVAL;
      return fill(exit, first, await transaction.read('guest', second * PAGE_BYTES, PAGE_BYTES));
    default: return -Errno.ENOSYS;
  }
}

/** Only a frame that the guest may write is filled. */
async function fill({ domain, transaction }: ParavirtExit, mfn: number, bytes: Uint8Array): Promise<number> {
  if (await domain.paging.getPageAndType(transaction, mfn, FrameType.writable) !== 0) return -Errno.EINVAL;
  transaction.write('guest', mfn * PAGE_BYTES, bytes);
  domain.paging.putPageAndType(transaction, mfn);
  return 0;
}
