/*
 * Does what a program must not do, and looks whether the kernel and the machine below it hold: each attempt runs in a
 * process of its own, which must end with the expected fault (status 128 + vector), or is a system call that must be refused
 * with the expected error. Its last line is the verdict, the same on every path.
 */
#include "lib.h"

#define KERNEL 0xc0100000u
#define FAULT(vector) (128 + (vector))
#define INVALID_OPCODE 6
#define GENERAL_PROTECTION 13
#define PAGE_FAULT 14
#define SURVIVES 77

static void read_nowhere(void) { *(volatile int *)0; }
static void read_kernel(void) { *(volatile int *)KERNEL; }
static void write_kernel(void) { *(volatile int *)KERNEL = 0; }
static void write_own_code(void) { *(volatile char *)&read_nowhere = 0; }
static void halt(void) { asm volatile("hlt"); }
static void interrupts_off(void) { asm volatile("cli"); }
static void interrupts_on(void) { asm volatile("sti"); }
static void input_output(void) { asm volatile("inb $0x60, %%al" : : : "eax"); }
static void load_cr3(void) { asm volatile("mov %0, %%cr3" : : "r"(0)); }
static void undefined(void) { asm volatile("ud2"); }
static void breakpoint(void) { asm volatile("int3"); }
static void device_interrupt(void) { asm volatile("int $0x20"); }
static void hypercall(void) { asm volatile("int $0x82" : : "a"(0), "b"(0)); }
static void kernel_data_segment(void) { asm volatile("mov %0, %%ds" : : "r"(0x10)); }
static void kernel_code_segment(void) { asm volatile("ljmp $0x8, $0x500000"); }
static void kernel_stack(void) { asm volatile("mov %0, %%esp\n\tpush %%eax" : : "r"(KERNEL)); }
static void single_step(void) { asm volatile("pushf\n\torl $0x100, (%%esp)\n\tpopf\n\tnop" : : : "memory"); }
/* POPF at ring 3 leaves IF and IOPL alone, without a fault; the process must end by its own exit. */
static void steal_interrupt_flag(void) {
    asm volatile("pushf\n\tandl $~0x200, (%%esp)\n\torl $0x3000, (%%esp)\n\tpopf" : : : "memory", "cc");
    exit(SURVIVES);
}
/* Null segments are allowed until they are used; the kernel must not trust them. */
static void null_segments(void) {
    asm volatile("mov %0, %%ds\n\tmov %0, %%es\n\tint $0x80" : : "r"(0), "a"(SYS_GETPID));
    asm volatile("int $0x80" : : "a"(SYS_EXIT), "b"(SURVIVES));
}
static void endless_stack(void) { asm volatile("1: push %eax\n\tjmp 1b"); }
/* More memory than there is. */
static void endless_heap(void) {
    u32 end = system_call(SYS_BRK, 0, 0, 0), limit = 0x10000000;
    system_call(SYS_BRK, limit, 0, 0);
    for (; end < limit; end += 4096) *(volatile u32 *)end = end;
}
/* More processes than there are: those that there are end at once. */
static void endless_processes(void) {
    int pid;
    while ((pid = fork()) > 0) {}
    exit(pid == 0 ? 0 : SURVIVES);
}

