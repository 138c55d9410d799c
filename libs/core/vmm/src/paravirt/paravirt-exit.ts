import type { Disposition, ExitReply } from '@ringside/machine';
import { GuestFrame } from '../deprivileged/guest-frame.js';
import type { Transaction } from '../transaction.js';
import { bounceEvent } from './bounce.js';
import type { Domain } from './domain.js';
import { GuestMemory } from './guest-memory.js';

/** One exit of a domain: the transaction, the guest's registers as they change, and its memory as it sees it. */
export class ParavirtExit {
  readonly frame: GuestFrame;
  /** Memory as the guest sees it now; as its kernel does. */
  readonly memory: GuestMemory;
  readonly kernelMemory: GuestMemory;

  constructor(readonly domain: Domain, readonly transaction: Transaction) {
    this.frame = new GuestFrame(transaction.exit);
    this.memory = new GuestMemory(domain.paging, transaction);
    this.kernelMemory = new GuestMemory(domain.paging, transaction, 'kernel');
  }

  /**
   * What every way back into the guest passes (Xen's test_all_events): timers and lines become events, a waiting guest
   * wakes, a due upcall gets its frame. Then the registers go into the reply.
   */
  async finish(disposition: Disposition, upcallAllowed: boolean): Promise<ExitReply> {
    const { domain, transaction } = this;
    if (!domain.stopped) {
      await domain.collectEvents(transaction);
      await domain.console.receive(domain, transaction);
      // Reading the UART lets the other devices catch up as well.
      await domain.collectEvents(transaction);
      const due = await domain.events.upcallDue(transaction);
      if (await domain.mayWake(transaction, due)) {
        domain.blocked = null;
        transaction.add({ kind: 'activity', activity: 'active' });
      }
      if (due && upcallAllowed) await bounceEvent(this);
      if (due && !upcallAllowed) domain.requestWindow(transaction);
      else domain.dropWindow(transaction);
    }
    domain.settleDeadline(transaction);
    this.frame.commit(transaction, disposition);
    return transaction.reply(disposition);
  }
}
