#ifndef RINGLET_PAGING_H
#define RINGLET_PAGING_H

#include "types.h"

/* PAE page-table entries (SDM Vol. 3A 4.4.2). */
#define PTE_PRESENT 0x001u
#define PTE_WRITABLE 0x002u
#define PTE_USER 0x004u
#define PTE_COPY_ON_WRITE 0x200u /* bit 9 is the system's own: writable in truth, shared for now */
#define PTE_FRAME_MASK 0x0000000ffffff000ull

/*
 * What a program sees. The stack grows down from USER_STACK_TOP, the image begins there, the heap follows the image: a
 * small program needs one page table.
 */
#define USER_STACK_BOTTOM 0x00400000u
#define USER_STACK_TOP 0x00500000u
#define USER_IMAGE 0x00500000u
#define USER_LIMIT 0x10000000u

/* An address space: three levels of tables under the frame `root`. While it is built, entries are plain stores; sealed, it
 * can be loaded, and every change is a privileged operation. */
struct space {
    u32 root;
    u32 user_root; /* what the program runs on, without the kernel; 0: on `root` */
    u32 sealed;
    u32 pages; /* user pages mapped */
};

void paging_init(u32 root, u32 frames, u32 *next_unused);

/* All return 0, or ERROR_NO_MEMORY. */
int space_create(struct space *space);
void space_seal(struct space *space);
void space_load(const struct space *space);
int space_copy(struct space *to, struct space *from);
/* The space must not be loaded any more. */
void space_destroy(struct space *space);

/* Map a frame (its reference passes to the space) at a user address. */
int space_map(struct space *space, u32 linear, u32 frame, u32 flags);
/* The entry of an address, or NULL without page table. */
pte_t *space_lookup(const struct space *space, u32 linear);

/* Frame of an entry's page. */
static inline u32 pte_frame(pte_t pte) { return machine_to_frame((u32)((pte & PTE_FRAME_MASK) >> 12)); }
static inline pte_t pte_make(u32 frame, u32 flags) { return (pte_t)frame_to_machine(frame) << 12 | flags; }

/* A page that is shared until somebody writes: make it this (loaded) space's own. 0: it is not such a page, or no memory. */
int copy_on_write(struct space *space, u32 linear);

/* A page of the kernel for the pte-modify operation: its linear address and entry. */
u32 window_address(u32 index);
pte_t *window_entry(u32 index);
#define WINDOW_PAGES 32

#endif
