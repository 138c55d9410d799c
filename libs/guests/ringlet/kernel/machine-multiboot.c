/* Multiboot Specification 0.6.96, 3.3: the information structure. */
#if !PARAVIRT
#include "console.h"
#include "machine.h"
#include "memory.h"

#define FLAG_MEMORY 1
struct multiboot_information { u32 flags, lower_kib, upper_kib; };

extern u32 boot_information;
extern u8 boot_l3[], kernel_end[];

void machine_discover(struct machine *machine) {
    /* The structure lies somewhere below 8 MiB, which the boot tables map; what it says is copied before anything is allocated. */
    const struct multiboot_information *information = (const void *)(KERNEL_BASE + boot_information);
    machine->frames = (1024 + (information->flags & FLAG_MEMORY ? information->upper_kib : 7 * 1024)) / 4;
    machine->first_free_frame = address_frame(kernel_end);
    machine->root = address_frame(boot_l3);
}
#endif
