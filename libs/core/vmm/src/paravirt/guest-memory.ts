import { PAGE_BYTES } from '../monitor-space.js';
import type { Transaction } from '../transaction.js';
import type { DirectPaging, Walk } from './direct-paging.js';

const { ceil, min } = Math;

/** A guest address that is not mapped, or not as the access needs: the hypercall returns −EFAULT. */
export class GuestFault extends Error {
  override readonly name = 'GuestFault';
  constructor(readonly linear: number) {
    super(`guest address 0x${linear.toString(16)} is not accessible`);
  }
}

/**
 * Xen's copy_from_guest and copy_to_guest: the guest's linear memory, through its own page tables: those it runs on now, or its kernel's.
 * They differ only while an application of a kernel in ring 3 runs, which must reach nothing through ring -1 that it does not itself.
 */
export class GuestMemory {
  /** `cpl` 3: what the processor would keep from an application is not accessible either. */
  constructor(private readonly paging: DirectPaging, private readonly transaction: Transaction, private readonly tables: 'current' | 'kernel' = 'current', private readonly cpl = 0) {}

  /** Throws GuestFault. */
  async read(linear: number, length: number): Promise<Uint8Array> {
    const pieces = this.pieces(linear, length, 'read');
    if (pieces.length === 1) return this.transaction.read('guest', pieces[0]!.address, length);
    const bytes = new Uint8Array(length);
    for (const { address, offset, count } of pieces) bytes.set(await this.transaction.read('guest', address, count), offset);
    return bytes;
  }

  /** `count` little-endian 32-bit words. */
  async read32(linear: number, count: number): Promise<Uint32Array> {
    return new Uint32Array((await this.read(linear, count * 4)).buffer);
  }

  /** Writes nothing when any byte is not writable. Throws GuestFault. */
  write(linear: number, bytes: Uint8Array): void {
    for (const { address, offset, count, walk } of this.pieces(linear, bytes.length, 'write')) {
      this.paging.markDirty(this.transaction, walk);
      this.transaction.write('guest', address, bytes.slice(offset, offset + count));
    }
  }

  /** Throws GuestFault if a write of `length` bytes would. */
  probe(linear: number, length: number): void {
    this.pieces(linear, length, 'write');
  }

  write32(linear: number, ...words: number[]): void {
    this.write(linear, new Uint8Array(Uint32Array.from(words).buffer));
  }

  private pieces(linear: number, length: number, access: 'read' | 'write'): { address: number; offset: number; count: number; walk: Walk }[] {
    this.transaction.charge('guest-word', ceil(length / 4));
    const pieces = [];
    for (let offset = 0; offset < length;) {
      const at = linear + offset;
      const walk = at <= 0xffff_ffff ? this.paging.walk(at, this.tables) : null;
      if (walk === null || (access === 'write' && !walk.writable) || (this.cpl === 3 && !walk.user)) throw new GuestFault(at);
      const inPage = at % PAGE_BYTES;
      const count = min(PAGE_BYTES - inPage, length - offset);
      pieces.push({ address: walk.mfn * PAGE_BYTES + inPage, offset, count, walk });
      offset += count;
    }
    return pieces;
  }
}
