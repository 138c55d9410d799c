/** Where `flatImage` puts its code's header; the first instruction follows at +32. */
export const FLAT_LOAD_ADDRESS = 0x10_0000;

/** A Multiboot file without ELF: the header with its address fields (32 bytes), then the code and nothing else. */
export function flatImage(code: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(32 + code.length);
  const view = new DataView(bytes.buffer);
  const header = [0x1bad_b002, 0x1_0000, -(0x1bad_b002 + 0x1_0000), FLAT_LOAD_ADDRESS, FLAT_LOAD_ADDRESS, 0, 0, FLAT_LOAD_ADDRESS + 32];
  for (const [index, word] of header.entries()) view.setUint32(index * 4, word >>> 0, true);
  bytes.set(code, 32);
  return bytes;
}
