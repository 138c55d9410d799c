/* Xen's start-of-day state (xen/include/public/xen.h, "start-of-day memory layout"). */
#if PARAVIRT
#include "console.h"
#include "machine.h"
#include "memory.h"
#include "paging.h"
#include "xen.h"

void machine_discover(struct machine *machine) {
    const struct xen_start_info *info = xen_start_info;
    /* shared_info belongs to Xen and is not mapped yet: it takes the place of a page of ours. */
    pte_t shared = info->shared_info | PTE_PRESENT | PTE_WRITABLE;
    if (xen_hypercall5(XEN_UPDATE_VA_MAPPING, (u32)&xen_shared_info, (u32)shared, 0, XEN_UVMF_INVLPG, 0)) cpu_halt_for_good();

    machine->frames = info->frames;
    machine->root = address_frame((const void *)info->page_tables);
    /* Behind the page tables comes the boot stack's page, then padding that is free. */
    machine->first_free_frame = machine->root + info->page_table_frames + 1;
}
#endif
