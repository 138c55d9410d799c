import type { Effect } from '@ringside/machine';

/** Largest piece of memory in one effect, so that a list of effects can travel in bounded messages. */
export const CHUNK_BYTES = 256 * 1024;

/** Bytes into guest memory, in chunks. */
export function memoryEffects(address: number, bytes: Uint8Array): Effect[] {
  const effects: Effect[] = [];
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    effects.push({ kind: 'memory', space: 'guest', address: address + at, bytes: bytes.slice(at, at + CHUNK_BYTES) });
  }
  return effects;
}
