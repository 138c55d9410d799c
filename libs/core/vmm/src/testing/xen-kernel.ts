/** A Xen PV kernel of nothing but notes and zeros, for specs that play its part by hand. */

export const VIRT_BASE = 0xc000_0000;
/** Code, of which the first byte is the entry; behind it the hypercall page and pages to play with. */
export const ENTRY = VIRT_BASE + 0x1000;
export const HYPERCALL_PAGE = VIRT_BASE + 0x2000;
export const PLAYGROUND = VIRT_BASE + 0x3000;
export const PLAYGROUND_PAGES = 64;

const PT_LOAD = 1, PT_NOTE = 4;

export function xenKernel(): Uint8Array {
  const notes = [note(6, 'test'), note(5, 'xen-3.0'), note(8, 'generic'), note(9, 'yes'), note(1, ENTRY), note(2, HYPERCALL_PAGE), note(3, VIRT_BASE), note(4, 0)].flat();
  const headers = 52 + 2 * 32;
  const code = Uint8Array.of(0xeb, 0xfe);
  const file = new Uint8Array(headers + notes.length + code.length);
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, 3, true);
  for (const [at, value] of [[20, 1], [24, ENTRY], [28, 52]] as const) view.setUint32(at, value, true);
  for (const [at, value] of [[40, 52], [42, 32], [44, 2]] as const) view.setUint16(at, value, true);
  const header = (at: number, words: number[]): void => words.forEach((word, index) => view.setUint32(at + index * 4, word, true));
  header(52, [PT_NOTE, headers, 0, 0, notes.length, notes.length, 4, 4]);
  header(84, [PT_LOAD, headers + notes.length, ENTRY, 0x1000, code.length, 0x2000 + PLAYGROUND_PAGES * 4096, 7, 4]);
  file.set(notes, headers);
  file.set(code, headers + notes.length);
  return file;
}

function note(type: number, value: string | number): number[] {
  const text = typeof value === 'string';
  const description = text ? [...value, '\0'].map((character) => character.charCodeAt(0)) : words(value);
  const padded = [...description, ...new Array<number>(-description.length & 3).fill(0)];
  return [...words(4), ...words(description.length), ...words(type), 0x58, 0x65, 0x6e, 0, ...padded];
}

function words(value: number): number[] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
}
