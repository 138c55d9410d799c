/* The serial console: a 16550A at COM1 (National PC16550D datasheet). Input by interrupt, output by filling the FIFO. */
#if !PARAVIRT
#include "console.h"
#include "irq.h"
#include "ports.h"

#define COM1 0x3f8
#define RBR (COM1 + 0) /* receiver buffer, read */
#define THR (COM1 + 0) /* transmitter holding, write */
#define DLL (COM1 + 0) /* divisor latch, while LCR.DLAB = 1 */
#define IER (COM1 + 1)
#define DLM (COM1 + 1)
#define FCR (COM1 + 2)
#define LCR (COM1 + 3)
#define MCR (COM1 + 4)
#define LSR (COM1 + 5)
#define IER_RECEIVED_DATA 0x01
#define FCR_ENABLE_AND_CLEAR 0x07
#define LCR_8N1 0x03
#define LCR_DLAB 0x80
#define MCR_DTR_RTS_OUT2 0x0b /* OUT2 gates the interrupt line on a PC */
#define LSR_DATA_READY 0x01
#define LSR_THR_EMPTY 0x20
#define FIFO_BYTES 16
#define PATIENCE 100000 /* polls of the line status before we give the characters up for lost */

/* The line rises once for all bytes that wait, so take them all: at the end the FIFO is empty and the line low. */
static void received(void) {
    char text[FIFO_BYTES];
    u32 length = 0;
    while (inb(LSR) & LSR_DATA_READY) {
        text[length++] = inb(RBR);
        if (length == sizeof(text)) console_input(text, length), length = 0;
    }
    if (length) console_input(text, length);
}

void console_init(void) {
    outb(IER, 0);
    outb(LCR, LCR_DLAB);
    outb(DLL, 1); /* 115,200 baud */
    outb(DLM, 0);
    outb(LCR, LCR_8N1);
    outb(FCR, FCR_ENABLE_AND_CLEAR);
    outb(MCR, MCR_DTR_RTS_OUT2);
    irq_install(IRQ_COM1, received);
    outb(IER, IER_RECEIVED_DATA);
}

/* When the holding register is empty, so is the FIFO: 16 bytes go out with one look at the status and one REP OUTSB. */
static void transmit(const char *text, u32 length) {
    u32 polls = PATIENCE;
    while (!(inb(LSR) & LSR_THR_EMPTY))
        if (--polls == 0) return;
    outsb(THR, text, length);
}

void console_write(const char *text, u32 length) {
    char fifo[FIFO_BYTES];
    u32 used = 0, flags = irq_save(); /* echo in the interrupt handler writes here too */
    for (u32 i = 0; i < length; i++) {
        if (text[i] == '\n') fifo[used++] = '\r';
        if (used == FIFO_BYTES) transmit(fifo, used), used = 0;
        fifo[used++] = text[i];
        if (used == FIFO_BYTES) transmit(fifo, used), used = 0;
    }
    if (used) transmit(fifo, used);
    irq_restore(flags);
}
#endif
