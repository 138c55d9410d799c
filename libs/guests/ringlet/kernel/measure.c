/*
 * The operations that are measured in the kernel. Interrupts stay on, but the tick is held, so none comes.
 */
#include "measure.h"
#include "marks.h"
#include "memory.h"
#include "paging.h"
#include "syscalls.h"
#include "timer.h"

/* The callee of `call-ret`. */
asm(".text\n\t.balign 16\nnear_return:\n\tret");

/*
 * A window of 32 kernel pages whose entries change their frames: pages 2k and 2k + 1 swap theirs, and swap back. All
 * frames stay the kernel's own, which matters when somebody validates the entries.
 */
static pte_t window_values[2][WINDOW_PAGES];
static u32 window_phase;

static void modify_batch(void) {
    pte_t *entry = window_entry(0);
    window_phase ^= 1;
    for (u32 i = 0; i < WINDOW_PAGES; i++) table_store(&entry[i], window_values[window_phase][i]);
    privops_commit();
}

int measure(u32 operation, u32 count) {
    if (count == 0) return ERROR_INVALID;
    pte_t *entry = window_entry(0), own = entry[0], other = entry[1];
    for (u32 i = 0; i < WINDOW_PAGES; i++) window_values[0][i] = entry[i], window_values[1][i] = entry[i ^ 1];
    u32 eax = 0;
    int result = 0;

    timer_hold(1);
    switch (operation) {
    case OP_EMPTY: WARM_UP_AND_MEASURE(OP_EMPTY, count, eax, "", : "memory"); break;
    case OP_IN: WARM_UP_AND_MEASURE(OP_IN, count, eax, "inb $0x80, %%al\n\t", : "memory"); break;
    case OP_CALL_RET: WARM_UP_AND_MEASURE(OP_CALL_RET, count, eax, "call near_return\n\t", : "memory"); break;
    case OP_CR_WRITE:
        eax = measure_cr0();
        WARM_UP_AND_MEASURE(OP_CR_WRITE, count, eax, CR_WRITE_ASM, CR_WRITE_OPERANDS);
        measure_cr_write_done();
        break;
    case OP_PTE_MODIFY:
        eax = measure_pte_modify(entry, own, other);
        WARM_UP_AND_MEASURE(OP_PTE_MODIFY, count, eax, PTE_MODIFY_ASM, PTE_MODIFY_OPERANDS);
        page_store(window_address(0), entry, own);
        break;
    case OP_PTE_MODIFY_BATCH:
        WARM_UP_AND_MEASURE(OP_PTE_MODIFY_BATCH, count, eax, "call *%%ebx\n\t", , "b"(modify_batch) : "ecx", "edx", "memory");
        if (window_phase) modify_batch();
        tlb_flush();
        privops_commit();
        break;
    default: result = ERROR_INVALID;
    }
    timer_hold(0);
    return result;
}
