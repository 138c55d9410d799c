/*
 * bench OP N: one repetition to warm up, then N between the marks, while the timer tick is held. Operations of the
 * kernel run in it (kernel/measure.c); those of ring 3 run here, in the same loop.
 */
#include "../kernel/marks.h"
#include "lib.h"

#define PAGE_FILE "page.txt"
#define NOWHERE 0 /* no process has a page at address 0 */

static char page[4096] __attribute__((aligned(4096)));
static int page_length;

static void hold_tick(int hold) { system_call(SYS_HOLD_TICK, hold, 0, 0); }

#define SYSTEM_CALL(number) "mov $" #number ", %%eax\n\tint $0x80\n\t"
#define EXPANDED_SYSTEM_CALL(number) SYSTEM_CALL(number)

static int measure_syscall(int count) {
    u32 eax = 0;
    WARM_UP_AND_MEASURE(OP_SYSCALL, count, eax, EXPANDED_SYSTEM_CALL(SYS_GETPID), : "memory");
    return 0;
}

/* Both faulting instructions are two bytes long; the kernel skips them. */
static int measure_page_fault(int count) {
    u32 eax = 0;
    system_call(SYS_SKIP_FAULTS, 2, 0, 0);
    WARM_UP_AND_MEASURE(OP_PAGE_FAULT, count, eax, "mov (%%esi), %%al\n\t", , "S"(NOWHERE) : "memory");
    return 0;
}
static int measure_divide_error(int count) {
    u32 eax = 0;
    system_call(SYS_SKIP_FAULTS, 2, 0, 0);
    WARM_UP_AND_MEASURE(OP_DIVIDE_ERROR, count, eax, "div %%ecx\n\t", , "c"(0), "d"(0) : "memory");
    return 0;
}

/* The other process yields as often as this one: once to warm up, `count` times measured, and once more to come out even. */
static int measure_context_switch(int count) {
    u32 eax = 0;
    int pid = fork();
    if (pid < 0) return pid;
    if (pid == 0) {
        for (int i = 0; i < count + 2; i++) yield();
        exit(0);
    }
    WARM_UP_AND_MEASURE(OP_CONTEXT_SWITCH, count, eax, EXPANDED_SYSTEM_CALL(SYS_YIELD), : "memory");
    wait(0);
    return 0;
}

static int measure_fork(int count) {
    u32 eax = 0;
    WARM_UP_AND_MEASURE(OP_FORK, count, eax,
                        EXPANDED_SYSTEM_CALL(SYS_FORK)
                        "test %%eax, %%eax\n\t"
                        "jnz 78f\n\t"
                        EXPANDED_SYSTEM_CALL(SYS_EXIT)
                        "78:\n\t"
                        EXPANDED_SYSTEM_CALL(SYS_WAIT),
                        , "b"(0) : "memory");
    return 0;
}

static int measure_disk_read(int count) {
    u32 eax = 0;
    WARM_UP_AND_MEASURE(OP_DISK_READ, count, eax, EXPANDED_SYSTEM_CALL(SYS_SECTOR_READ), , "b"(0), "c"(page) : "memory");
    return (int)eax;
}

static int measure_print(int count) {
    u32 eax = 0;
    int fd = open(PAGE_FILE);
    if (fd < 0) return fd;
    page_length = read(fd, page, sizeof(page));
    WARM_UP_AND_MEASURE(OP_PRINT, count, eax, EXPANDED_SYSTEM_CALL(SYS_PRINT), , "b"(page), "c"(page_length) : "memory");
    return (int)eax < 0 ? (int)eax : 0;
}

static const struct operation {
    const char *name;
    int number;                /* the kernel measures it, */
    int (*measure)(int count); /* or this function */
} operations[] = {
    {"empty", OP_EMPTY, 0},
    {"syscall", 0, measure_syscall},
    {"in", OP_IN, 0},
    {"cr-write", OP_CR_WRITE, 0},
    {"call-ret", OP_CALL_RET, 0},
    {"page-fault", 0, measure_page_fault},
    {"divide-error", 0, measure_divide_error},
    {"pte-modify", OP_PTE_MODIFY, 0},
    {"pte-modify-batch", OP_PTE_MODIFY_BATCH, 0},
    {"context-switch", 0, measure_context_switch},
    {"fork", 0, measure_fork},
    {"disk-read", 0, measure_disk_read},
    {"print", 0, measure_print},
};
#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

int main(int count, char **words) {
    int repetitions = count == 3 ? parse_number(words[2]) : 0;
    for (u32 i = 0; repetitions > 0 && i < OPERATIONS; i++) {
        const struct operation *operation = &operations[i];
        if (!equal(words[1], operation->name)) continue;
        int result;
        if (operation->measure) {
            hold_tick(1);
            result = operation->measure(repetitions);
            hold_tick(0);
        } else {
            result = system_call(SYS_MEASURE, operation->number, repetitions, 0);
        }
        if (result < 0) print("bench %s: failed (error %d)\n", words[1], result);
        else print("bench %s %d: done\n", words[1], repetitions);
        return result < 0;
    }
    print("usage: bench OPERATION N, where OPERATION is one of\n");
    for (u32 i = 0; i < OPERATIONS; i++) print("  %s\n", operations[i].name);
    return 1;
}
