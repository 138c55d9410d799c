import { disassembleBytes } from '@ringside/x86';
import { fieldNamed } from './field-names.js';
import { COMMITS, SIDE_WORDS, type TranslationUnit, type Treatment } from './unit.js';

/** One guest instruction beside the host code that became of it; `guest` is null for the exits behind the last. */
export interface ListingRow {
  readonly guest: { readonly address: number; readonly bytes: string; readonly text: string } | null;
  readonly treatment: Treatment | 'exit';
  /** Why it is not a copy; empty for one. */
  readonly why: string;
  readonly host: readonly { readonly at: number; readonly bytes: string; readonly text: string; readonly commits: boolean; /** The field of monitor data that it names. */ readonly field: string | null }[];
}

/** A unit for people: both sides, instruction by instruction. `code` is the host code as it stands in the cache (chained exits are jumps by then). */
export function listUnit(unit: TranslationUnit, code: Uint8Array = unit.code): ListingRow[] {
  const rows: ListingRow[] = unit.instructions.map(({ at, length, from, to, treatment, why }) => {
    const bytes = unit.guest.subarray(at, at + length);
    const address = (unit.eip + at) >>> 0;
    return { guest: { address, bytes: hex(bytes), text: disassembleBytes(bytes, address, 1)[0]?.text ?? '(bad)' }, treatment, why, host: lines(unit, code, from, to) };
  });
  const end = unit.instructions.at(-1)!.to;
  if (end < code.length) rows.push({ guest: null, treatment: 'exit', why: 'the guest goes on in another unit', host: lines(unit, code, end, code.length) });
  return rows;
}

function lines(unit: TranslationUnit, code: Uint8Array, from: number, to: number): ListingRow['host'] {
  const committing = new Set<number>();
  for (let n = 0; n < unit.sideTable.length; n += SIDE_WORDS) if ((unit.sideTable[n + 2]! & COMMITS) !== 0) committing.add(unit.sideTable[n]!);
  return disassembleBytes(code.subarray(from, to), from, to - from).map(({ address, bytes, text }) => ({ at: address, bytes: hex(bytes), text, commits: committing.has(address), field: fieldNamed(text) }));
}

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
