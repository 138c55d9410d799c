import type { AccessSize, AddressRange, BusDevice } from './bus-device.js';

/** Two devices claim one address: an error of whoever built the board. */
export class BusOverlapError extends Error {
  override readonly name = 'BusOverlapError';
}

interface Mapping { readonly from: number; readonly to: number; readonly width: AccessSize; readonly device: BusDevice; readonly range: number; readonly registers: readonly string[] }

/** Accesses that nobody claimed, by port. */
export interface UnclaimedCount { reads: number; writes: number }

/**
 * Ordered, disjoint address ranges, each claimed by one device: one of these for ports, one for memory. An address that
 * nobody claims reads as all ones and ignores writes, as an ISA bus without a card does; both are counted.
 */
export class Bus {
  /** Sorted by `from`. */
  private readonly mappings: Mapping[] = [];
  /** Unclaimed accesses, in bus cycles. `byAddress` is kept for ports (at most 65,536 of them), not for memory. */
  readonly unclaimed = { reads: 0, writes: 0, byAddress: new Map<number, UnclaimedCount>() };

  constructor(private readonly space: 'port' | 'mmio') {}

  /** Claim all of a device's ranges in this space. Throws BusOverlapError and claims nothing when one is taken. */
  attach(device: BusDevice): void {
    const ranges: readonly AddressRange[] = this.space === 'port' ? device.ports : device.mmio;
    const firstIndex = this.space === 'port' ? 0 : device.ports.length;
    const added = ranges.map((range, index): Mapping => ({ from: range.from, to: range.to, width: range.width, device, range: firstIndex + index, registers: range.registers }));
    for (const [index, mapping] of added.entries()) {
      const taken = [...this.mappings, ...added.slice(0, index)].find((other) => mapping.from <= other.to && other.from <= mapping.to);
      if (taken !== undefined) {
        throw new BusOverlapError(`${device.label} and ${taken.device.label} both claim ${this.space} 0x${Math.max(mapping.from, taken.from).toString(16)}.`);
      }
    }
    this.mappings.push(...added);
    this.mappings.sort((a, b) => a.from - b.from);
  }

  claims(address: number): boolean {
    return this.find(address) !== null;
  }

  /** Which device and register an address is, for spans: null when nobody claims it. */
  describe(address: number): { device: BusDevice; register: string } | null {
    const mapping = this.find(address);
    if (mapping === null) return null;
    return { device: mapping.device, register: mapping.registers[address - mapping.from] ?? `+${address - mapping.from}` };
  }

  /** Unsigned value of `size` bytes, little-endian. */
  read(address: number, size: AccessSize, now: number): number {
    const mapping = this.find(address);
    if (mapping !== null && size <= mapping.width) return mapping.device.read(address - mapping.from, size, now, mapping.range) >>> 0;
    if (mapping === null && !this.overlaps(address, size)) {
      this.countUnclaimed(address, 'reads');
      return size === 4 ? 0xffff_ffff : (1 << (size * 8)) - 1;
    }
    let value = 0;
    for (let offset = 0; offset < size; offset++) value |= (this.read(this.wrap(address + offset), 1, now) & 0xff) << (offset * 8);
    return value >>> 0;
  }

  write(address: number, size: AccessSize, value: number, now: number): void {
    const mapping = this.find(address);
    if (mapping !== null && size <= mapping.width) {
      mapping.device.write(address - mapping.from, size, value >>> 0, now, mapping.range);
    } else if (mapping === null && !this.overlaps(address, size)) {
      this.countUnclaimed(address, 'writes');
    } else {
      for (let offset = 0; offset < size; offset++) this.write(this.wrap(address + offset), 1, (value >>> (offset * 8)) & 0xff, now);
    }
  }

  /** Binary search for the range that holds `address`. */
  private find(address: number): Mapping | null {
    const { mappings } = this;
    let low = 0;
    let high = mappings.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const mapping = mappings[middle]!;
      if (address < mapping.from) high = middle - 1;
      else if (address > mapping.to) low = middle + 1;
      else return mapping;
    }
    return null;
  }

  private overlaps(address: number, size: AccessSize): boolean {
    for (let offset = 1; offset < size; offset++) if (this.find(this.wrap(address + offset)) !== null) return true;
    return false;
  }

  /** Ports wrap at 64 Ki. */
  private wrap(address: number): number {
    return this.space === 'port' ? address & 0xffff : address;
  }

  private countUnclaimed(address: number, kind: 'reads' | 'writes'): void {
    this.unclaimed[kind]++;
    if (this.space !== 'port') return;
    let count = this.unclaimed.byAddress.get(address);
    if (count === undefined) this.unclaimed.byAddress.set(address, count = { reads: 0, writes: 0 });
    count[kind]++;
  }
}
