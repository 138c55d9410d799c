/* A program's memory as the kernel uses it: checked, and made present, before the first access. */
#include "user-memory.h"
#include "memory.h"
#include "paging.h"
#include "process.h"
#include "syscalls.h"

static int demand_zero(u32 linear) {
    int stack = linear >= USER_STACK_BOTTOM && linear < USER_STACK_TOP;
    int heap = linear >= current->image_end && linear < current->heap_end;
    if (!stack && !heap) return 0;
    u32 frame = frame_allocate_zeroed();
    if (!frame) return 0;
    if (space_map(&current->space, linear & PAGE_MASK, frame, PTE_PRESENT | PTE_WRITABLE | PTE_USER) == 0) return 1;
    frame_release(frame);
    return 0;
}

int page_in(u32 linear, int write) {
    if (linear >= USER_LIMIT) return 0;
    pte_t *entry = space_lookup(&current->space, linear);
    if (!entry || !(*entry & PTE_PRESENT)) return demand_zero(linear);
    return !write || *entry & PTE_WRITABLE || copy_on_write(&current->space, linear);
}

static int accessible(u32 address, u32 length, int write) {
    if (length > USER_LIMIT || address > USER_LIMIT - length) return 0;
    for (u32 page = address & PAGE_MASK; page < address + length; page += PAGE_SIZE)
        if (!page_in(page, write)) return 0;
    return 1;
}
int readable(u32 address, u32 length) { return accessible(address, length, 0); }
int writable(u32 address, u32 length) { return accessible(address, length, 1); }

int copy_string(char *to, u32 from, u32 size) {
    for (u32 i = 0; i < size; i++) {
        if ((i == 0 || (from + i) % PAGE_SIZE == 0) && !readable(from + i, 1)) return ERROR_FAULT;
        to[i] = *(const char *)(from + i);
        if (!to[i]) return 0;
    }
    return ERROR_INVALID;
}
