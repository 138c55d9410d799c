/* The 8254 interval timer, channel 0 → interrupt line 0 (Intel 8254 datasheet), and the time-stamp counter as clock. */
#if !PARAVIRT
#include "irq.h"
#include "ports.h"
#include "timer.h"

#define CHANNEL_0 0x40
#define CONTROL 0x43
#define RATE_GENERATOR 0x34 /* channel 0, low byte then high byte, mode 2, binary */
#define INPUT_HZ 1193182
#define DIVISOR ((INPUT_HZ + TICKS_PER_SECOND / 2) / TICKS_PER_SECOND)

/*
 * The clock must go on while the tick is stopped, so it is the time-stamp counter; its rate is measured between the
 * first two ticks that follow each other, and until then taken as 1 GHz.
 */
static u64 boot_tsc, last_tsc;
static u32 cycles_per_tick = 1000000000 / TICKS_PER_SECOND, measured;

static u64 read_tsc(void) {
    u64 tsc;
    asm volatile("rdtsc" : "=A"(tsc));
    return tsc;
}

static void tick(void) {
    if (!measured) {
        u64 now = read_tsc();
        if (last_tsc) cycles_per_tick = (u32)(now - last_tsc), measured = 1;
        last_tsc = now;
    }
    timer_tick();
}

void tick_init(void) {
    boot_tsc = read_tsc();
    irq_install(IRQ_TIMER, tick);
}

void tick_start(void) {
    outb(CONTROL, RATE_GENERATOR);
    outb(CHANNEL_0, DIVISOR & 0xff);
    outb(CHANNEL_0, DIVISOR >> 8);
    irq_unmask(IRQ_TIMER);
}

/* A control word without a count: the output stays high and the counter waits (datasheet, "mode 2"). */
void tick_stop(void) {
    irq_mask(IRQ_TIMER);
    outb(CONTROL, RATE_GENERATOR);
    if (!measured) last_tsc = 0;
}

/* Milliseconds = cycles × 10 ÷ cycles of a 10 ms tick. One DIV: good for 49 days. */
u32 clock_milliseconds(void) {
    u32 milliseconds, rest;
    u64 scaled = (read_tsc() - boot_tsc) * (1000 / TICKS_PER_SECOND);
    if ((u32)(scaled >> 32) >= cycles_per_tick) return 0xffffffff;
    asm("div %4" : "=a"(milliseconds), "=d"(rest) : "a"((u32)scaled), "d"((u32)(scaled >> 32)), "r"(cycles_per_tick) : "cc");
    return milliseconds;
}
#endif
