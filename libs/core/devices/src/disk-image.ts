import type { StateValue } from '@ringside/platform';

const { imul } = Math;

export const SECTOR_BYTES = 512;

/** A disk image that is never written to, and over it the sectors that the guest changed. */
export class DiskImage {
  readonly sectors: number;
  private readonly changed = new Map<number, Uint8Array>();
  /** Digest of the image below, computed once. */
  private imageDigest: string | null = null;

  /** Throws RangeError unless the image consists of whole sectors. */
  constructor(private readonly image: Uint8Array) {
    if (image.length === 0 || image.length % SECTOR_BYTES !== 0) throw new RangeError(`A disk image must be a multiple of ${SECTOR_BYTES} bytes; this one has ${image.length}.`);
    this.sectors = image.length / SECTOR_BYTES;
  }

  /** Copy a sector into `to` at `offset`. */
  read(lba: number, to: Uint8Array, offset: number): void {
    to.set(this.sector(lba), offset);
  }

  write(lba: number, from: Uint8Array, offset: number): void {
    const bytes = from.slice(offset, offset + SECTOR_BYTES);
    const original = this.image.subarray(lba * SECTOR_BYTES, (lba + 1) * SECTOR_BYTES);
    // A sector that is as it was is no change: the digest says what is on the disk, not how it came there.
    if (bytes.every((byte, index) => byte === original[index])) this.changed.delete(lba);
    else this.changed.set(lba, bytes);
  }

  /** 32 hex digits that stand for the whole contents. */
  digest(): string {
    this.imageDigest ??= digestBytes(this.image);
    const changes = [...this.changed].sort(([a], [b]) => a - b);
    const bytes = new Uint8Array(changes.length * (SECTOR_BYTES + 4));
    const view = new DataView(bytes.buffer);
    for (const [index, [lba, sector]] of changes.entries()) {
      view.setUint32(index * (SECTOR_BYTES + 4), lba, true);
      bytes.set(sector, index * (SECTOR_BYTES + 4) + 4);
    }
    return this.imageDigest + digestBytes(bytes);
  }

  /** The whole contents, a copy. */
  contents(): Uint8Array {
    const bytes = this.image.slice();
    for (const [lba, sector] of this.changed) bytes.set(sector, lba * SECTOR_BYTES);
    return bytes;
  }

  reset(): void {
    this.changed.clear();
  }

  snapshot(): StateValue {
    return [...this.changed].map(([lba, sector]) => [lba, sector.slice()]);
  }

  restore(state: StateValue): void {
    this.changed.clear();
    for (const [lba, sector] of state as [number, Uint8Array][]) this.changed.set(lba, sector.slice());
  }

  private sector(lba: number): Uint8Array {
    return this.changed.get(lba) ?? this.image.subarray(lba * SECTOR_BYTES, (lba + 1) * SECTOR_BYTES);
  }
}

/** FNV-1a over 32-bit words in two lanes, as 16 hex digits; the length is a multiple of 4. */
function digestBytes(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let low = 0x811c9dc5 | 0;
  let high = 0x01000193 | 0;
  for (let at = 0; at < bytes.length; at += 4) {
    low = imul(low ^ view.getInt32(at, true), 0x01000193);
    high = (imul(high ^ low, 0x85ebca6b) + 1) | 0;
  }
  return [high, low].map((lane) => (lane >>> 0).toString(16).padStart(8, '0')).join('');
}
