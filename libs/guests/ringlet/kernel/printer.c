/*
 * A printer at the parallel port (IEEE 1284 compatibility mode): data on the lines, then a pulse on STROBE when the
 * printer is not busy. In the status register BUSY reads inverted: 1 = ready.
 */
#include "printer.h"
#include "ports.h"
#include "syscalls.h"

#define DATA 0x378
#define STATUS 0x379
#define CONTROL 0x37a
#define STATUS_NOT_BUSY 0x80
#define CONTROL_STROBE 0x01
#define CONTROL_INIT_HIGH 0x04 /* nInit high: no reset */
#define CONTROL_SELECT 0x08
#define FORM_FEED '\f'
#define PATIENCE 100000

static int send(u8 byte) {
    u32 polls = PATIENCE;
    while (!(inb(STATUS) & STATUS_NOT_BUSY))
        if (--polls == 0) return ERROR_IO;
    outb(DATA, byte);
    outb(CONTROL, CONTROL_SELECT | CONTROL_INIT_HIGH | CONTROL_STROBE);
    outb(CONTROL, CONTROL_SELECT | CONTROL_INIT_HIGH);
    return 0;
}

int printer_print(const char *text, u32 length) {
    for (u32 i = 0; i < length; i++)
        if (send(text[i])) return ERROR_IO;
    return send(FORM_FEED) ? ERROR_IO : (int)length;
}
