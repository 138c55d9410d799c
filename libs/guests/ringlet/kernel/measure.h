#ifndef RINGLET_MEASURE_H
#define RINGLET_MEASURE_H
#include "types.h"
/* Run a kernel-mode operation `count` times between marks, with the tick held; ERROR_INVALID if it is not one. */
int measure(u32 operation, u32 count);
#endif
