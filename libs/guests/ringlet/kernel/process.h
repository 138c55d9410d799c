#ifndef RINGLET_PROCESS_H
#define RINGLET_PROCESS_H

#include "archive.h"
#include "paging.h"
#include "traps.h"
#include "types.h"

#define PROCESSES 16
#define OPEN_FILES 8
#define NAME_LENGTH 15
#define EXEC_ARGUMENTS 15
#define EXEC_TEXT 2048 /* bytes of all arguments */

enum process_state { FREE, RUNNABLE, WAITING, ZOMBIE };
/* What a process waits for decides whether the tick may stop. */
enum wait_kind { WAIT_FOR_INPUT, WAIT_FOR_CHILD, WAIT_FOR_DEVICE };

struct open_file {
    const struct archive_file *file; /* NULL: not open */
    u32 position;
};

struct process {
    enum process_state state;
    int pid;
    struct process *parent;
    int exit_status;
    const void *wait_channel;
    enum wait_kind wait_kind;
    u32 saved_esp;    /* on its kernel stack, while it does not run */
    u32 kernel_stack; /* frame; the stack is this one page */
    struct space space;
    u32 image_end, heap_end;
    u32 skip_faults;  /* bytes to skip on a fault instead of ending, 0 = end */
    struct open_file files[OPEN_FILES];
    char name[NAME_LENGTH];
};

extern struct process *current;

/* Give the processor to the first process, which executes `program`; does not return. */
void process_start(const char *program);
/* Let another process run; returns when this one's turn comes again. */
void yield(void);
/* Sleep until `wake` of the same channel. Interrupts must be off, or a wake-up could come between test and sleep. */
void sleep_on(const void *channel, enum wait_kind kind);
void wake(const void *channel);

int process_fork(const struct trap_frame *frame);
int process_wait(int *status);
void process_exit(int status) __attribute__((noreturn));
const struct process *process_at(u32 index);
/* The trap frame through which a process came from ring 3: at the top of its kernel stack. */
struct trap_frame *user_frame(const struct process *process);

/* exec.c: replace the current process's image. Negative on error, and then nothing has changed. */
int exec(const char *name, const char *const *arguments, struct trap_frame *frame);

#endif
