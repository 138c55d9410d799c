import type { Access } from './paging.js';

/**
 * The first use of a stale TLB entry (SDM Vol. 3A 4.10.2, 4.10.4): a translation that the TLB gives and that a walk of the tables as they
 * stand would not. From there on two correct processors may go different ways, so a comparison of paths ends there.
 *
 * An entry is judged for the access that uses it:
 *
 *   fault   the walk would raise #PF: not present, reserved bits, rights
 *   frame   the walk would lead to another frame, or off RAM
 *   marks   the walk would set an accessed or dirty bit that the TLB entry spares (4.8, 4.10.2.3): software cleared it and did not invalidate
 *
 * The hook observes only. While it watches, tags in the TLB carry TLB_WATCHED, so that no fast path matches them and each use comes by
 * `translate`; the guest goes exactly the same way. It is for `native`: below EPT or on shadow tables nothing is judged.
 */
export type StaleDifference = 'fault' | 'frame' | 'marks';

export interface StaleTranslation {
  readonly linear: number;
  readonly access: Access;
  readonly user: boolean;
  readonly difference: StaleDifference;
  /** Guest instructions retired when the one that used it began; a REP that was under way counts from its last boundary. */
  readonly retired: number;
}

/** Of a processor that watches: what it found, and instructions retired at the present boundary. */
export interface StaleTranslationWatch {
  first: StaleTranslation | null;
  retired: number;
}
