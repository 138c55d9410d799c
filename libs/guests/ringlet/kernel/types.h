/* Integer types and the few macros that every file uses. The kernel links against no library. */
#ifndef RINGLET_TYPES_H
#define RINGLET_TYPES_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define NULL ((void *)0)
#define PAGE_SIZE 4096u
#define PAGE_MASK (~(PAGE_SIZE - 1))
#define SECTOR_SIZE 512u

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define barrier() asm volatile("" ::: "memory")

#endif
