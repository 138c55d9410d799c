/* What to do on each way into the kernel. */
#include "traps.h"
#include "console.h"
#include "irq.h"
#include "memory.h"
#include "paging.h"
#include "process.h"
#include "syscall.h"
#include "timer.h"

static const char *const exception_names[] = {
    "divide error", "debug", "NMI", "breakpoint", "overflow", "bound range", "invalid opcode", "no coprocessor",
    "double fault", "coprocessor overrun", "invalid TSS", "segment not present", "stack fault", "general protection",
    "page fault",
};

/* Stack and heap get their pages when they are first touched. */
static int demand_zero(u32 linear) {
    int stack = linear >= USER_STACK_BOTTOM && linear < USER_STACK_TOP;
    int heap = linear >= current->image_end && linear < current->heap_end;
    if (!stack && !heap) return 0;
    pte_t *entry = space_lookup(&current->space, linear);
    if (entry && *entry & PTE_PRESENT) return 0;
    u32 frame = frame_allocate_zeroed();
    if (!frame) return 0;
    if (space_map(&current->space, linear & PAGE_MASK, frame, PTE_PRESENT | PTE_WRITABLE | PTE_USER) == 0) return 1;
    frame_release(frame);
    return 0;
}

#define PAGE_FAULT_WRITE 2

/* A fault that the kernel caused while it used a program's memory is handled as the program's own. */
static int handle_page_fault(const struct trap_frame *frame, u32 linear) {
    if (frame->error_code & PTE_PRESENT) return frame->error_code & PAGE_FAULT_WRITE && copy_on_write(&current->space, linear);
    return demand_zero(linear);
}

static void exception(struct trap_frame *frame) {
    u32 linear = 0;
    if (frame->vector == VECTOR_PAGE_FAULT) {
        linear = fault_address(); /* before anything can fault again */
        if (handle_page_fault(frame, linear)) return;
    }
    if (from_user(frame) && current->skip_faults) {
        frame->eip += current->skip_faults;
        return;
    }
    const char *name = frame->vector < COUNT(exception_names) ? exception_names[frame->vector] : "exception";
    if (!from_user(frame))
        panic("%s in the kernel at 0x%x (error 0x%x, address 0x%x)", name, frame->eip, frame->error_code, linear);
    print("%s (pid %d): %s at 0x%x (error 0x%x, address 0x%x)\n", current->name, current->pid, name, frame->eip, frame->error_code, linear);
    process_exit(128 + frame->vector);
}

void trap_dispatch(struct trap_frame *frame) {
    if (frame->vector == VECTOR_SYSCALL) {
        frame->eax = syscall(frame);
    } else if (frame->vector < VECTOR_IRQ) {
        exception(frame);
    } else {
        irq_dispatch(frame->vector);
        /* The kernel is not preempted: a slice ends on the way back to ring 3. */
        if (slice_used && from_user(frame)) yield();
    }
}