static const struct attempt {
    const char *name;
    void (*act)(void);
    int status;
} attempts[] = {
    {"read nowhere", read_nowhere, FAULT(PAGE_FAULT)},
    {"read the kernel", read_kernel, FAULT(PAGE_FAULT)},
    {"write the kernel", write_kernel, FAULT(PAGE_FAULT)},
    {"write its own code", write_own_code, FAULT(PAGE_FAULT)},
    {"hlt", halt, FAULT(GENERAL_PROTECTION)},
    {"cli", interrupts_off, FAULT(GENERAL_PROTECTION)},
    {"sti", interrupts_on, FAULT(GENERAL_PROTECTION)},
    {"in", input_output, FAULT(GENERAL_PROTECTION)},
    {"mov cr3", load_cr3, FAULT(GENERAL_PROTECTION)},
    {"ud2", undefined, FAULT(INVALID_OPCODE)},
    {"int3", breakpoint, FAULT(3)},
    {"int 0x20", device_interrupt, FAULT(GENERAL_PROTECTION)},
    {"int 0x82", hypercall, FAULT(GENERAL_PROTECTION)},
    {"kernel data segment", kernel_data_segment, FAULT(GENERAL_PROTECTION)},
    {"kernel code segment", kernel_code_segment, FAULT(GENERAL_PROTECTION)},
    {"kernel stack", kernel_stack, FAULT(PAGE_FAULT)},
    {"single step", single_step, FAULT(1)},
    {"popf", steal_interrupt_flag, SURVIVES},
    {"null segments", null_segments, SURVIVES},
    {"endless stack", endless_stack, FAULT(PAGE_FAULT)},
    {"endless heap", endless_heap, FAULT(PAGE_FAULT)},
    {"endless processes", endless_processes, SURVIVES},
};

static char buffer[512];
static char *const no_arguments[] = {0};

static const struct request {
    const char *name;
    u32 number, a, b, c;
    int error;
} requests[] = {
    {"write from the kernel", SYS_WRITE, 1, KERNEL, 10, ERROR_FAULT},
    {"write around the end", SYS_WRITE, 1, 0xfffffff0, 0x20, ERROR_FAULT},
    {"write to no file", SYS_WRITE, 9, (u32)buffer, 1, ERROR_BAD_FD},
    {"read into code", SYS_READ, 0, (u32)&read_nowhere, 4, ERROR_FAULT},
    {"read from no file", SYS_READ, 5, (u32)buffer, 4, ERROR_BAD_FD},
    {"list into the kernel", SYS_LIST, 0, KERNEL, 0, ERROR_FAULT},
    {"sector into the kernel", SYS_SECTOR_READ, 0, KERNEL, 0, ERROR_FAULT},
    {"a sector that is not", SYS_SECTOR_READ, 0xffffffff, (u32)buffer, 0, ERROR_INVALID},
    {"overwrite programs", SYS_SECTOR_WRITE, 256, (u32)buffer, 0, ERROR_INVALID},
    {"open nothing", SYS_OPEN, (u32)"nothing", 0, 0, ERROR_NO_ENTRY},
    {"open the kernel's string", SYS_OPEN, KERNEL, 0, 0, ERROR_FAULT},
    {"close what is not open", SYS_CLOSE, 3, 0, 0, ERROR_BAD_FD},
    {"execute a text", SYS_EXEC, (u32)"welcome.txt", (u32)no_arguments, 0, ERROR_NOT_EXECUTABLE},
    {"execute with bad arguments", SYS_EXEC, (u32)"cat", KERNEL, 0, ERROR_FAULT},
    {"wait without a child", SYS_WAIT, 0, 0, 0, ERROR_NO_CHILD},
    {"measure nothing", SYS_MEASURE, 0, 1, 0, ERROR_INVALID},
    {"no such call", SYS_COUNT, 0, 0, 0, ERROR_NO_SYSCALL},
    {"nor this one", 0xffffffff, 0, 0, 0, ERROR_NO_SYSCALL},
};

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static int attempt(const struct attempt *attempt) {
    int status = 0, pid = fork(), ended;
    if (pid == 0) {
        attempt->act();
        exit(0);
    }
    do ended = wait(&status); while (ended > 0 && ended != pid);
    print("%s: status %d\n", attempt->name, status);
    return status == attempt->status;
}

int main(void) {
    int held = 0, total = LENGTH(attempts) + LENGTH(requests);
    for (u32 i = 0; i < LENGTH(attempts); i++) held += attempt(&attempts[i]);
    for (u32 i = 0; i < LENGTH(requests); i++) {
        const struct request *request = &requests[i];
        int result = system_call(request->number, request->a, request->b, request->c);
        print("%s: %d\n", request->name, result);
        held += result == request->error;
    }
    print("trespass: %d of %d refused\n", held, total);
    return held != total;
}
