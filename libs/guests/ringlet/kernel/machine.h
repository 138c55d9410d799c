#ifndef RINGLET_MACHINE_H
#define RINGLET_MACHINE_H
#include "types.h"
/* What the loader (Multiboot) or the domain builder (Xen) has left. */
struct machine {
    u32 frames;           /* of RAM, from 0 */
    u32 first_free_frame; /* all above are free */
    u32 root;             /* frame of the page tables that are loaded */
};
void machine_discover(struct machine *machine);
#endif
