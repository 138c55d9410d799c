#ifndef RINGLET_USER_MEMORY_H
#define RINGLET_USER_MEMORY_H

#include "types.h"

/* The current process has touched a page that it may not use yet: stack and heap get their pages, and shared pages are
 * copied, when they are first needed. 0: the process has no right to do this (or there is no memory left). */
int page_in(u32 linear, int write);

/* May the current process read (write) this memory? Afterwards the kernel can, without a fault. */
int readable(u32 address, u32 length);
int writable(u32 address, u32 length);
/* Copy a program's string with its terminator: 0, ERROR_FAULT, or ERROR_INVALID when it is longer than `size`. */
int copy_string(char *to, u32 from, u32 size);

#endif
