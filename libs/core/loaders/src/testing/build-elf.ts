/** A small ELF32 executable for tests. */
export interface TestSegment { type?: number; physical: number; virtual?: number; bytes: Uint8Array; memoryBytes?: number }
export interface TestSection { name: string; address?: number; bytes: Uint8Array }

export function buildElf(entry: number, segments: TestSegment[], sections: TestSection[] = []): Uint8Array {
  const headerBytes = 52 + segments.length * 32;
  const names = ['', ...sections.map((section) => section.name), '.shstrtab'].join('\0') + '\0';
  const strings = Uint8Array.from(names, (character) => character.charCodeAt(0));
  const parts = [...segments.map((segment) => segment.bytes), ...sections.map((section) => section.bytes), strings];
  const offsets: number[] = [];
  let at = (headerBytes + 15) & ~15;
  for (const part of parts) {
    offsets.push(at);
    at += (part.length + 3) & ~3;
  }
  const sectionTable = at;
  const sectionCount = sections.length === 0 ? 0 : sections.length + 2;
  const file = new Uint8Array(sectionTable + sectionCount * 40);
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, 3, true);
  view.setUint32(20, 1, true);
  view.setUint32(24, entry, true);
  view.setUint32(28, 52, true);
  view.setUint32(32, sectionCount === 0 ? 0 : sectionTable, true);
  view.setUint16(40, 52, true);
  view.setUint16(42, 32, true);
  view.setUint16(44, segments.length, true);
  view.setUint16(46, 40, true);
  view.setUint16(48, sectionCount, true);
  view.setUint16(50, sectionCount - 1 > 0 ? sectionCount - 1 : 0, true);
  for (const [index, segment] of segments.entries()) {
    const values = [segment.type ?? 1, offsets[index]!, segment.virtual ?? segment.physical, segment.physical, segment.bytes.length, segment.memoryBytes ?? segment.bytes.length, 7, 4];
    for (const [word, value] of values.entries()) view.setUint32(52 + index * 32 + word * 4, value, true);
  }
  for (const [index, part] of parts.entries()) file.set(part, offsets[index]!);
  if (sectionCount > 0) {
    let nameAt = 1;
    for (let index = 0; index <= sections.length; index++) {
      const section = sections[index];
      const values = [nameAt, section === undefined ? 3 : 1, 0, section?.address ?? 0, offsets[segments.length + index]!, (section?.bytes ?? strings).length];
      for (const [word, value] of values.entries()) view.setUint32(sectionTable + (index + 1) * 40 + word * 4, value, true);
      nameAt += (section?.name.length ?? 0) + 1;
    }
  }
  return file;
}

/** Little-endian words as bytes. */
export function wordsToBytes(...words: number[]): Uint8Array {
  const bytes = new Uint8Array(words.length * 4);
  const view = new DataView(bytes.buffer);
  for (const [index, word] of words.entries()) view.setUint32(index * 4, word >>> 0, true);
  return bytes;
}

export function concat(...parts: Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
