#ifndef RINGLET_TRAPS_H
#define RINGLET_TRAPS_H

#include "segments.h"
#include "types.h"

/* What entry.S builds on the kernel stack, lowest address first. */
struct trap_frame {
    u32 es, ds, edi, esi, ebp, ebx, edx, ecx, eax;
    u32 vector, error_code;
    u32 eip;
    u16 cs, saved_mask; /* paravirtualized: the event mask before the trap stands in the upper half of CS */
    u32 eflags;
    u32 esp, ss; /* only when the trap came from ring 3 */
};

static inline int from_user(const struct trap_frame *frame) { return (frame->cs & 3) == 3; }

#define EFLAGS_IF 0x200u

extern const u32 trap_entries[48];
void syscall_entry(void);
void event_entry(void);
void failsafe_entry(void);
void trap_return(void);

void trap_dispatch(struct trap_frame *frame);
void descriptors_init(void);

#endif
