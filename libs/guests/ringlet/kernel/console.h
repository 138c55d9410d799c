#ifndef RINGLET_CONSOLE_H
#define RINGLET_CONSOLE_H

#include "types.h"

/* The driver below the console: uart.c or xen-console.c. */
void console_init(void);
void console_write(const char *text, u32 length);

/* Called by the driver, with interrupts off, for what was typed. */
void console_input(const char *text, u32 length);

/* One line (with its newline), or what fits; sleeps until there is one. */
u32 console_read(char *to, u32 length);

void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
void panic(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
