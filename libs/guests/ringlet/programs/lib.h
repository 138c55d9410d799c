/* What the programs share: system calls and a few lines of text handling. */
#ifndef RINGLET_LIB_H
#define RINGLET_LIB_H

#include "../kernel/syscalls.h"

typedef unsigned int u32;

static inline int system_call(u32 number, u32 a, u32 b, u32 c) {
    int result;
    asm volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
    return result;
}

static inline int getpid(void) { return system_call(SYS_GETPID, 0, 0, 0); }
static inline int fork(void) { return system_call(SYS_FORK, 0, 0, 0); }
static inline int wait(int *status) { return system_call(SYS_WAIT, (u32)status, 0, 0); }
static inline int exec(const char *name, char **arguments) { return system_call(SYS_EXEC, (u32)name, (u32)arguments, 0); }
static inline int read(int fd, void *to, u32 length) { return system_call(SYS_READ, fd, (u32)to, length); }
static inline int write(int fd, const void *from, u32 length) { return system_call(SYS_WRITE, fd, (u32)from, length); }
static inline int open(const char *name) { return system_call(SYS_OPEN, (u32)name, 0, 0); }
static inline int close(int fd) { return system_call(SYS_CLOSE, fd, 0, 0); }
static inline int yield(void) { return system_call(SYS_YIELD, 0, 0, 0); }
static inline int milliseconds(void) { return system_call(SYS_TIME, 0, 0, 0); }
static inline void exit(int status) {
    system_call(SYS_EXIT, status, 0, 0);
    __builtin_unreachable();
}

u32 strlen(const char *text);
int equal(const char *a, const char *b);
/* A decimal number, or -1. */
int parse_number(const char *text);
/* %s %d; one write. */
void print(const char *format, ...);

#endif
