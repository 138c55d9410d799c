/* Line editing and formatted output, above the console driver. */
#include "console.h"
#include "process.h"
#include "string.h"
#include "timer.h"

/* What was typed, as a ring. Only whole lines are given out: `line_end` follows the last newline. */
#define BUFFER 256
static char buffer[BUFFER];
static u32 read_at, line_end, write_at; /* count up, wrapped on use */

void console_input(const char *text, u32 length) {
    char echo[64];
    u32 echoed = 0;
    for (u32 i = 0; i < length; i++) {
        char c = text[i] == '\r' ? '\n' : text[i];
        if (c == '\b' || c == 0x7f) {
            if (write_at == line_end) continue;
            write_at--;
            memcpy(echo + echoed, "\b \b", 3), echoed += 3;
        } else if (c == '\n' || (c >= ' ' && write_at - read_at < BUFFER - 1)) {
            if (write_at - read_at == BUFFER) continue;
            buffer[write_at++ % BUFFER] = c;
            echo[echoed++] = c;
            if (c == '\n') line_end = write_at;
        }
        if (echoed > sizeof(echo) - 4) console_write(echo, echoed), echoed = 0;
    }
    if (echoed) console_write(echo, echoed);
    if (read_at != line_end) wake(&line_end);
}

u32 console_read(char *to, u32 length) {
    u32 count = 0, flags = irq_save();
    while (read_at == line_end) sleep_on(&line_end, WAIT_FOR_INPUT);
    while (count < length && read_at != line_end) {
        char c = buffer[read_at++ % BUFFER];
        to[count++] = c;
        if (c == '\n') break;
    }
    irq_restore(flags);
    return count;
}

/* Output is gathered here, so that the driver sees lines, not characters. */
struct text { char *at, *end; };

static void put(struct text *text, char c) {
    if (text->at < text->end) *text->at++ = c;
}
static void put_number(struct text *text, u32 value, u32 base) {
    char digits[10];
    u32 n = 0;
    do digits[n++] = "0123456789abcdef"[value % base]; while ((value /= base) != 0);
    while (n) put(text, digits[--n]);
}

/* %s %c %d %u %x */
static u32 format_text(char *to, u32 size, const char *format, __builtin_va_list arguments) {
    struct text text = {to, to + size};
    for (; *format; format++) {
        if (*format != '%') { put(&text, *format); continue; }
        switch (*++format) {
        case 's': for (const char *s = __builtin_va_arg(arguments, const char *); *s; s++) put(&text, *s); break;
        case 'c': put(&text, __builtin_va_arg(arguments, int)); break;
        case 'x': put_number(&text, __builtin_va_arg(arguments, u32), 16); break;
        case 'u': put_number(&text, __builtin_va_arg(arguments, u32), 10); break;
        case 'd': {
            int value = __builtin_va_arg(arguments, int);
            if (value < 0) put(&text, '-');
            put_number(&text, value < 0 ? -(u32)value : (u32)value, 10);
            break;
        }
        default: put(&text, *format);
        }
    }
    return text.at - to;
}

void print(const char *format, ...) {
    char line[160];
    __builtin_va_list arguments;
    __builtin_va_start(arguments, format);
    console_write(line, format_text(line, sizeof(line), format, arguments));
    __builtin_va_end(arguments);
}

void panic(const char *format, ...) {
    char line[160];
    __builtin_va_list arguments;
    irq_disable();
    __builtin_va_start(arguments, format);
    console_write("\nringlet: panic: ", 17);
    console_write(line, format_text(line, sizeof(line), format, arguments));
    console_write("\n", 1);
    __builtin_va_end(arguments);
    /* No timer and no unmasked interrupt: the machine is parked, not busy. */
    timer_stop();
    for (;;) cpu_halt_for_good();
}
