/*
 * The console of a Xen domain: two rings in a shared page and an event channel (xen/include/public/io/console.h). Before
 * the ring is known, and in the first domain, which has none, Xen's own console by hypercall.
 */
#if PARAVIRT
#include "console.h"
#include "irq.h"
#include "memory.h"
#include "xen.h"

static volatile struct xen_console_ring *ring;

static void notify(void) {
    struct { u32 port; } send = {xen_start_info->console_event};
    xen_hypercall2(XEN_EVENT_CHANNEL_OP, XEN_EVTCHNOP_SEND, (u32)&send);
}

static int console_io(u32 command, u32 length, const char *text) {
    return xen_hypercall5(XEN_CONSOLE_IO, command, length, (u32)text, 0, 0);
}

static void received(void) {
    char text[32];
    u32 length = 0, taken = 0;
    if (!ring) {
        int got;
        while ((got = console_io(XEN_CONSOLEIO_READ, sizeof(text), text)) > 0) console_input(text, got);
        return;
    }
    while (ring->in_consumed != ring->in_produced) {
        text[length++] = ring->in[ring->in_consumed % sizeof(ring->in)];
        barrier(); /* the byte is taken before its place is given back */
        ring->in_consumed++;
        taken = 1;
        if (length == sizeof(text)) console_input(text, length), length = 0;
    }
    if (length) console_input(text, length);
    if (taken) notify(); /* there is room again */
}

void console_init(void) {
    if (!(xen_start_info->flags & XEN_SIF_INITDOMAIN)) ring = frame_address(machine_to_frame(xen_start_info->console_mfn));
    irq_install(IRQ_COM1, received);
}

static void put(char c) {
    while (ring->out_produced - ring->out_consumed == sizeof(ring->out)) {
        notify();
        xen_hypercall2(XEN_SCHED_OP, XEN_SCHEDOP_YIELD, 0); /* let whoever reads it run */
    }
    ring->out[ring->out_produced % sizeof(ring->out)] = c;
    barrier(); /* the byte is there before it counts */
    ring->out_produced++;
}

void console_write(const char *text, u32 length) {
    if (!ring) {
        console_io(XEN_CONSOLEIO_WRITE, length, text);
        return;
    }
    u32 flags = irq_save();
    for (u32 i = 0; i < length; i++) {
        if (text[i] == '\n') put('\r');
        put(text[i]);
    }
    notify();
    irq_restore(flags);
}
#endif
