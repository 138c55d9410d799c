import type { BusRequest } from '@ringside/machine';
import type { Bus } from './bus.js';

const NO_BYTES = new Uint8Array(0);

/**
 * Carry out one request on a bus, element by element: INS and OUTS with REP are `count` accesses to one port; a memory
 * access runs over consecutive addresses. Returns what was read, little-endian; empty for a write.
 */
export function accessElements(bus: Bus, request: BusRequest): Uint8Array {
  const { size, count, now } = request;
  const step = request.bus === 'mmio' ? size : 0;
  const mask = request.bus === 'mmio' ? 0xffff_ffff : 0xffff;
  if (request.write) {
    const { data } = request;
    for (let index = 0; index < count; index++) bus.write(((request.address + index * step) & mask) >>> 0, size, load(data, index * size, size), now);
    return NO_BYTES;
  }
  const data = new Uint8Array(size * count);
  for (let index = 0; index < count; index++) store(data, index * size, size, bus.read(((request.address + index * step) & mask) >>> 0, size, now));
  return data;
}

function load(data: Uint8Array, at: number, size: number): number {
  let value = 0;
  for (let byte = 0; byte < size; byte++) value |= (data[at + byte] ?? 0) << (byte * 8);
  return value >>> 0;
}

function store(data: Uint8Array, at: number, size: number, value: number): void {
  for (let byte = 0; byte < size; byte++) data[at + byte] = value >>> (byte * 8);
}
