const SLAB_BYTES = 65_536;

/**
 * Appends little-endian fields to a frame. Frames are cut from slabs: a fresh ArrayBuffer and DataView per frame would
 * cost more than writing it. A finished frame is never written again, so a client library may keep it queued.
 */
export class ByteWriter {
  private bytes = new Uint8Array(SLAB_BYTES);
  private view = new DataView(this.bytes.buffer);
  private start = 0;
  private position = 0;

  begin(): void {
    this.start = this.position;
  }

  /** The frame since `begin`, as a view on the slab. */
  finish(): Uint8Array {
    const frame = this.bytes.subarray(this.start, this.position);
    this.start = this.position;
    return frame;
  }

  u8(value: number): void {
    this.reserve(1);
    this.bytes[this.position++] = value;
  }

  u16(value: number): void {
    this.reserve(2);
    this.view.setUint16(this.position, value, true);
    this.position += 2;
  }

  u32(value: number): void {
    this.reserve(4);
    this.view.setUint32(this.position, value, true);
    this.position += 4;
  }

  u64(value: bigint): void {
    this.reserve(8);
    this.view.setBigUint64(this.position, value, true);
    this.position += 8;
  }

  f64(value: number): void {
    this.reserve(8);
    this.view.setFloat64(this.position, value, true);
    this.position += 8;
  }

  raw(data: Uint8Array): void {
    this.reserve(data.length);
    this.bytes.set(data, this.position);
    this.position += data.length;
  }

  /** A length (u32) and the bytes. */
  blob(data: Uint8Array): void {
    this.u32(data.length);
    if (data.length > 0) this.raw(data);
  }

  /** A length (u16) and UTF-8; cut at 65,535 bytes. */
  text(value: string): void {
    const encoded = textEncoder.encode(value).subarray(0, 0xffff);
    this.u16(encoded.length);
    this.raw(encoded);
  }

  zeros(count: number): void {
    this.reserve(count);
    this.bytes.fill(0, this.position, this.position + count);
    this.position += count;
  }

  /** Leaves room for a u32 and returns where it is, for `patchU32` once the length is known. */
  placeholderU32(): number {
    this.u32(0);
    return this.position - 4 - this.start;
  }

  /** Writes into a placeholder the number of bytes that follow it. */
  patchLength(at: number): void {
    const offset = this.start + at;
    this.view.setUint32(offset, this.position - offset - 4, true);
  }

  private reserve(count: number): void {
    if (this.position + count <= this.bytes.length) return;
    const begun = this.bytes.subarray(this.start, this.position);
    const size = Math.max(SLAB_BYTES, 2 * (begun.length + count));
    const slab = new Uint8Array(size);
    slab.set(begun);
    this.bytes = slab;
    this.view = new DataView(slab.buffer);
    this.position = begun.length;
    this.start = 0;
  }
}

const textEncoder = new TextEncoder();
