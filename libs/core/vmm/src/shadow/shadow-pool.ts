import { PAGE_BYTES, type MonitorSpace } from '../monitor-space.js';
import type { Transaction } from '../transaction.js';

const ZEROS = new Uint8Array(PAGE_BYTES);

/** The pages of monitor space that shadow tables may take. One that was used before is cleared when it is handed out again. */
export class ShadowPool {
  private readonly base: number;
  private fresh = 0;
  private readonly used: number[] = [];

  constructor(space: MonitorSpace, private readonly pages: number) {
    this.base = space.allocate(pages);
  }

  get available(): number {
    return this.pages - this.fresh + this.used.length;
  }

  /** `transaction` null: only for a page that was never used. */
  allocate(transaction: Transaction | null): number {
    if (this.fresh < this.pages) return this.base + this.fresh++ * PAGE_BYTES;
    const offset = this.used.pop();
    if (offset === undefined || transaction === null) throw new RangeError('the pool of shadow pages is empty');
    transaction.write('monitor', offset, ZEROS);
    return offset;
  }

  release(offset: number): void {
    this.used.push(offset);
  }
}
