import { ProtocolError } from './protocol-error.js';

/** Reads little-endian fields; anything beyond the end is a ProtocolError. */
export class ByteReader {
  private readonly view: DataView;
  private position: number;

  constructor(private readonly bytes: Uint8Array, offset = 0) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.position = offset;
  }

  get remaining(): number {
    return this.bytes.length - this.position;
  }

  u8(): number {
    return this.view.getUint8(this.advance(1));
  }

  u16(): number {
    return this.view.getUint16(this.advance(2), true);
  }

  u32(): number {
    return this.view.getUint32(this.advance(4), true);
  }

  u64(): bigint {
    return this.view.getBigUint64(this.advance(8), true);
  }

  f64(): number {
    return this.view.getFloat64(this.advance(8), true);
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

  /** A copy, so that what is decoded does not hold on to the socket's buffer. */
  raw(count: number): Uint8Array {
    const at = this.advance(count);
    return this.bytes.slice(at, at + count);
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
