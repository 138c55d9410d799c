import { parseElf32 } from './elf32.js';
import { LoaderError, type LoaderErrorCode } from './loader-error.js';
import { buildElf } from './testing/build-elf.js';

const FILE = buildElf(0x1000, [{ physical: 0x1000, bytes: Uint8Array.of(1, 2, 3, 4) }, { physical: 0x4000, bytes: Uint8Array.of(5), memoryBytes: 9 }], [{ name: '__xen_guest', bytes: Uint8Array.of(65, 0) }]);

function patched(at: number, ...bytes: number[]): Uint8Array {
  const copy = FILE.slice();
  copy.set(bytes, at);
  return copy;
}
function codeOf(file: Uint8Array): LoaderErrorCode | 'no error' {
  try {
    parseElf32(file);
    return 'no error';
  } catch (error) {
    if (error instanceof LoaderError) return error.code;
    throw error;
  }
}

describe('ELF32', () => {
  it('gives entry, segments and sections', () => {
    const elf = parseElf32(FILE);
    expect(elf.entry).toBe(0x1000);
    expect(elf.segments.map((segment) => [segment.physical, segment.bytes.length, segment.memoryBytes])).toEqual([[0x1000, 4, 4], [0x4000, 1, 9]]);
    expect(elf.sections.find((section) => section.name === '__xen_guest')?.bytes).toEqual(Uint8Array.of(65, 0));
  });

  it.each<[string, LoaderErrorCode, Uint8Array]>([
    ['other magic', 'not-elf', patched(0, 0x7e)],
    ['shorter than its identification', 'not-elf', FILE.slice(0, 10)],
    ['64-bit', 'elf-64-bit', patched(4, 2)],
    ['big-endian', 'elf-wrong-machine', patched(5, 2)],
    ['ARM', 'elf-wrong-machine', patched(18, 40)],
    ['relocatable object', 'elf-not-executable', patched(16, 1)],
    ['position-independent', 'elf-not-executable', patched(16, 3)],
    ['header cut off', 'elf-truncated', FILE.slice(0, 40)],
    ['program headers behind the end', 'elf-truncated', patched(28, 0xff, 0xff, 0xff, 0xff)],
    ['program headers too small', 'elf-truncated', patched(42, 8, 0)],
    ['segment behind the end', 'elf-truncated', patched(52 + 4, 0, 0, 1, 0)],
    ['file size above memory size', 'elf-truncated', patched(52 + 20, 2)],
    ['segment past 4 GiB', 'elf-truncated', patched(52 + 12, 0xff, 0xff, 0xff, 0xff)],
    ['overlapping segments', 'elf-overlapping-segments', patched(52 + 20, 0, 0x40)],
    ['nothing to load', 'elf-not-executable', patched(44, 0)],
  ])('names what is wrong: %s', (_what, code, file) => {
    expect(codeOf(file)).toBe(code);
  });

  it('survives every truncation and every single damaged header byte', () => {
    for (let length = 0; length < FILE.length; length++) expect(() => codeOf(FILE.slice(0, length))).not.toThrow();
    for (let at = 0; at < 160; at++) for (const value of [0, 1, 0x7f, 0x80, 0xff]) expect(() => codeOf(patched(at, value))).not.toThrow();
  });
});
