/*
 * System calls: `int $0x80`, EAX = number, EBX ECX EDX = arguments, result in EAX (negative: an error below). All
 * other registers are kept. Shared by the kernel and the programs.
 */
#ifndef RINGLET_SYSCALLS_H
#define RINGLET_SYSCALLS_H

#define SYS_GETPID 0       /* () → pid: the cheapest system call */
#define SYS_EXIT 1         /* (status) does not return */
#define SYS_FORK 2         /* () → child's pid, 0 in the child */
#define SYS_READ 3         /* (fd, buffer, length) → bytes; the console gives a line */
#define SYS_WRITE 4        /* (fd, buffer, length) → bytes */
#define SYS_OPEN 5         /* (name) → fd, read only */
#define SYS_CLOSE 6        /* (fd) */
#define SYS_WAIT 7         /* (int *status or 0) → pid of a child that has exited */
#define SYS_EXEC 8         /* (name, argv) returns only on error */
#define SYS_BRK 9          /* (address or 0) → end of the heap */
#define SYS_TIME 10        /* () → milliseconds since boot */
#define SYS_YIELD 11       /* () let others run */
#define SYS_PRINT 12       /* (buffer, length) → bytes sent to the printer, with a form feed behind them */
#define SYS_SECTOR_READ 13 /* (number, buffer) one raw sector behind the archive */
#define SYS_SECTOR_WRITE 14
#define SYS_LIST 15        /* (index, struct list_entry *) the archive's directory */
#define SYS_PROCESSES 16   /* (index, struct process_entry *) */
#define SYS_SHUTDOWN 17    /* () power off */
#define SYS_MEASURE 18     /* (operation, count) the operations that run in the kernel */
#define SYS_HOLD_TICK 19   /* (1 | 0) no timer tick until released, for measurements */
#define SYS_SKIP_FAULTS 20 /* (bytes | 0) a fault of this process skips so many bytes instead of ending it */
#define SYS_COUNT 21

#define ERROR_NO_ENTRY (-2)
#define ERROR_IO (-5)
#define ERROR_NOT_EXECUTABLE (-8)
#define ERROR_BAD_FD (-9)
#define ERROR_NO_CHILD (-10)
#define ERROR_NO_MEMORY (-12)
#define ERROR_FAULT (-14)
#define ERROR_INVALID (-22)
#define ERROR_NO_SYSCALL (-38)

struct list_entry {
    char name[100];
    unsigned int size;
};

struct process_entry {
    int pid, parent;
    char state; /* R runnable, W waiting, Z exited and not yet waited for */
    char name[15];
    unsigned int pages;
};

#endif
