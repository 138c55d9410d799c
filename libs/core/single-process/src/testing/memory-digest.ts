import { digestWords } from '@ringside/machine';
import { RAM_BASE, type Processor } from '@ringside/x86';

const PAGE = 4096;
const ZERO = Buffer.alloc(PAGE);

/** Digest of guest RAM where it lies, zero pages skipped: tests take it at every mark, and most of RAM was never written. */
export function memoryDigest({ cpu }: Processor): string {
  let digest = '';
  let seed = 0;
  for (let page = 0; page * PAGE < cpu.ramBytes; page++) {
    const bytes = Buffer.from(cpu.memory.buffer, RAM_BASE + page * PAGE, PAGE);
    if (bytes.compare(ZERO) === 0) continue;
    digest = digestWords(bytes, seed ^ page);
    seed = Number.parseInt(digest.slice(0, 8), 16) ^ Number.parseInt(digest.slice(8), 16);
  }
  return digest;
}
