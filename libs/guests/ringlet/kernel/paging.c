/*
 * Address spaces: PAE paging, three levels (SDM Vol. 3A 4.4).
 *
 *    31 30 29      21 20      12 11        0
 *   ┌─────┬──────────┬──────────┬───────────┐
 *   │ L3  │    L2    │    L1    │  offset   │   4 × 512 × 512 entries of 8 bytes
 *   └─────┴──────────┴──────────┴───────────┘
 *
 * Each process has its own L3 and L2 tables for user (slot 0) and kernel (slot 3); the kernel's L1 tables are shared.
 * (The kernel's L2 could be shared too on the bare machine; Xen keeps its own entries in it, one set per address space.)
 * Where programs must not run on the kernel's tables, they have an L3 table of their own, which shares all of theirs below it.
 */
#include "paging.h"
#include "memory.h"
#include "string.h"
#include "syscalls.h"

#define ENTRIES 512
#define L3_INDEX(linear) ((linear) >> 30)
#define L2_INDEX(linear) ((linear) >> 21 & 511)
#define L1_INDEX(linear) ((linear) >> 12 & 511)
#define L1_SPAN (ENTRIES * PAGE_SIZE)
#define TABLE_FLAGS (PTE_PRESENT | PTE_WRITABLE | PTE_USER)
#define KERNEL_FLAGS (PTE_PRESENT | PTE_WRITABLE)

static pte_t *kernel_l2;
static u32 kernel_l2_used; /* entries that every address space copies */

static pte_t *table_of(pte_t entry) { return frame_address(pte_frame(entry)); }

/* Extend the boot mapping to all of RAM. */
void paging_init(u32 root, u32 frames, u32 *next_unused) {
    pte_t *l3 = frame_address(root);
    kernel_l2 = table_of(l3[L3_INDEX(KERNEL_BASE)]);
    kernel_l2_used = (frames + ENTRIES - 1) / ENTRIES;
    for (u32 slot = 0; slot < kernel_l2_used; slot++) {
        if (kernel_l2[slot] & PTE_PRESENT) {
            pte_t *l1 = table_of(kernel_l2[slot]);
            for (u32 i = 0; i < ENTRIES && slot * ENTRIES + i < frames; i++)
                if (!(l1[i] & PTE_PRESENT)) table_store(&l1[i], pte_make(slot * ENTRIES + i, KERNEL_FLAGS));
            continue;
        }
        u32 table = (*next_unused)++;
        pte_t *l1 = frame_address(table);
        for (u32 i = 0; i < ENTRIES; i++)
            l1[i] = slot * ENTRIES + i < frames ? pte_make(slot * ENTRIES + i, KERNEL_FLAGS) : 0;
        table_protect(table);
        table_store(&kernel_l2[slot], pte_make(table, KERNEL_FLAGS));
    }
    privops_commit();
}

int space_create(struct space *space) {
    u32 root = frame_allocate_zeroed(), user = frame_allocate_zeroed(), kernel = frame_allocate_zeroed();
    u32 user_root = SEPARATE_USER_ROOT ? frame_allocate_zeroed() : 0;
    if (!root || !user || !kernel || (SEPARATE_USER_ROOT && !user_root)) {
        if (root) frame_release(root);
        if (user) frame_release(user);
        if (kernel) frame_release(kernel);
        return ERROR_NO_MEMORY;
    }
    memcpy(frame_address(kernel), kernel_l2, kernel_l2_used * sizeof(pte_t));
    pte_t *l3 = frame_address(root);
    l3[0] = pte_make(user, PTE_PRESENT);
    l3[L3_INDEX(KERNEL_BASE)] = pte_make(kernel, PTE_PRESENT);
    if (user_root) *(pte_t *)frame_address(user_root) = l3[0];
    *space = (struct space){.root = root, .user_root = user_root};
    return 0;
}

static pte_t *user_l2(const struct space *space) { return table_of(((pte_t *)frame_address(space->root))[0]); }

/* Frames of the tables of a space, with its L1 tables, in the order that `visit` wants. */
static void for_each_table(const struct space *space, void (*visit)(u32 frame)) {
    pte_t *l3 = frame_address(space->root), *l2 = user_l2(space);
    for (u32 i = 0; i < USER_LIMIT / L1_SPAN; i++)
        if (l2[i] & PTE_PRESENT) visit(pte_frame(l2[i]));
    u32 user = pte_frame(l3[0]), kernel = pte_frame(l3[L3_INDEX(KERNEL_BASE)]);
    visit(user);
    visit(kernel);
    visit(space->root);
    if (space->user_root) visit(space->user_root);
}

