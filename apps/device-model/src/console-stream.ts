/** What is kept of a console for those who come late or missed a frame. */
const KEPT_BYTES = 1_048_576;

/** A VM's console output since power-on, its last megabyte readable by offset. */
export class ConsoleStream {
  private readonly pieces: { offset: number; bytes: Uint8Array }[] = [];
  private kept = 0;
  private unsent: Uint8Array[] = [];
  private unsentFrom = 0;
  end = 0;

  /** @param send called once per turn of the event loop with everything printed in it */
  constructor(private readonly send: (offset: number, bytes: Uint8Array) => void) {}

  write(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    const piece = bytes.slice();
    this.pieces.push({ offset: this.end, bytes: piece });
    this.kept += piece.length;
    while (this.kept - this.pieces[0]!.bytes.length >= KEPT_BYTES) this.kept -= this.pieces.shift()!.bytes.length;
    if (this.unsent.length === 0) {
      this.unsentFrom = this.end;
      setImmediate(() => this.flush());
    }
    this.unsent.push(piece);
    this.end += piece.length;
  }

  /** Bytes from `offset` on, or from the oldest that is kept. */
  read(offset: number, maxBytes: number): { offset: number; bytes: Uint8Array } {
    const from = Math.min(Math.max(offset, this.pieces[0]?.offset ?? this.end), this.end);
    const bytes = new Uint8Array(Math.min(maxBytes, this.end - from));
    for (const piece of this.pieces) {
      const at = piece.offset - from;
      if (at >= bytes.length || at + piece.bytes.length <= 0) continue;
      const part = piece.bytes.subarray(Math.max(0, -at), Math.min(piece.bytes.length, bytes.length - at));
      bytes.set(part, Math.max(0, at));
    }
    return { offset: from, bytes };
  }

  flush(): void {
    if (this.unsent.length === 0) return;
    const bytes = Buffer.concat(this.unsent);
    this.unsent = [];
    this.send(this.unsentFrom, bytes);
  }
}
