#ifndef RINGLET_IRQ_H
#define RINGLET_IRQ_H

#include "types.h"

/* The PC's interrupt lines. The paravirtualized build binds event channels to the same numbers. */
#define IRQ_TIMER 0
#define IRQ_COM1 4
#define IRQ_LPT1 7
#define IRQ_ATA 14

typedef void (*irq_handler)(void);

void irq_init(void);
/* Route a line to its handler and open it. */
void irq_install(u32 line, irq_handler handler);
void irq_mask(u32 line);
void irq_unmask(u32 line);
/* A vector of the interrupt controller, or an event upcall. Interrupts are off. */
void irq_dispatch(u32 vector);

#endif
