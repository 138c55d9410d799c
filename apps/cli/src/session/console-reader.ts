import type { ControlClient } from './control-client.js';

/**
 * A VM's console bytes in order, each once: live frames carry their offset, gaps (lost frames, what was printed before) are fetched.
 * A boot begins a new epoch at offset 0.
 */
export class ConsoleReader {
  private epoch = 0;
  private offset = 0;
  private subscription: { unsubscribe(): void } | null = null;
  private work: Promise<void> = Promise.resolve();

  constructor(private readonly client: Pick<ControlClient, 'watchConsole' | 'fetchConsole'>, private readonly vmId: string, private readonly print: (bytes: Uint8Array) => void) {}

  /** From `offset` of the current epoch on; null: from the last screenful on. */
  async start(offset: number | null): Promise<void> {
    let begun = false;
    const early: { epoch: number; offset: number; bytes: Uint8Array }[] = [];
    this.subscription = this.client.watchConsole(this.vmId, (output) => {
      if (begun) this.enqueue(() => this.take(output));
      else early.push(output);
    });
    const first = await this.client.fetchConsole(this.vmId, offset === null ? { maxBytes: 2_000 } : { offset });
    this.epoch = first.epoch;
    this.offset = first.offset + first.bytes.length;
    if (first.bytes.length > 0) this.print(first.bytes);
    begun = true;
    for (const output of early) this.enqueue(() => this.take(output));
    await this.catchUp();
  }

  /** Resolves when everything that was printed up to now has been handed on. */
  async catchUp(): Promise<void> {
    this.enqueue(() => this.fetchUpTo(Infinity));
    await this.work;
  }

  async stop(): Promise<void> {
    this.subscription?.unsubscribe();
    await this.work.catch(() => undefined);
  }

  private enqueue(step: () => Promise<void>): void {
    // A fetch that fails leaves a gap, which the next frame or catchUp notices.
    this.work = this.work.then(step).catch(() => undefined);
  }

  private async take({ epoch, offset, bytes }: { epoch: number; offset: number; bytes: Uint8Array }): Promise<void> {
    if (epoch < this.epoch) return;
    if (epoch > this.epoch) {
      this.epoch = epoch;
      this.offset = 0;
    }
    if (offset > this.offset) await this.fetchUpTo(offset);
    if (offset > this.offset || offset + bytes.length <= this.offset) return;
    this.print(bytes.subarray(this.offset - offset));
    this.offset = offset + bytes.length;
  }

  private async fetchUpTo(end: number): Promise<void> {
    while (this.offset < end) {
      const chunk = await this.client.fetchConsole(this.vmId, { offset: this.offset });
      if (chunk.epoch !== this.epoch) {
        this.epoch = chunk.epoch;
        this.offset = chunk.offset;
      }
      if (chunk.bytes.length === 0) return;
      this.print(chunk.bytes);
      this.offset = chunk.offset + chunk.bytes.length;
      if (this.offset >= chunk.end) return;
    }
  }
}
