/* Processes: round-robin scheduling, fork, exit and wait. */
#include "process.h"
#include "console.h"
#include "memory.h"
#include "string.h"
#include "syscalls.h"
#include "timer.h"

static struct process processes[PROCESSES];
static struct process boot; /* stands for what runs before the first process */
struct process *current = &boot;
static int last_pid;
static const char *first_program;

void switch_context(u32 *save_esp, u32 load_esp); /* entry.S */
void process_entry(void);

static u32 stack_top(const struct process *process) { return (u32)frame_address(process->kernel_stack) + PAGE_SIZE; }
struct trap_frame *user_frame(const struct process *process) { return (struct trap_frame *)stack_top(process) - 1; }
const struct process *process_at(u32 index) { return index < PROCESSES ? &processes[index] : NULL; }

static struct process *next_runnable(void) {
    u32 start = current == &boot ? PROCESSES - 1 : (u32)(current - processes);
    for (u32 i = 1; i <= PROCESSES; i++) {
        struct process *process = &processes[(start + i) % PROCESSES];
        if (process->state == RUNNABLE) return process;
    }
    return NULL;
}

/* Nothing can run: wait for an interrupt. When all wait for input, there is nothing to time, and the tick stops. */
static void idle(void) {
    u32 device = 0;
    for (u32 i = 0; i < PROCESSES; i++)
        device |= processes[i].state == WAITING && processes[i].wait_kind == WAIT_FOR_DEVICE;
    if (!device) timer_stop();
    cpu_wait();
    irq_disable();
}

void yield(void) {
    struct process *next;
    u32 flags = irq_save();
    while (!(next = next_runnable())) idle();
    timer_start();
    slice_used = 0;
    if (next != current) {
        struct process *previous = current;
        current = next;
        set_kernel_stack(stack_top(next));
        space_load(&next->space);
        privops_commit();
        switch_context(&previous->saved_esp, next->saved_esp);
    }
    irq_restore(flags);
}

void sleep_on(const void *channel, enum wait_kind kind) {
    current->wait_channel = channel;
    current->wait_kind = kind;
    current->state = WAITING;
    yield();
}

void wake(const void *channel) {
    for (u32 i = 0; i < PROCESSES; i++)
        if (processes[i].state == WAITING && processes[i].wait_channel == channel) processes[i].state = RUNNABLE;
}

/* A slot with a kernel stack, on which switch_context "returns" to process_entry with the user frame above it. */
static struct process *process_allocate(void) {
    for (u32 i = 0; i < PROCESSES; i++) {
        struct process *process = &processes[i];
        if (process->state != FREE) continue;
        u32 stack = frame_allocate();
        if (!stack) return NULL;
        memset(process, 0, sizeof(*process));
        process->kernel_stack = stack;
        u32 *top = (u32 *)user_frame(process);
        *--top = (u32)process_entry;
        top -= 4; /* EBP EBX ESI EDI */
        process->saved_esp = (u32)top;
        return process;
    }
    return NULL;
}

/* A new process's first act, on its own kernel stack. */
void process_begin(void) {
    irq_enable();
    if (!first_program) return;
    const char *arguments[] = {first_program, NULL};
    first_program = NULL;
    archive_mount();
    int error = exec(arguments[0], arguments, user_frame(current));
    if (error) panic("cannot run %s (error %d)", arguments[0], error);
}

void process_start(const char *program) {
    struct process *process = process_allocate();
    if (!process || space_create(&process->space)) panic("no memory for the first process");
    space_seal(&process->space);
    first_program = program;
    process->pid = ++last_pid;
    process->parent = process;
    process->state = RUNNABLE;
    irq_disable();
    yield();
    __builtin_unreachable();
}

int process_fork(const struct trap_frame *frame) {
    struct process *child = process_allocate();
    if (!child) return ERROR_NO_MEMORY;
    if (space_copy(&child->space, &current->space)) {
        frame_release(child->kernel_stack);
        return ERROR_NO_MEMORY;
    }
    child->parent = current;
    child->image_end = current->image_end;
    child->heap_end = current->heap_end;
    child->skip_faults = current->skip_faults;
    memcpy(child->files, current->files, sizeof(child->files));
    memcpy(child->name, current->name, sizeof(child->name));
    *user_frame(child) = *frame;
    user_frame(child)->eax = 0;
    child->pid = ++last_pid;
    child->state = RUNNABLE;
    return child->pid;
}

void process_exit(int status) {
    if (current->parent == current) panic("the first process has ended (status %d)", status);
    irq_disable();
    /* Orphans go to the first process, which waits for any child. */
    for (u32 i = 0; i < PROCESSES; i++)
        if (processes[i].state != FREE && processes[i].parent == current) {
            processes[i].parent = &processes[0];
            if (processes[i].state == ZOMBIE) wake(&processes[0]);
        }
    current->exit_status = status;
    current->state = ZOMBIE;
    wake(current->parent);
    yield();
    __builtin_unreachable();
}

/* A zombie keeps its stack and address space, for it ran on them to the end; the parent, on its own, gives them back. */
int process_wait(int *status) {
    u32 flags = irq_save();
    for (;;) {
        u32 children = 0;
        for (u32 i = 0; i < PROCESSES; i++) {
            struct process *child = &processes[i];
            if (child->state == FREE || child->parent != current || child == current) continue;
            children++;
            if (child->state != ZOMBIE) continue;
            int pid = child->pid;
            *status = child->exit_status;
            space_destroy(&child->space);
            frame_release(child->kernel_stack);
            child->state = FREE;
            irq_restore(flags);
            return pid;
        }
        if (!children) {
            irq_restore(flags);
            return ERROR_NO_CHILD;
        }
        sleep_on(current, WAIT_FOR_CHILD);
    }
}
