export type Random = (below: number) => number;

/** A seeded generator: the same guest for the same seed. */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** A Multiboot image that is laid out by absolute addresses: bytes at `at`, words wherever they belong. */
export class Assembler {
  readonly bytes: Uint8Array;
  private readonly view: DataView;
  /** Address of the next byte; the header takes the first 32. */
  at: number;
  constructor(readonly load: number, end: number) {
    this.bytes = new Uint8Array(end - load);
    this.view = new DataView(this.bytes.buffer);
    this.at = load + 32;
    this.put(load, 0x1badb002, 0x10000, -(0x1badb002 + 0x10000), load, load, 0, 0, load + 32);
  }
  byte(...values: number[]): void {
    for (const value of values) this.bytes[this.at++ - this.load] = value;
  }
  word(value: number): void {
    this.put(this.at, value);
    this.at += 4;
  }
  put(address: number, ...values: number[]): void {
    for (const [index, value] of values.entries()) this.view.setUint32(address - this.load + index * 4, value >>> 0, true);
  }
  /** mov dword [address], value */
  store(address: number, value: number): void {
    this.byte(0xc7, 0x05);
    this.word(address);
    this.word(value);
  }
  /** mov eax, value */
  eax(value: number): void {
    this.byte(0xb8);
    this.word(value);
  }
}
