/* When the tick runs. A halted machine whose timer is stopped costs nothing at all. */
#include "timer.h"

u32 slice_used;
static u32 running, held;

void timer_init(void) { tick_init(); }

void timer_start(void) {
    if (running || held) return;
    running = 1;
    tick_start();
}

void timer_stop(void) {
    if (!running) return;
    running = 0;
    tick_stop();
}

void timer_hold(u32 hold) {
    u32 flags = irq_save();
    if (hold) timer_stop();
    held = hold;
    timer_start();
    irq_restore(flags);
}

void timer_tick(void) { slice_used = 1; }

u32 timer_milliseconds(void) { return clock_milliseconds(); }
