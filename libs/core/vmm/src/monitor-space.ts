/** Bytes of a page. */
export const PAGE_BYTES = 4096;

/** Monitor space is full: what ring -1 needs is bounded by the VM's RAM, so this is a mistake in `monitorBytes`. */
export class MonitorSpaceError extends Error {
  override readonly name = 'MonitorSpaceError';
}

/** Hands out the pages of a VM's monitor space, the memory that only ring -1 (and translated code) can address. */
export class MonitorSpace {
  private next = 0;

  constructor(readonly bytes: number) {}

  /** Byte offset of `pages` consecutive pages, all zero and never handed out before. */
  allocate(pages = 1): number {
    const offset = this.next;
    if (offset + pages * PAGE_BYTES > this.bytes) throw new MonitorSpaceError(`monitor space of ${this.bytes} bytes is full`);
    this.next = offset + pages * PAGE_BYTES;
    return offset;
  }
}
