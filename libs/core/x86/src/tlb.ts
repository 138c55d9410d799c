/**
 * The translation lookaside buffer, in the VM's memory from byte 0x10000: two direct-mapped tables of 4,096 entries, one for
 * supervisor and one for user accesses, indexed by linear address bits 12–23. An entry is four words:
 *
 *   +0 read tag  +1 write tag  +2 execute tag  +3 addend
 *
 * A tag is the linear page address when that access is allowed without further ado, TLB_INVALID when it is not, or the page
 * address | TLB_CODE: writable, but the page holds predecoded code, so that the write must look for it first. linear + addend is the
 * byte offset in the VM's memory. A 4-byte access tests `tag == (linear & 0xfffff003)`, which fails for one that is not
 * aligned too: it takes the slow path, as do accesses that cross a page. While a processor looks for stale entries every tag carries
 * TLB_WATCHED as well and no such test holds (stale-translation.ts).
 */
export const TLB_ENTRIES = 4096;
export const TLB_SUPERVISOR = 0x4000;
export const TLB_USER = 0x8000;
export const TLB_END = 0xc000;
export const TLB_INVALID = 4;
export const TLB_CODE = 8;
export const TLB_WATCHED = 16;
