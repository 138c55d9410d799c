#ifndef RINGLET_STRING_H
#define RINGLET_STRING_H

#include "types.h"

/* The compiler may call these by itself, so they have their usual names. */
void *memcpy(void *to, const void *from, u32 length);
void *memset(void *to, int value, u32 length);
int memcmp(const void *a, const void *b, u32 length);
u32 strlen(const char *text);
/* Copies at most size - 1 characters and always terminates. */
void copy_name(char *to, const char *from, u32 size);

#endif
