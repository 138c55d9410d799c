/**
 * Who may use a machine frame. `other`: neighbours' frames, and holes where no memory is. `shared`: Xen's, lent to the domain
 * (shared_info), which may map it and never gives it back.
 */
export const FrameOwner = { other: 0, domain: 1, xen: 2, shared: 3 } as const;

/**
 * What a frame is used as (Xen's PGT_*). A frame has one type at a time, and a new one only once nobody uses it as the
 * old: that is what keeps page tables and descriptor tables out of the guest's writing hands. `l2Xen` is the page
 * directory of the fourth GiB, which holds Xen's own entries.
 */
export const FrameType = { none: 0, writable: 1, l1: 2, l2: 3, l2Xen: 4, l3: 5, segDesc: 6 } as const;
export type FrameType = (typeof FrameType)[keyof typeof FrameType];

export function isPageTable(type: number): boolean {
  return type >= FrameType.l1 && type <= FrameType.l3;
}

/** struct page_info of every machine frame: owner, type, and the two counts that guard them. */
export class FrameTable {
  readonly owner: Uint8Array;
  readonly type: Uint8Array;
  /** Uses of the frame as `type`. 0: the type may change. */
  readonly typeCount: Uint32Array;
  /** All references: one for belonging to the domain, one for each mapping, pin and table that holds the frame. */
  readonly refCount: Uint32Array;
  readonly pinned: Uint8Array;
  /** 1 while the domain has not given the frame back (PGC_allocated): worth one reference. */
  readonly allocated: Uint8Array;
  /** The flush that was the last when the frame lost a use: until another one, a TLB may still remember it. */
  readonly stamp: Uint32Array;

  constructor(readonly frames: number) {
    this.owner = new Uint8Array(frames);
    this.type = new Uint8Array(frames);
    this.typeCount = new Uint32Array(frames);
    this.refCount = new Uint32Array(frames);
    this.pinned = new Uint8Array(frames);
    this.allocated = new Uint8Array(frames);
    this.stamp = new Uint32Array(frames);
  }

  isDomains(mfn: number): boolean {
    return mfn < this.frames && (this.owner[mfn] === FrameOwner.domain || this.owner[mfn] === FrameOwner.shared);
  }

  /** Whether the frame is in use as `type` now. */
  isInUseAs(mfn: number, type: FrameType): boolean {
    return mfn < this.frames && this.type[mfn] === type && this.typeCount[mfn]! > 0;
  }
}
