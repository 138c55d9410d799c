#ifndef RINGLET_MEMORY_H
#define RINGLET_MEMORY_H

#include "types.h"

/* All RAM is mapped here: physical (on Xen pseudo-physical) address p stands at KERNEL_BASE + p. */
#define KERNEL_BASE 0xc0000000u
#define DIRECT_MAP_LIMIT 0x20000000u /* 512 MiB; Xen's own part begins at 0xF5800000 */

static inline void *frame_address(u32 frame) { return (void *)(KERNEL_BASE + frame * PAGE_SIZE); }
static inline u32 address_frame(const void *address) { return ((u32)address - KERNEL_BASE) / PAGE_SIZE; }

/* Frames first_free … frames - 1 are free RAM; `root` are the boot page tables' root. Maps all of it. */
void memory_init(u32 first_free, u32 frames, u32 root);

/* 0 when there is none left. One reference. */
u32 frame_allocate(void);
u32 frame_allocate_zeroed(void);
void frame_hold(u32 frame);
void frame_release(u32 frame);
u32 frame_references(u32 frame);
u32 frames_free(void);

#endif
