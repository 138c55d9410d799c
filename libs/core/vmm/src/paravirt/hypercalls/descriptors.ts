import { DESCRIPTORS_PER_PAGE } from '../../deprivileged/monitor-tables.js';
import { PAGE_BYTES } from '../../monitor-space.js';
import { Hypercall } from '../abi.js';
import { checkDescriptor } from '../descriptor-check.js';
import { Errno } from '../errno.js';
import { FrameType } from '../frame-table.js';
import type { ParavirtExit } from '../paravirt-exit.js';
import { FIRST_RESERVED_GDT_ENTRY } from '../selectors.js';
import type { HypercallEntry } from './hypercall-registry.js';

const { ceil, floor } = Math;
const NO_DESCRIPTORS = new Uint32Array(DESCRIPTORS_PER_PAGE * 2);

/** set_gdt(frame_list, entries): the frames become descriptor tables, which the guest may read and never write, and their descriptors the processor's. */
export const setGdt: HypercallEntry = {
  number: Hypercall.set_gdt,
  name: 'set_gdt',
  summary: 'Makes frames of the guest its GDT: every descriptor is checked, none may have DPL 0, and the frames stay read-only.',
  async call(exit, [list, entries]) {
    const { domain, memory, transaction } = exit;
    if (entries! > FIRST_RESERVED_GDT_ENTRY) return -Errno.EINVAL;
    const frames = [...await memory.read32(list!, ceil(entries! / DESCRIPTORS_PER_PAGE))];
    if (!(await takeDescriptorFrames(exit, frames))) return -Errno.EINVAL;
    const old = domain.gdtFrames;
    domain.gdtFrames = frames;
    for (const [page, mfn] of frames.entries()) domain.tables.setGdtPage(transaction, page, await descriptors(exit, mfn));
    for (let page = frames.length; page < old.length; page++) domain.tables.setGdtPage(transaction, page, NO_DESCRIPTORS);
    for (const mfn of old) domain.paging.putPageAndType(transaction, mfn);
    return 0;
  },
};

/** update_descriptor(machine address, descriptor): one descriptor of a table in use, or of any frame of the domain. */
export const updateDescriptor: HypercallEntry = {
  number: Hypercall.update_descriptor,
  name: 'update_descriptor',
  summary: 'Writes one descriptor after checking it, into the guest\'s frame and into the processor\'s table.',
  async call({ domain, transaction }, [addressLow, addressHigh, low, high]) {
    const address = addressLow! + addressHigh! * 0x1_0000_0000;
    const mfn = floor(address / PAGE_BYTES);
    const { frames } = domain.paging;
    transaction.charge('descriptor-check');
    const checked = checkDescriptor({ low: low!, high: high! }, domain.kernelRing);
    if (address % 8 !== 0 || checked === null || !frames.isDomains(mfn)) return -Errno.EINVAL;
    const type = frames.isInUseAs(mfn, FrameType.segDesc) ? FrameType.segDesc : FrameType.writable;
    if (await domain.paging.getType(transaction, mfn, type) !== 0) return -Errno.EINVAL;
    transaction.write32('guest', address, checked.low, checked.high);
    domain.paging.putType(transaction, mfn);
    const index = (address % PAGE_BYTES) / 8;
    copyDescriptor(domain.gdtFrames, mfn, (page) => domain.tables.setGdtEntry(transaction, page * DESCRIPTORS_PER_PAGE + index, checked));
    copyDescriptor(domain.ldt.frames, mfn, (page) => domain.tables.setLdtEntry(transaction, page * DESCRIPTORS_PER_PAGE + index, checked));
    return 0;
  },
};

/** MMUEXT_SET_LDT(linear, entries): as set_gdt, but named by linear address; 0 entries for none. */
export async function setLdt(exit: ParavirtExit, linear: number, entries: number): Promise<number> {
  const { domain, transaction } = exit;
  if (linear % PAGE_BYTES !== 0 || entries > 8192) return -Errno.EINVAL;
  const frames: number[] = [];
  for (let page = 0; page < ceil(entries / DESCRIPTORS_PER_PAGE); page++) {
    const walk = domain.paging.walk(linear + page * PAGE_BYTES);
    if (walk === null) return -Errno.EFAULT;
    frames.push(walk.mfn);
  }
  if (!(await takeDescriptorFrames(exit, frames))) return -Errno.EINVAL;
  const old = domain.ldt.frames;
  domain.ldt = { linear, entries, frames };
  for (const [page, mfn] of frames.entries()) domain.tables.setLdtPage(transaction, page, await descriptors(exit, mfn));
  domain.tables.setLdtr(transaction, entries);
  for (const mfn of old) domain.paging.putPageAndType(transaction, mfn);
  return 0;
}

/** All of the frames, or none. */
async function takeDescriptorFrames({ domain, transaction }: ParavirtExit, frames: readonly number[]): Promise<boolean> {
  for (const [index, mfn] of frames.entries()) {
    if (await domain.paging.getPageAndType(transaction, mfn, FrameType.segDesc) === 0) continue;
    for (const taken of frames.slice(0, index)) domain.paging.putPageAndType(transaction, taken);
    return false;
  }
  return true;
}

/** A checked descriptor frame's words, corrections included. */
async function descriptors({ transaction }: ParavirtExit, mfn: number): Promise<Uint32Array> {
  return new Uint32Array((await transaction.read('guest', mfn * PAGE_BYTES, PAGE_BYTES)).buffer);
}

function copyDescriptor(frames: readonly number[], mfn: number, copy: (page: number) => void): void {
  for (const [page, frame] of frames.entries()) if (frame === mfn) copy(page);
}
