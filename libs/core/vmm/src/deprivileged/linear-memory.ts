import type { GuestWalk, WalkedEntry } from '@ringside/x86';
import { PAGE_BYTES } from '../monitor-space.js';
import { frameOf, translateGuest, type PageAccess } from '../shadow/guest-translation.js';
import type { ShadowMmu } from '../shadow/shadow-mmu.js';
import type { Transaction } from '../transaction.js';

const { ceil, floor, min } = Math;
const PRESENT = 1, LARGE = 0x80;
const NO_BYTES = new Uint8Array(0);

/** An exception that the guest must get for what ring -1 does on its behalf. `cr2` for #PF. */
export class GuestException extends Error {
  override readonly name = 'GuestException';
  constructor(readonly vector: number, readonly errorCode: number | null, readonly cr2: number | null = null) {
    super(`exception ${vector}`);
  }
}

/**
 * The guest's linear memory as its own page tables have it, for a monitor that does what the processor would: accessed and dirty bits are
 * set, what is not allowed throws the #PF. Writes to write-traced frames are noted by the shadow.
 */
export class LinearMemory {
  constructor(private readonly shadow: ShadowMmu, private readonly transaction: Transaction) {}

  /** @throws GuestException */
  async read(linear: number, length: number, user: boolean): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    this.transaction.charge('guest-word', ceil(length / 4));
    for (let done = 0; done < length;) {
      const at = (linear + done) >>> 0;
      const count = min(length - done, PAGE_BYTES - (at % PAGE_BYTES));
      bytes.set(await this.transaction.read('guest', await this.translate(at, { write: false, user, fetch: false }), count), done);
      done += count;
    }
    return bytes;
  }

  /**
   * As the guest's ring 0 would read, if it need not set an accessed bit for that: null where it must, or cannot. For copies that ring -1 makes on its own account. `length` bytes
   * of one page, and where they lie (guest-physical).
   */
  async peek(linear: number, length: number): Promise<{ bytes: Uint8Array; physical: number } | null> {
    const page = translateGuest(await this.walk(linear), this.shadow.mode, linear, { write: false, user: false, fetch: false });
    if (page.kind === 'fault' || page.marks.length > 0) return null;
    const physical = page.frame * PAGE_BYTES + (linear % PAGE_BYTES);
    this.transaction.charge('guest-word', ceil(length / 4));
    return { bytes: await this.transaction.read('guest', physical, length), physical };
  }

  async read32(linear: number, count: number, user: boolean): Promise<Uint32Array> {
    return new Uint32Array((await this.read(linear, count * 4, user)).buffer);
  }

  /** Nothing is written when any byte may not be. @throws GuestException */
  async write(linear: number, bytes: Uint8Array, user: boolean): Promise<void> {
    const parts: { physical: number; from: number; count: number }[] = [];
    for (let done = 0; done < bytes.length;) {
      const at = (linear + done) >>> 0;
      const count = min(bytes.length - done, PAGE_BYTES - (at % PAGE_BYTES));
      parts.push({ physical: await this.translate(at, { write: true, user, fetch: false }), from: done, count });
      done += count;
    }
    this.transaction.charge('guest-word', ceil(bytes.length / 4));
    for (const { physical, from, count } of parts) {
      this.shadow.written(this.transaction, physical, count);
      this.transaction.write('guest', physical, bytes.slice(from, from + count));
    }
  }

  write32(linear: number, user: boolean, ...words: number[]): Promise<void> {
    return this.write(linear, new Uint8Array(Uint32Array.from(words).buffer), user);
  }

  /** Guest-physical address. @throws GuestException */
  async translate(linear: number, access: PageAccess): Promise<number> {
    const walk = await this.walk(linear);
    const page = translateGuest(walk, this.shadow.mode, linear, access);
    if (page.kind === 'fault') throw new GuestException(14, page.errorCode, linear);
    for (const { address, low } of page.marks) this.transaction.write32('guest', address, low >>> 0);
    return page.frame * PAGE_BYTES + (linear % PAGE_BYTES);
  }

  private async walk(linear: number): Promise<GuestWalk | null> {
    const { guestPaging } = this.shadow.controls;
    if (guestPaging === null) return null;
    const entries: WalkedEntry[] = [];
    const { pae, pse, cr3, pointers } = guestPaging;
    const size = pae ? 8 : 4;
    let table = (cr3 & ~0xfff) >>> 0;
    if (pae) {
      const pointer = (linear >>> 30) * 2;
      if ((pointers[pointer]! & PRESENT) === 0) return { entries, lineAddress: 0, line: NO_BYTES };
      table = frameOf(pointers[pointer]!, pointers[pointer + 1]!) * PAGE_BYTES;
    }
    for (const shift of pae ? [21, 12] : [22, 12]) {
      const address = table + (floor(linear / 2 ** shift) % (PAGE_BYTES / size)) * size;
      this.transaction.charge('guest-word', size / 4);
      const view = new DataView((await this.transaction.read('guest', address, size)).buffer);
      const entry = { address, low: view.getInt32(0, true), high: pae ? view.getInt32(4, true) : 0 };
      entries.push(entry);
      if ((entry.low & PRESENT) === 0 || ((entry.low & LARGE) !== 0 && (pae || pse))) break;
      table = frameOf(entry.low, entry.high) * PAGE_BYTES;
    }
    return { entries, lineAddress: 0, line: NO_BYTES };
  }
}
