#include "lib.h"

/* The compiler may call this by itself. */
void *memcpy(void *to, const void *from, u32 length) {
    void *destination = to;
    asm volatile("cld\n\trep movsb" : "+D"(to), "+S"(from), "+c"(length) : : "memory");
    return destination;
}

u32 strlen(const char *text) {
    u32 length = 0;
    while (text[length]) length++;
    return length;
}

int equal(const char *a, const char *b) {
    while (*a && *a == *b) a++, b++;
    return *a == *b;
}

int parse_number(const char *text) {
    int value = 0;
    if (!*text) return -1;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || value > 99999999) return -1;
        value = value * 10 + (*text - '0');
    }
    return value;
}

#define LINE 256

void print(const char *format, ...) {
    char line[LINE], digits[12];
    u32 length = 0;
    __builtin_va_list arguments;
    __builtin_va_start(arguments, format);
    for (; *format && length < LINE; format++) {
        if (*format != '%') { line[length++] = *format; continue; }
        const char *text;
        if (*++format == 's') {
            text = __builtin_va_arg(arguments, const char *);
        } else {
            int value = __builtin_va_arg(arguments, int);
            u32 rest = value < 0 ? -(u32)value : (u32)value;
            char *at = digits + sizeof(digits) - 1;
            *at = 0;
            do *--at = '0' + rest % 10; while ((rest /= 10) != 0);
            if (value < 0) *--at = '-';
            text = at;
        }
        while (*text && length < LINE) line[length++] = *text++;
    }
    __builtin_va_end(arguments);
    write(1, line, length);
}
