/* REP string instructions: short, and fast on every processor and processor model. */
#include "string.h"

void *memcpy(void *to, const void *from, u32 length) {
    void *destination = to;
    u32 words = length / 4;
    asm volatile("cld\n\trep movsl\n\tmov %3, %2\n\trep movsb"
                 : "+D"(to), "+S"(from), "+c"(words) : "r"(length % 4) : "memory");
    return destination;
}

void *memset(void *to, int value, u32 length) {
    void *destination = to;
    u32 words = length / 4;
    asm volatile("cld\n\trep stosl\n\tmov %3, %1\n\trep stosb"
                 : "+D"(to), "+c"(words) : "a"((value & 0xff) * 0x01010101u), "r"(length % 4) : "memory");
    return destination;
}

int memcmp(const void *a, const void *b, u32 length) {
    const u8 *x = a, *y = b;
    for (; length; length--, x++, y++)
        if (*x != *y) return *x - *y;
    return 0;
}

u32 strlen(const char *text) {
    u32 length = 0;
    while (text[length]) length++;
    return length;
}

void copy_name(char *to, const char *from, u32 size) {
    while (--size && *from) *to++ = *from++;
    *to = 0;
}
