import { MARK_TAG, MarkKind, OPERATIONS, type OperationName } from '@ringside/machine';

/**
 * The machine code of an operation as it stands in a guest's image: what lies between the Begin mark and the first Lap mark. Null
 * when the image marks no such operation.
 */
export function operationBytes(image: Uint8Array, operation: OperationName): Uint8Array | null {
  const number = OPERATIONS[operation];
  const from = find(image, mark(MarkKind.Begin, number), 0);
  if (from === -1) return null;
  const begin = from + 7;
  const end = find(image, mark(MarkKind.Lap, number), begin);
  return end === -1 || end - begin > 256 ? null : image.subarray(begin, end);
}

/** `0F 1F 80 imm32`, little-endian. */
function mark(kind: number, operation: number): number[] {
  return [0x0f, 0x1f, 0x80, operation & 0xff, operation >>> 8, kind, MARK_TAG];
}

function find(bytes: Uint8Array, wanted: readonly number[], from: number): number {
  for (let at = bytes.indexOf(wanted[0]!, from); at !== -1; at = bytes.indexOf(wanted[0]!, at + 1)) {
    if (wanted.every((byte, index) => bytes[at + index] === byte)) return at;
  }
  return -1;
}