void space_seal(struct space *space) {
    for_each_table(space, table_protect);
    root_pin(space->root);
    if (space->user_root) root_pin(space->user_root);
    privops_commit();
    space->sealed = 1;
}

void space_load(const struct space *space) { load_page_tables(space->root, space->user_root); }

pte_t *space_lookup(const struct space *space, u32 linear) {
    if (linear >= USER_LIMIT) return NULL;
    pte_t entry = user_l2(space)[L2_INDEX(linear)];
    return entry & PTE_PRESENT ? &table_of(entry)[L1_INDEX(linear)] : NULL;
}

int space_map(struct space *space, u32 linear, u32 frame, u32 flags) {
    pte_t *entry = space_lookup(space, linear);
    if (!entry) {
        u32 table = frame_allocate_zeroed();
        if (!table) return ERROR_NO_MEMORY;
        pte_t *slot = &user_l2(space)[L2_INDEX(linear)], value = pte_make(table, TABLE_FLAGS);
        if (space->sealed) table_protect(table), table_store(slot, value);
        else *slot = value;
        entry = (pte_t *)frame_address(table) + L1_INDEX(linear);
    }
    pte_t value = pte_make(frame, flags);
    if (space->sealed) table_store(entry, value), privops_commit();
    else *entry = value;
    space->pages++;
    return 0;
}

/* Fork: the same pages in both, writable ones read-only until one side writes (copy_on_write). */
int space_copy(struct space *to, struct space *from) {
    if (space_create(to)) return ERROR_NO_MEMORY;
    pte_t *l2 = user_l2(from);
    for (u32 slot = 0; slot < USER_LIMIT / L1_SPAN; slot++) {
        if (!(l2[slot] & PTE_PRESENT)) continue;
        u32 table = frame_allocate_zeroed();
        if (!table) {
            privops_commit();
            tlb_flush();
            privops_commit();
            space_destroy(to);
            return ERROR_NO_MEMORY;
        }
        user_l2(to)[slot] = pte_make(table, TABLE_FLAGS);
        pte_t *theirs = table_of(l2[slot]), *ours = frame_address(table);
        for (u32 i = 0; i < ENTRIES; i++) {
            pte_t pte = theirs[i];
            if (!(pte & PTE_PRESENT)) continue;
            if (pte & PTE_WRITABLE) {
                pte = (pte & ~(pte_t)PTE_WRITABLE) | PTE_COPY_ON_WRITE;
                table_store(&theirs[i], pte);
            }
            ours[i] = pte;
            frame_hold(pte_frame(pte));
            to->pages++;
        }
    }
    tlb_flush();
    space_seal(to);
    return 0;
}

int copy_on_write(struct space *space, u32 linear) {
    pte_t *entry = space_lookup(space, linear);
    if (!entry || !(*entry & PTE_COPY_ON_WRITE)) return 0;
    u32 old = pte_frame(*entry), frame = old;
    if (frame_references(old) > 1) {
        frame = frame_allocate();
        if (!frame) return 0;
        memcpy(frame_address(frame), frame_address(old), PAGE_SIZE);
    }
    page_store(linear & PAGE_MASK, entry, pte_make(frame, PTE_PRESENT | PTE_USER | PTE_WRITABLE));
    if (frame != old) frame_release(old);
    return 1;
}

static void release_pages(const struct space *space) {
    pte_t *l2 = user_l2(space);
    for (u32 slot = 0; slot < USER_LIMIT / L1_SPAN; slot++) {
        if (!(l2[slot] & PTE_PRESENT)) continue;
        pte_t *l1 = table_of(l2[slot]);
        for (u32 i = 0; i < ENTRIES; i++)
            if (l1[i] & PTE_PRESENT) frame_release(pte_frame(l1[i]));
    }
}

void space_destroy(struct space *space) {
    if (space->sealed) {
        root_unpin(space->root);
        if (space->user_root) root_unpin(space->user_root);
        for_each_table(space, table_unprotect);
        privops_commit();
    }
    release_pages(space);
    /* The visit reads an entry before the table that holds it is released; a released frame's first word changes. */
    for_each_table(space, frame_release);
    space->root = 0;
}

static u8 window[WINDOW_PAGES * PAGE_SIZE] __attribute__((section(".bss.page"), aligned(4096)));

u32 window_address(u32 index) { return (u32)window + index * PAGE_SIZE; }
pte_t *window_entry(u32 index) {
    u32 linear = window_address(index);
    return &table_of(kernel_l2[L2_INDEX(linear)])[L1_INDEX(linear)];
}
