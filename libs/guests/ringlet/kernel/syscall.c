/* System calls (syscalls.h). Each gets the frame: EBX, ECX, EDX are its arguments. */
#include "syscall.h"
#include "archive.h"
#include "ata.h"
#include "console.h"
#include "measure.h"
#include "memory.h"
#include "paging.h"
#include "printer.h"
#include "process.h"
#include "string.h"
#include "syscalls.h"
#include "timer.h"
#include "user-memory.h"

static int sys_getpid(struct trap_frame *frame) { (void)frame; return current->pid; }
static int sys_exit(struct trap_frame *frame) { process_exit(frame->ebx); }
static int sys_fork(struct trap_frame *frame) { return process_fork(frame); }

/* Descriptors 0, 1 and 2 are the console. */
static struct open_file *file_of(u32 fd) {
    return fd >= 3 && fd < OPEN_FILES && current->files[fd].file ? &current->files[fd] : NULL;
}

static int sys_read(struct trap_frame *frame) {
    u32 fd = frame->ebx, to = frame->ecx, length = frame->edx;
    if (!writable(to, length)) return ERROR_FAULT;
    if (fd == 0) return console_read((char *)to, length);
    struct open_file *open = file_of(fd);
    if (!open) return ERROR_BAD_FD;
    int count = archive_read(open->file, open->position, (void *)to, length);
    if (count > 0) open->position += count;
    return count;
}

static int sys_write(struct trap_frame *frame) {
    u32 fd = frame->ebx, from = frame->ecx, length = frame->edx;
    if (fd != 1 && fd != 2) return ERROR_BAD_FD;
    if (!readable(from, length)) return ERROR_FAULT;
    console_write((const char *)from, length);
    return length;
}

static int sys_open(struct trap_frame *frame) {
    char name[ARCHIVE_NAME];
    int error = copy_string(name, frame->ebx, sizeof(name));
    if (error) return error;
    const struct archive_file *file = archive_find(name);
    if (!file) return ERROR_NO_ENTRY;
    for (u32 fd = 3; fd < OPEN_FILES; fd++) {
        if (current->files[fd].file) continue;
        current->files[fd] = (struct open_file){file, 0};
        return fd;
    }
    return ERROR_BAD_FD;
}

static int sys_close(struct trap_frame *frame) {
    struct open_file *open = file_of(frame->ebx);
    if (!open) return ERROR_BAD_FD;
    open->file = NULL;
    return 0;
}

static int sys_wait(struct trap_frame *frame) {
    int status, pid;
    if (frame->ebx && !writable(frame->ebx, sizeof(int))) return ERROR_FAULT;
    pid = process_wait(&status);
    if (pid > 0 && frame->ebx) *(int *)frame->ebx = status;
    return pid;
}

/* Arguments move through a page of the kernel: the old image is gone before the new stack is built. */
static int sys_exec(struct trap_frame *frame) {
    char name[ARCHIVE_NAME];
    const char *arguments[EXEC_ARGUMENTS + 1];
    u32 count = 0, used = 0, user = frame->ecx;
    int error = copy_string(name, frame->ebx, sizeof(name));
    if (error) return error;
    u32 page = frame_allocate();
    if (!page) return ERROR_NO_MEMORY;
    char *text = frame_address(page);
    for (; !error; count++, user += 4) {
        if (!readable(user, 4)) { error = ERROR_FAULT; break; }
        u32 argument = *(u32 *)user;
        if (!argument) break;
        if (count == EXEC_ARGUMENTS) { error = ERROR_INVALID; break; }
        error = copy_string(text + used, argument, EXEC_TEXT - used);
        arguments[count] = text + used;
        if (!error) used += strlen(text + used) + 1;
    }
    arguments[count] = NULL;
    if (!error) error = exec(name, arguments, frame);
    frame_release(page);
    return error ? error : (int)frame->eax;
}

static int sys_brk(struct trap_frame *frame) {
    u32 end = frame->ebx;
    if (end >= current->image_end && end <= USER_LIMIT) current->heap_end = end;
    return current->heap_end;
}

