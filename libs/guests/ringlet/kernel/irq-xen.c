/* Event channels: what interrupts are under Xen (xen/include/public/event_channel.h). A set bit in shared_info is an event. */
#if PARAVIRT
#include "console.h"
#include "irq.h"
#include "traps.h"
#include "xen.h"

#define PORTS 64 /* we bind few; Xen has 1,024 for a 32-bit guest */

static irq_handler handlers[16];
static u8 line_of_port[PORTS];
static u32 port_of_line[16]; /* 0: not bound */
static u32 needs_eoi;        /* bit per line */

void irq_init(void) {
    for (u32 i = 0; i < COUNT(xen_shared_info.event_mask); i++) xen_shared_info.event_mask[i] = 0xffffffff;
    struct { u32 iopl; } set_iopl = {1}; /* ring 1 may use the ports granted to this domain */
    xen_hypercall2(XEN_PHYSDEV_OP, XEN_PHYSDEVOP_SET_IOPL, (u32)&set_iopl);
}

static int bind_virq(u32 virq) {
    struct { u32 virq, vcpu, port; } bind = {virq, 0, 0};
    int error = xen_hypercall2(XEN_EVENT_CHANNEL_OP, XEN_EVTCHNOP_BIND_VIRQ, (u32)&bind);
    return error ? error : (int)bind.port;
}

/* A device's interrupt line: known to Xen as a "physical IRQ" of the same number. */
static int bind_pirq(u32 line) {
    struct { u16 domain; int type, index, pirq, bus, device, entry; u64 table; } map =
        {XEN_DOMID_SELF, XEN_MAP_PIRQ_TYPE_GSI, line, line, 0, 0, 0, 0};
    struct { u32 pirq, flags, port; } bind = {line, 0, 0};
    struct { u32 irq, flags; } status = {line, 0};
    int error = xen_hypercall2(XEN_PHYSDEV_OP, XEN_PHYSDEVOP_MAP_PIRQ, (u32)&map);
    if (error) return error;
    bind.pirq = status.irq = map.pirq;
    error = xen_hypercall2(XEN_EVENT_CHANNEL_OP, XEN_EVTCHNOP_BIND_PIRQ, (u32)&bind);
    if (error) return error;
    if (xen_hypercall2(XEN_PHYSDEV_OP, XEN_PHYSDEVOP_IRQ_STATUS_QUERY, (u32)&status) == 0 && status.flags & XEN_IRQSTAT_NEEDS_EOI)
        needs_eoi |= 1 << line;
    return bind.port;
}

void irq_install(u32 line, irq_handler handler) {
    int port;
    if (line == IRQ_TIMER) port = bind_virq(XEN_VIRQ_TIMER);
    else if (line != IRQ_COM1) port = bind_pirq(line);
    else if (xen_start_info->flags & XEN_SIF_INITDOMAIN) port = bind_virq(XEN_VIRQ_CONSOLE);
    else port = xen_start_info->console_event;
    if (port <= 0 || port >= PORTS) panic("cannot bind interrupt %u (error %d)", line, port);
    handlers[line] = handler;
    line_of_port[port] = line;
    port_of_line[line] = port;
    irq_unmask(line);
}

static void set_bit(volatile u32 *words, u32 bit) { asm volatile("btsl %1, %0" : "+m"(*words) : "r"(bit) : "memory", "cc"); }
static void clear_bit(volatile u32 *words, u32 bit) { asm volatile("btrl %1, %0" : "+m"(*words) : "r"(bit) : "memory", "cc"); }

void irq_mask(u32 line) { set_bit(xen_shared_info.event_mask, port_of_line[line]); }

/* Xen looks at the mask only when an event comes; one that has come already must be raised again. */
void irq_unmask(u32 line) {
    struct { u32 port; } unmask = {port_of_line[line]};
    clear_bit(xen_shared_info.event_mask, unmask.port);
    if (xen_shared_info.event_pending[unmask.port / 32] & 1 << unmask.port % 32)
        xen_hypercall2(XEN_EVENT_CHANNEL_OP, XEN_EVTCHNOP_UNMASK, (u32)&unmask);
}

static void handle(u32 port) {
    u32 line = port < PORTS ? line_of_port[port] : 0;
    clear_bit(xen_shared_info.event_pending, port);
    if (port >= PORTS || port_of_line[line] != port) return;
    if (needs_eoi & 1 << line) {
        struct { u32 irq; } eoi = {line};
        xen_hypercall2(XEN_PHYSDEV_OP, XEN_PHYSDEVOP_EOI, (u32)&eoi);
    }
    handlers[line]();
}

/* The upcall: two levels of bits, until nothing is left. Events are masked here, as interrupts are in an interrupt gate. */
void irq_dispatch(u32 vector) {
    volatile struct xen_vcpu_info *vcpu = &xen_shared_info.vcpu[0];
    if (vector != VECTOR_EVENT) return;
    while (vcpu->upcall_pending) {
        vcpu->upcall_pending = 0;
        u32 selector = 0;
        asm volatile("xchg %0, %1" : "+r"(selector), "+m"(vcpu->pending_selector) : : "memory");
        for (; selector; selector &= selector - 1) {
            u32 word = __builtin_ctz(selector), ready;
            while ((ready = xen_shared_info.event_pending[word] & ~xen_shared_info.event_mask[word]) != 0)
                handle(word * 32 + __builtin_ctz(ready));
        }
    }
}
#endif
