#ifndef RINGLET_SYSCALL_H
#define RINGLET_SYSCALL_H
#include "traps.h"
u32 syscall(struct trap_frame *frame);
#endif
