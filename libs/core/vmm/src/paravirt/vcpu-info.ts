import type { MemorySpace } from '@ringside/machine';
import type { Transaction } from '../transaction.js';
import { SharedInfo, VcpuInfo } from './abi.js';

/**
 * shared_info and vcpu_info: the words by which Xen and the guest tell each other about events. The guest masks and unmasks
 * by plain stores, so ring -1 looks at its byte only when an event may be waiting.
 */
export class EventWords {
  /** Where vcpu_info stands: in shared_info until the guest registers a place of its own. */
  private vcpu: { space: MemorySpace; address: number };
  /** evtchn_upcall_pending may be 1: set here, cleared by the guest, and known to be clear once it has been read so. */
  private upcallMayBePending = false;

  /** `sharedInfo`: offset in monitor space. */
  constructor(private readonly sharedInfo: number) {
    this.vcpu = { space: 'monitor', address: sharedInfo + SharedInfo.vcpu_info };
  }

  /** VCPUOP_register_vcpu_info: carry the old words over and pretend an event, as Xen does, so that none is lost. */
  async moveVcpuInfo(transaction: Transaction, machineAddress: number): Promise<void> {
    const bytes = await transaction.read(this.vcpu.space, this.vcpu.address, VcpuInfo.bytes);
    this.vcpu = { space: 'guest', address: machineAddress };
    bytes[VcpuInfo.evtchn_upcall_pending] = 1;
    new DataView(bytes.buffer).setUint32(VcpuInfo.evtchn_pending_sel, 0xffff_ffff, true);
    transaction.write('guest', machineAddress, bytes);
    this.upcallMayBePending = true;
  }

  get vcpuInfoPlace(): { space: MemorySpace; address: number } {
    return this.vcpu;
  }

  /** Set `port` pending; the upcall too unless the port is masked or was pending. True if the port was not pending before. */
  async setPending(transaction: Transaction, port: number): Promise<boolean> {
    const word = port >>> 5;
    const bit = 1 << (port & 31);
    const pending = await read32(transaction, 'monitor', this.sharedInfo + SharedInfo.evtchn_pending + word * 4);
    if ((pending & bit) !== 0) return false;
    transaction.write32('monitor', this.sharedInfo + SharedInfo.evtchn_pending + word * 4, (pending | bit) >>> 0);
    const mask = await read32(transaction, 'monitor', this.sharedInfo + SharedInfo.evtchn_mask + word * 4);
    if ((mask & bit) === 0) await this.raise(transaction, word);
    return true;
  }

  /** EVTCHNOP_unmask: clear the mask; an event that was held back comes now. */
  async unmask(transaction: Transaction, port: number): Promise<void> {
    const word = port >>> 5;
    const bit = 1 << (port & 31);
    const address = this.sharedInfo + SharedInfo.evtchn_mask + word * 4;
    const mask = await read32(transaction, 'monitor', address);
    if ((mask & bit) === 0) return;
    transaction.write32('monitor', address, (mask & ~bit) >>> 0);
    if (await this.isPending(transaction, port)) await this.raise(transaction, word);
  }

  async isPending(transaction: Transaction, port: number): Promise<boolean> {
    const pending = await read32(transaction, 'monitor', this.sharedInfo + SharedInfo.evtchn_pending + (port >>> 5) * 4);
    return (pending & (1 << (port & 31))) !== 0;
  }

  async clearPending(transaction: Transaction, port: number): Promise<void> {
    const address = this.sharedInfo + SharedInfo.evtchn_pending + (port >>> 5) * 4;
    const pending = await read32(transaction, 'monitor', address);
    if ((pending & (1 << (port & 31))) !== 0) transaction.write32('monitor', address, (pending & ~(1 << (port & 31))) >>> 0);
  }

  /** Whether an upcall is due: pending and not masked. Costs a read only when one may be. */
  async upcallDue(transaction: Transaction): Promise<boolean> {
    if (!this.upcallMayBePending) return false;
    const words = await transaction.read(this.vcpu.space, this.vcpu.address, 2);
    this.upcallMayBePending = words[VcpuInfo.evtchn_upcall_pending] !== 0;
    return this.upcallMayBePending && words[VcpuInfo.evtchn_upcall_mask] === 0;
  }

  /** evtchn_upcall_mask: the guest's virtual IF, inverted. */
  async upcallMask(transaction: Transaction): Promise<number> {
    return (await transaction.read(this.vcpu.space, this.vcpu.address + VcpuInfo.evtchn_upcall_mask, 1))[0]!;
  }

  setUpcallMask(transaction: Transaction, mask: number): void {
    transaction.write(this.vcpu.space, this.vcpu.address + VcpuInfo.evtchn_upcall_mask, Uint8Array.of(mask));
  }

  setCr2(transaction: Transaction, cr2: number): void {
    transaction.write32(this.vcpu.space, this.vcpu.address + VcpuInfo.arch_cr2, cr2);
  }

  private async raise(transaction: Transaction, word: number): Promise<void> {
    const address = this.vcpu.address + VcpuInfo.evtchn_pending_sel;
    const selected = await read32(transaction, this.vcpu.space, address);
    transaction.write32(this.vcpu.space, address, (selected | (1 << word)) >>> 0);
    transaction.write(this.vcpu.space, this.vcpu.address + VcpuInfo.evtchn_upcall_pending, Uint8Array.of(1));
    this.upcallMayBePending = true;
  }
}

async function read32(transaction: Transaction, space: MemorySpace, address: number): Promise<number> {
  const bytes = await transaction.read(space, address, 4);
  return new DataView(bytes.buffer).getUint32(0, true);
}
