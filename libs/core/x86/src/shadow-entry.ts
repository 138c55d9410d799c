/**
 * Shadow page tables have the PAE format (SDM Vol. 3A 4.4.2), tables in monitor space, leaves in the guest's frames. One of the bits that the
 * format leaves to software means something to this processor: in a leaf that is not writable, bit 9 says that the page is
 * write-traced. A write that fails for no other reason leaves with `ExitReason.WriteTrace`, which carries the bytes; answered
 * with `retire`, the instruction runs again and this store goes through.
 */
export const SHADOW_PRESENT = 1;
export const SHADOW_WRITABLE = 2;
export const SHADOW_USER = 4;
export const SHADOW_TRACED = 1 << 9;
/** Bit 63 of an entry, in its high word: no instruction fetches. */
export const SHADOW_EXECUTE_DISABLE = 1 << 31;
