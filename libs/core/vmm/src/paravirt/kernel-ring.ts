/**
 * The ring in which the guest's kernel runs.
 *
 * 1: as 32-bit Xen does. Segments and the U/S bit keep the kernel from its applications; a system call enters it by a gate of its own.
 *
 * 3: as 64-bit Xen does, where segments have no limits and paging knows two levels only: kernel and applications share ring 3.
 * What keeps them apart is the page table: applications run on one in which the kernel does not stand (MMUEXT_NEW_USER_BASEPTR),
 * and ring -1 changes from one to the other, for the processor's CPL no longer tells who runs. So every way into the
 * kernel, and the way out of it (the iret hypercall), passes through ring -1.
 */
export type KernelRing = 1 | 3;
