import { ProtocolError } from './protocol-error.js';

/** A DataView per frame would cost more than all the fields it reads. */
const scratchDouble = new Float64Array(1);
const scratchWords = new Uint32Array(scratchDouble.buffer);

/** Reads little-endian fields; anything beyond the end is a ProtocolError. */
export class ByteReader {
  private position: number;

  constructor(private readonly bytes: Uint8Array, offset = 0) {
    this.position = offset;
  }

  get remaining(): number {
    return this.bytes.length - this.position;
  }

  u8(): number {
    return this.bytes[this.advance(1)]!;
  }

  u16(): number {
    const { bytes } = this;
    const at = this.advance(2);
    return bytes[at]! | (bytes[at + 1]! << 8);
  }

  u32(): number {
    const { bytes } = this;
    const at = this.advance(4);
    return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
  }

  u64(): bigint {
    const low = this.u32();
    return BigInt(low) | (BigInt(this.u32()) << 32n);
  }

  f64(): number {
    // Little-endian in the frame and in the scratch, on every processor that Node runs on.
    scratchWords[0] = this.u32();
    scratchWords[1] = this.u32();
    return scratchDouble[0]!;
  }

  /** An f64 that is a count, an address or a time: not NaN, not negative, Infinity only where it means "never". */
  quantity(infinity: 'finite' | 'or-infinity' = 'finite'): number {
    const value = this.f64();
    if (!(value >= 0) || (value === Infinity && infinity === 'finite')) throw new ProtocolError('value', `${value} is not a quantity`);
    return value;
  }

  flag(): boolean {
    const value = this.u8();
    if (value > 1) throw new ProtocolError('value', `${value} is not a flag`);
    return value === 1;
  }

  /** An index into a table of names. */
  oneOf<T>(names: readonly T[]): T {
    const index = this.u8();
    const name = names[index];
    if (name === undefined) throw new ProtocolError('value', `index ${index} is out of range`);
    return name;
  }

  /** A copy in a buffer of its own, so that what is decoded does not hold on to the socket's: `slice` of a Node Buffer would be a view. */
  raw(count: number): Uint8Array {
    const at = this.advance(count);
    return new Uint8Array(this.bytes.subarray(at, at + count));
  }

  blob(): Uint8Array {
    const length = this.u32();
    return length === 0 ? EMPTY : this.raw(length);
  }

  text(): string {
    const length = this.u16();
    const at = this.advance(length);
    return textDecoder.decode(this.bytes.subarray(at, at + length));
  }

  end(): void {
    if (this.remaining !== 0) throw new ProtocolError('trailing', `${this.remaining} bytes after the end of the frame`);
  }

  private advance(count: number): number {
    const at = this.position;
    if (count > this.bytes.length - at) throw new ProtocolError('truncated', `${count} bytes wanted at ${at}, the frame has ${this.bytes.length}`);
    this.position = at + count;
    return at;
  }
}

export const EMPTY = new Uint8Array(0);
const textDecoder = new TextDecoder();
