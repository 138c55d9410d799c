/* The tick from Xen's one-shot timer, armed again at each tick; the clock from shared_info. */
#if PARAVIRT
#include "irq.h"
#include "timer.h"
#include "xen.h"

#define NANOSECONDS_PER_TICK (1000000000u / TICKS_PER_SECOND)
#define NANOSECONDS_PER_MILLISECOND 1000000u

static u64 next_tick;

/* Absolute time of the event; 0 disarms. */
static void set_timer(u64 at) { xen_hypercall2(XEN_SET_TIMER_OP, (u32)at, (u32)(at >> 32)); }

static void tick(void) {
    if (!next_tick) return; /* stopped while the event was on its way */
    next_tick += NANOSECONDS_PER_TICK;
    u64 now = xen_nanoseconds();
    if (next_tick <= now) next_tick = now + NANOSECONDS_PER_TICK;
    set_timer(next_tick);
    timer_tick();
}

void tick_init(void) { irq_install(IRQ_TIMER, tick); }

void tick_start(void) {
    next_tick = xen_nanoseconds() + NANOSECONDS_PER_TICK;
    set_timer(next_tick);
}

void tick_stop(void) {
    next_tick = 0;
    set_timer(0);
}

/* One DIV: good for 49 days. */
u32 clock_milliseconds(void) {
    u64 now = xen_nanoseconds();
    u32 milliseconds, rest;
    if ((u32)(now >> 32) >= NANOSECONDS_PER_MILLISECOND) return 0xffffffff;
    asm("div %4" : "=a"(milliseconds), "=d"(rest) : "a"((u32)now), "d"((u32)(now >> 32)), "r"(NANOSECONDS_PER_MILLISECOND) : "cc");
    return milliseconds;
}
#endif
