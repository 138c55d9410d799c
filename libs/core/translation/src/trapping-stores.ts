/** So many traps of one store, and it is translated anew as a callout. */
export const TRAPS_TO_ASK = 8;
/** So many times in a row such a callout has not been needed, and the store is copied again. */
export const IDLE_TO_REVERT = 16;
/** Stores that are counted at one time; beyond, all counts begin anew. */
const MOST_COUNTED = 4096;

/**
 * Adaptive retranslation (Adams and Agesen 2006, 3.3): stores that meet write traces again and again, such as those to page tables, by where their code lies in the VM's memory. They are
 * translated as a callout in front of a copy (`MODE_ASK`): the monitor is told, instead of finding out from a page fault which it has to decode. One
 * that does not meet a trace any more is copied again.
 */
export class TrappingStores {
  private readonly traps = new Map<number, number>();
  /** Times in a row that the callout was not needed. */
  private readonly asked = new Map<number, number>();

  /** The store at `source`, a byte offset in memory, has met a trace. True if it is to be translated anew. */
  trapped(source: number): boolean {
    const count = (this.traps.get(source) ?? 0) + 1;
    if (count < TRAPS_TO_ASK) {
      if (this.traps.size >= MOST_COUNTED) this.traps.clear();
      this.traps.set(source, count);
      return false;
    }
    this.traps.delete(source);
    this.asked.set(source, 0);
    return true;
  }

  asks(source: number): boolean {
    return this.asked.has(source);
  }

  /** The first of them in a range, or `to`: a unit that is no such store ends before it. */
  firstIn(from: number, to: number): number {
    let first = to;
    for (const source of this.asked.keys()) if (source >= from && source < first) first = source;
    return first;
  }

  /** Its callout is at hand. False if it has not been needed for long: it is an ordinary store again. */
  ask(source: number): boolean {
    const idle = this.asked.get(source);
    if (idle === undefined) return false;
    this.asked.set(source, idle + 1);
    if (idle < IDLE_TO_REVERT) return true;
    this.asked.delete(source);
    return false;
  }

  /** The callout was needed. */
  needed(source: number): void {
    if (this.asked.has(source)) this.asked.set(source, 0);
  }

  /** The code in a range is another now. */
  forget(from: number, to: number): void {
    for (const known of [this.asked, this.traps]) for (const source of known.keys()) if (source >= from && source < to) known.delete(source);
  }
}
