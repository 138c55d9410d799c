import { describe, expect, test } from '@jest/globals';
import { bytes, duration, grouped, hex32 } from './units.js';

describe('units', () => {
  test.each([[0, '0'], [999, '999'], [1000, '1,000'], [12345678, '12,345,678'], [1234.5, '1,234.5']])('grouped(%d)', (value, text) => {
    expect(grouped(value)).toBe(text);
  });

  test.each([[0, '0 ns'], [999, '999 ns'], [1_000, '1.00 µs'], [41_340, '41.3 µs'], [999_600, '1.00 ms'], [-2_500, '-2.50 µs'], [61_000_000_000, '61.0 s'], [Infinity, '–']])('duration(%d)', (ns, text) => {
    expect(duration(ns)).toBe(text);
  });

  test('bytes and hexadecimal', () => {
    expect([bytes(12), bytes(2048), bytes(3 * 1024 * 1024), hex32(-1), hex32(0x7c00)]).toEqual(['12 B', '2.0 KiB', '3.0 MiB', 'ffffffff', '00007c00']);
  });
});
