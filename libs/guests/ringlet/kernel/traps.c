/* What to do on each way into the kernel. */
#include "traps.h"
#include "console.h"
#include "irq.h"
#include "process.h"
#include "syscall.h"
#include "timer.h"
#include "user-memory.h"

static const char *const exception_names[] = {
    "divide error", "debug", "NMI", "breakpoint", "overflow", "bound range", "invalid opcode", "no coprocessor",
    "double fault", "coprocessor overrun", "invalid TSS", "segment not present", "stack fault", "general protection",
    "page fault",
};

#define PAGE_FAULT_PRESENT 1 /* error code: the page is there, the access is not allowed */
#define PAGE_FAULT_WRITE 2

static void exception(struct trap_frame *frame) {
    u32 linear = 0;
    if (frame->vector == VECTOR_PAGE_FAULT) {
        linear = fault_address(); /* before anything can fault again */
        u32 error = frame->error_code;
        if (from_user(frame) && (error & PAGE_FAULT_WRITE || !(error & PAGE_FAULT_PRESENT)) && page_in(linear, error & PAGE_FAULT_WRITE)) return;
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
