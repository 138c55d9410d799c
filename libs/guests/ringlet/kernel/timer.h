#ifndef RINGLET_TIMER_H
#define RINGLET_TIMER_H

#include "types.h"

#define TICKS_PER_SECOND 100

void timer_init(void);
/* The tick runs while some process can run or waits for a device, and not while a measurement holds it. */
void timer_start(void);
void timer_stop(void);
/* A measurement begins (1) or ends (0): no tick in between. */
void timer_hold(u32 hold);
u32 timer_milliseconds(void);
/* Set by the tick: the running process has used up its slice. */
extern u32 slice_used;

/* The driver's part: timer-8254.c or xen-timer.c. */
void tick_start(void);
void tick_stop(void);
void tick_init(void);
u32 clock_milliseconds(void);
/* The driver calls this for each tick. */
void timer_tick(void);

#endif
