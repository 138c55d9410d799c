import { Errno } from '../errno.js';
import { GuestFault } from '../guest-memory.js';
import type { ParavirtExit } from '../paravirt-exit.js';

/** One hypercall: what it does with EBX, ECX, EDX, ESI, EDI, EBP. */
export interface HypercallEntry {
  readonly number: number;
  /** As the public headers name it. */
  readonly name: string;
  /** In one sentence, for people. */
  readonly summary: string;
  /** The result for EAX; a negative one is an errno. A GuestFault it throws becomes −EFAULT. */
  call(exit: ParavirtExit, args: Uint32Array): Promise<number> | number;
}

export class HypercallRegistry {
  private readonly entries = new Map<number, HypercallEntry>();

  constructor(entries: readonly HypercallEntry[]) {
    for (const entry of entries) {
      if (this.entries.has(entry.number)) throw new Error(`two handlers for hypercall ${entry.number}`);
      this.entries.set(entry.number, entry);
    }
  }

  async call(exit: ParavirtExit, number: number, args: Uint32Array): Promise<number> {
    const entry = this.entries.get(number);
    if (entry === undefined) return -Errno.ENOSYS;
    try {
      return await entry.call(exit, args);
    } catch (error) {
      if (error instanceof GuestFault) return -Errno.EFAULT;
      throw error;
    }
  }

  list(): HypercallEntry[] {
    return [...this.entries.values()];
  }
}
