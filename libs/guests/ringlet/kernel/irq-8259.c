/* The 8259A pair (Intel 8259A datasheet; PC: master at 0x20, slave at 0xA0 on line 2). */
#if !PARAVIRT
#include "irq.h"
#include "ports.h"
#include "traps.h"

#define MASTER 0x20
#define SLAVE 0xa0
#define ICW1_INIT 0x11   /* edge triggered, cascade, ICW4 follows */
#define ICW4_8086 0x01
#define OCW2_EOI 0x20    /* non-specific end of interrupt */
#define OCW3_READ_ISR 0x0b
#define CASCADE_LINE 2

static irq_handler handlers[16];
static u16 mask = 0xffff & ~(1 << CASCADE_LINE);

static void write_mask(u32 line) {
    if (line < 8) outb(MASTER + 1, mask);
    else outb(SLAVE + 1, mask >> 8);
}

void irq_init(void) {
    outb(MASTER, ICW1_INIT);
    outb(SLAVE, ICW1_INIT);
    outb(MASTER + 1, VECTOR_IRQ);
    outb(SLAVE + 1, VECTOR_IRQ + 8);
    outb(MASTER + 1, 1 << CASCADE_LINE);
    outb(SLAVE + 1, CASCADE_LINE);
    outb(MASTER + 1, ICW4_8086);
    outb(SLAVE + 1, ICW4_8086);
    write_mask(0);
    write_mask(8);
}

void irq_install(u32 line, irq_handler handler) {
    handlers[line] = handler;
    irq_unmask(line);
}
void irq_mask(u32 line) {
    mask |= 1 << line;
    write_mask(line);
}
void irq_unmask(u32 line) {
    mask &= ~(1 << line);
    write_mask(line);
}

void irq_dispatch(u32 vector) {
    u32 line = vector - VECTOR_IRQ;
    /* A line that fell before it was acknowledged reads as number 7 of its chip without a bit in service: spurious. */
    if (line == 7 || line == 15) {
        u16 chip = line == 7 ? MASTER : SLAVE;
        outb(chip, OCW3_READ_ISR);
        if (!(inb(chip) & 0x80)) {
            if (line == 15) outb(MASTER, OCW2_EOI);
            return;
        }
    }
    /* First the end of interrupt, then the handler: interrupts stay off until IRET, so handlers do not nest. */
    if (line >= 8) outb(SLAVE, OCW2_EOI);
    outb(MASTER, OCW2_EOI);
    if (handlers[line]) handlers[line]();
}
#endif
