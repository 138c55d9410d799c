/* Selectors and vectors, for C and assembler. */
#ifndef RINGLET_SEGMENTS_H
#define RINGLET_SEGMENTS_H

#define KERNEL_CS (0x08 | KERNEL_RING)
#define KERNEL_DS (0x10 | KERNEL_RING)
#define USER_CS 0x1b
#define USER_DS 0x23
#define TSS_SELECTOR 0x28

#define VECTOR_DIVIDE_ERROR 0
#define VECTOR_BREAKPOINT 3
#define VECTOR_OVERFLOW 4
#define VECTOR_GENERAL_PROTECTION 13
#define VECTOR_PAGE_FAULT 14
#define VECTOR_IRQ 32 /* the 8259 pair delivers lines 0..15 at vectors 32..47 */
#define VECTOR_SYSCALL 0x80
#define VECTOR_EVENT 0x100 /* not an IDT vector: an event channel upcall */

#endif
