import { SECTOR_BYTES } from './disk-image.js';

/** Cylinders, heads, sectors per track, as the drive translates CHS addresses. */
export interface Geometry { readonly cylinders: number; readonly heads: number; readonly sectorsPerTrack: number }

const MAX_CYLINDERS = 16_383;

export function geometryOf(sectors: number, heads: number, sectorsPerTrack: number): Geometry {
  return { cylinders: Math.min(MAX_CYLINDERS, Math.max(1, Math.floor(sectors / (heads * sectorsPerTrack)))), heads, sectorsPerTrack };
}

/** IDENTIFY DEVICE data: 256 words (ATA/ATAPI-6, 8.15, table 26). Text has its bytes swapped within words. */
export function identifyData(sectors: number, standard: Geometry, current: Geometry, multiple: number, maxMultiple: number): Uint8Array {
  const bytes = new Uint8Array(SECTOR_BYTES);
  const view = new DataView(bytes.buffer);
  const word = (index: number, value: number): void => view.setUint16(index * 2, value, true);
  const text = (index: number, words: number, value: string): void => {
    for (let at = 0; at < words * 2; at++) bytes[(index * 2 + at) ^ 1] = (value.charCodeAt(at) || 0x20) & 0x7f;
  };
  const currentSectors = current.cylinders * current.heads * current.sectorsPerTrack;
  word(0, 0x0040); // Fixed device.
  word(1, standard.cylinders);
  word(3, standard.heads);
  word(6, standard.sectorsPerTrack);
  text(10, 10, 'RS0001');
  text(23, 4, '1.0');
  text(27, 20, 'Ringside disk');
  word(47, 0x8000 | maxMultiple);
  word(49, 0x0200); // LBA; no DMA.
  word(51, 0x0200); // PIO mode 2 and below without flow control.
  word(53, 0x0003); // Words 54–58 and 64–70 are valid.
  word(54, current.cylinders);
  word(55, current.heads);
  word(56, current.sectorsPerTrack);
  word(57, currentSectors & 0xffff);
  word(58, currentSectors >>> 16);
  word(59, multiple === 0 ? 0 : 0x0100 | multiple);
  word(60, sectors & 0xffff);
  word(61, sectors >>> 16);
  word(64, 0x0003); // PIO modes 3 and 4.
  word(67, 120); // Least PIO cycle, ns.
  word(68, 120);
  word(80, 0x007e); // ATA-1 to ATA/ATAPI-6.
  word(82, 0x4000); // NOP.
  word(83, 0x5000); // FLUSH CACHE.
  word(84, 0x4000);
  word(85, 0x4000);
  word(86, 0x1000);
  word(87, 0x4000);
  return bytes;
}
