/** Control requests remembered, by id: enough that a resend finds its reply. */
const CAPACITY = 2_048;
/** Longer replies are not worth keeping; they answer requests that only read. */
const MAX_REPLY_BYTES = 16_384;

/**
 * Exactly once for the control plane: a resent request (same id) joins the one that runs, or gets the reply it had. Bounded:
 * the oldest is forgotten first.
 */
export class ControlMemory {
  private readonly replies = new Map<string, Promise<Uint8Array>>();

  /** @param run called at most once per id while it is remembered; must not reject */
  once(id: string, run: () => Promise<Uint8Array>): { reply: Promise<Uint8Array>; repeated: boolean } {
    const known = this.replies.get(id);
    if (known !== undefined) return { reply: known, repeated: true };
    const reply = run();
    this.replies.set(id, reply);
    void reply.then((bytes) => { if (bytes.length > MAX_REPLY_BYTES) this.replies.delete(id); });
    if (this.replies.size > CAPACITY) this.replies.delete(this.replies.keys().next().value as string);
    return { reply, repeated: false };
  }

  get size(): number {
    return this.replies.size;
  }
}
