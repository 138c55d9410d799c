/* Port I/O. The same instructions in both builds: a paravirtualized kernel may use the ports granted to it. */
#ifndef RINGLET_PORTS_H
#define RINGLET_PORTS_H

#include "types.h"

static inline void outb(u16 port, u8 value) { asm volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static inline void outw(u16 port, u16 value) { asm volatile("outw %0, %1" : : "a"(value), "Nd"(port)); }
static inline u8 inb(u16 port) {
    u8 value;
    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
/* One string instruction instead of a loop: a hypervisor sees one exit for all of it. */
static inline void outsb(u16 port, const void *from, u32 count) {
    asm volatile("cld\n\trep outsb" : "+S"(from), "+c"(count) : "d"(port) : "memory");
}
static inline void insw(u16 port, void *to, u32 count) {
    asm volatile("cld\n\trep insw" : "+D"(to), "+c"(count) : "d"(port) : "memory");
}
static inline void outsw(u16 port, const void *from, u32 count) {
    asm volatile("cld\n\trep outsw" : "+S"(from), "+c"(count) : "d"(port) : "memory");
}

#endif
