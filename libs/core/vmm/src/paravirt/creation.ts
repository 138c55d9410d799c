import type { Effect, Exit, GuestMemoryReader, MemorySpace } from '@ringside/machine';
import { ExitReason } from '@ringside/x86';
import type { MonitorPorts } from '../monitor-ports.js';
import { PAGE_BYTES } from '../monitor-space.js';
import { Transaction } from '../transaction.js';

/** A guest that exists only as a list of effects yet: reads see what they will have written, and zeros elsewhere. */
class FutureMemory implements GuestMemoryReader {
  private readonly pages = new Map<string, Uint8Array>();

  constructor(effects: readonly Effect[]) {
    for (const effect of effects) {
      if (effect.kind !== 'memory') continue;
      for (let at = 0; at < effect.bytes.length;) {
        const address = effect.address + at;
        const inPage = address % PAGE_BYTES;
        const piece = effect.bytes.subarray(at, at + PAGE_BYTES - inPage);
        this.page(effect.space, Math.floor(address / PAGE_BYTES)).set(piece, inPage);
        at += piece.length;
      }
    }
  }

  read(space: MemorySpace, address: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length;) {
      const inPage = (address + at) % PAGE_BYTES;
      const piece = this.page(space, Math.floor((address + at) / PAGE_BYTES)).subarray(inPage, inPage + length - at);
      bytes.set(piece, at);
      at += piece.length;
    }
    return bytes;
  }

  readLinear(): Uint8Array | null {
    return null;
  }

  private page(space: MemorySpace, number: number): Uint8Array {
    const key = `${space} ${number}`;
    let page = this.pages.get(key);
    if (page === undefined) this.pages.set(key, page = new Uint8Array(PAGE_BYTES));
    return page;
  }
}

/** A transaction before the first exit, on the machine that `effects` describe, so that creation uses the same checks as the guest's own requests. */
export function creationTransaction(vmId: string, effects: readonly Effect[]): Transaction {
  const exit: Exit = {
    vmId, epoch: 0, seq: 0, reason: ExitReason.Hypercall, qualification: 0, instructionLength: 0, guestLinear: 0, guestPhysical: 0, now: 0, retired: 0,
    executed: 0, interruptible: false, access: null, event: null, registers: null, segments: null,
  };
  const ports: MonitorPorts = {
    memory: new FutureMemory(effects),
    bus: { cycle: () => { throw new Error('no bus cycle can be sent while a machine is being created'); } },
  };
  return new Transaction(exit, ports);
}