static int sys_time(struct trap_frame *frame) { (void)frame; return timer_milliseconds(); }
static int sys_yield(struct trap_frame *frame) { (void)frame; yield(); return 0; }

static int sys_print(struct trap_frame *frame) {
    return readable(frame->ebx, frame->ecx) ? printer_print((const char *)frame->ebx, frame->ecx) : ERROR_FAULT;
}

static int sys_sector_read(struct trap_frame *frame) {
    if (!writable(frame->ecx, SECTOR_SIZE)) return ERROR_FAULT;
    return archive_raw_sector(frame->ebx) ? ata_read(archive_raw_sector(frame->ebx), 1, (void *)frame->ecx) : ERROR_INVALID;
}
static int sys_sector_write(struct trap_frame *frame) {
    if (!readable(frame->ecx, SECTOR_SIZE)) return ERROR_FAULT;
    return archive_raw_sector(frame->ebx) ? ata_write(archive_raw_sector(frame->ebx), 1, (const void *)frame->ecx) : ERROR_INVALID;
}

static int sys_list(struct trap_frame *frame) {
    struct list_entry *entry = (struct list_entry *)frame->ecx;
    const struct archive_file *file = archive_at(frame->ebx);
    if (!file) return ERROR_NO_ENTRY;
    if (!writable(frame->ecx, sizeof(*entry))) return ERROR_FAULT;
    copy_name(entry->name, file->name, sizeof(entry->name));
    entry->size = file->size;
    return 0;
}

static int sys_processes(struct trap_frame *frame) {
    struct process_entry *entry = (struct process_entry *)frame->ecx;
    const struct process *process = process_at(frame->ebx);
    if (!process) return ERROR_NO_ENTRY;
    if (!writable(frame->ecx, sizeof(*entry))) return ERROR_FAULT;
    entry->pid = process->state == FREE ? 0 : process->pid;
    entry->parent = process->state == FREE ? 0 : process->parent->pid;
    entry->state = " RWZ"[process->state];
    entry->pages = process->space.pages;
    copy_name(entry->name, process->name, sizeof(entry->name));
    return 0;
}

static int sys_shutdown(struct trap_frame *frame) {
    (void)frame;
    print("ringlet: power off\n");
    power_off();
    for (u32 tick = 0; tick < 2; tick++) cpu_wait(); /* it may take effect a moment later */
    return ERROR_IO;                                 /* the board has no such switch */
}

static int sys_measure(struct trap_frame *frame) { return measure(frame->ebx, frame->ecx); }
static int sys_hold_tick(struct trap_frame *frame) { timer_hold(frame->ebx != 0); return 0; }
static int sys_skip_faults(struct trap_frame *frame) {
    if (frame->ebx > 15) return ERROR_INVALID; /* no instruction is longer */
    current->skip_faults = frame->ebx;
    return 0;
}

static int (*const calls[SYS_COUNT])(struct trap_frame *) = {
    [SYS_GETPID] = sys_getpid, [SYS_EXIT] = sys_exit, [SYS_FORK] = sys_fork, [SYS_READ] = sys_read,
    [SYS_WRITE] = sys_write, [SYS_OPEN] = sys_open, [SYS_CLOSE] = sys_close, [SYS_WAIT] = sys_wait,
    [SYS_EXEC] = sys_exec, [SYS_BRK] = sys_brk, [SYS_TIME] = sys_time, [SYS_YIELD] = sys_yield,
    [SYS_PRINT] = sys_print, [SYS_SECTOR_READ] = sys_sector_read, [SYS_SECTOR_WRITE] = sys_sector_write,
    [SYS_LIST] = sys_list, [SYS_PROCESSES] = sys_processes, [SYS_SHUTDOWN] = sys_shutdown,
    [SYS_MEASURE] = sys_measure, [SYS_HOLD_TICK] = sys_hold_tick, [SYS_SKIP_FAULTS] = sys_skip_faults,
};

u32 syscall(struct trap_frame *frame) { return frame->eax < SYS_COUNT ? calls[frame->eax](frame) : ERROR_NO_SYSCALL; }
