import { CS, EIP, getEflags, SEGMENTS, SEGMENT_SELECTOR, SEGMENT_WORDS, type Cpu } from '@ringside/x86';

const { imul } = Math;

/**
 * A running hash over the guest's visible state (EIP, general registers, EFLAGS, selectors), sampled when an instruction
 * completes. Two 32-bit lanes of FNV-1a over words: enough to tell two runs apart, cheap enough for whole boots.
 */
export class StateHash {
  private low = 0x811c9dc5 | 0;
  private high = 0x01000193 | 0;
  /** Instructions sampled. */
  samples = 0;

  /** Bound once, to be handed to the processor as its observer. */
  readonly sample = (cpu: Cpu): void => {
    const words = cpu.i32;
    let { low, high } = this;
    for (let register = 0; register < 8; register++) {
      low = imul(low ^ words[register]!, 0x01000193);
      high = imul(high ^ low, 0x85ebca6b) + 1 | 0;
    }
    low = imul(low ^ words[EIP]!, 0x01000193);
    low = imul(low ^ getEflags(cpu), 0x01000193);
    for (let segment = 0; segment < 6; segment++) {
      low = imul(low ^ words[SEGMENTS + segment * SEGMENT_WORDS + SEGMENT_SELECTOR]!, 0x01000193);
      high = imul(high ^ low, 0x85ebca6b) + CS | 0;
    }
    this.low = low;
    this.high = high;
    this.samples++;
  };

  get value(): string {
    return hex(this.high) + hex(this.low);
  }
}

/** FNV-1a over 32-bit words; for digests of RAM and disks. `bytes.length` must be a multiple of 4, its offset aligned. */
export function digestWords(bytes: Uint8Array, seed = 0): string {
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 2);
  let low = (0x811c9dc5 ^ seed) | 0;
  let high = 0x01000193 | 0;
  for (let index = 0; index < words.length; index++) {
    low = imul(low ^ words[index]!, 0x01000193);
    high = imul(high ^ low, 0x85ebca6b) + 1 | 0;
  }
  return hex(high) + hex(low);
}

function hex(word: number): string {
  return (word >>> 0).toString(16).padStart(8, '0');
}
