/*
 * GDT, IDT and TSS (SDM Vol. 3A 3.4.5, 6.11, 7.2). The GDT's contents are common; how tables are handed to the
 * processor, or to Xen, differs.
 */
#include "traps.h"
#if PARAVIRT
#include "xen.h"
#endif

/*
 * Flat: base 0, limit 4 GiB. (Where Xen shares the linear address space with its guest, as on 32-bit processors, it cuts the
 * limits itself.)
 */
#define DESCRIPTOR(type, dpl) ((u64)0xffff | (u64)((type) | 0x90 | (dpl) << 5) << 40 | (u64)0xcf << 48)
#define CODE 0xb /* execute, read, accessed */
#define DATA 0x3 /* read, write, accessed */

/* A page of its own: a paravirtualized GDT is a frame that the guest may no longer write. */
static u64 gdt[PAGE_SIZE / 8] __attribute__((aligned(4096))) = {
    [KERNEL_CS >> 3] = DESCRIPTOR(CODE, KERNEL_RING),
    [KERNEL_DS >> 3] = DESCRIPTOR(DATA, KERNEL_RING),
    [USER_CS >> 3] = DESCRIPTOR(CODE, 3),
    [USER_DS >> 3] = DESCRIPTOR(DATA, 3),
};
#define GDT_ENTRIES 6

/* INT3 and INTO are for programs to use; any other INT n of an exception's vector is refused. */
static u32 exception_dpl(u32 vector) { return vector == VECTOR_BREAKPOINT || vector == VECTOR_OVERFLOW ? 3 : KERNEL_RING; }

#if PARAVIRT

static struct xen_trap_info trap_table[34];

void descriptors_init(void) {
    xen_kernel_cs = xen_kernel_ring == 1 ? KERNEL_CS : USER_CS;
    xen_kernel_ds = xen_kernel_ring == 1 ? KERNEL_DS : USER_DS;
    /* What is not there, no program can load. */
    if (xen_kernel_ring != 1) gdt[KERNEL_CS >> 3] = gdt[KERNEL_DS >> 3] = 0;
    xen_set_gdt(gdt, GDT_ENTRIES);
    asm volatile("mov %0, %%ds\n\tmov %0, %%es\n\tmov %1, %%ss\n\t"
                 "push %2\n\tpush $1f\n\tlret\n1:"
                 : : "r"(USER_DS), "r"(xen_kernel_ds), "r"(xen_kernel_cs) : "memory");

    struct xen_trap_info *trap = trap_table;
    for (u32 vector = 0; vector < 32; vector++) {
        if (vector == 2 || vector == 15) continue; /* NMI is not for guests; 15 is reserved */
        *trap++ = (struct xen_trap_info){vector, exception_dpl(vector), xen_kernel_cs, trap_entries[vector]};
    }
    /* DPL 3, events not masked: in ring 1 Xen puts this gate into the IDT itself, and a system call does not pass through Xen. */
    *trap++ = (struct xen_trap_info){VECTOR_SYSCALL, 3, xen_kernel_cs, (u32)syscall_entry};
    xen_set_trap_table(trap_table);
    xen_set_callbacks(xen_kernel_cs, (u32)event_entry, (u32)failsafe_entry);
}

#else

struct tss { /* only the ring 0 stack is used: tasks are switched in software */
    u32 link, esp0, ss0, unused[22];
    u16 trap, io_map_base;
};
static struct tss tss = {.ss0 = KERNEL_DS, .io_map_base = sizeof(struct tss)};

struct gate {
    u16 offset_low, selector;
    u8 zero, attributes;
    u16 offset_high;
};
static struct gate idt[256];

#define INTERRUPT_GATE 0x8e /* clears IF */
#define TRAP_GATE 0x8f      /* leaves IF alone */

static void set_gate(u32 vector, u32 address, u32 attributes) {
    idt[vector] = (struct gate){address & 0xffff, KERNEL_CS, 0, attributes, address >> 16};
}

void set_kernel_stack(u32 esp) { tss.esp0 = esp; }

void descriptors_init(void) {
    u32 base = (u32)&tss;
    gdt[TSS_SELECTOR >> 3] = (sizeof(tss) - 1) | (u64)(base & 0xffffff) << 16 | (u64)0x89 << 40 | (u64)(base >> 24) << 56;

    struct { u16 limit; u32 base; } __attribute__((packed)) gdtr = {GDT_ENTRIES * 8 - 1, (u32)gdt}, idtr = {sizeof(idt) - 1, (u32)idt};
    asm volatile("lgdt %0\n\t"
                 "mov %1, %%ds\n\tmov %1, %%es\n\tmov %2, %%ss\n\t"
                 "mov %3, %%fs\n\tmov %3, %%gs\n\t"
                 "ljmp %4, $1f\n1:\n\t"
                 "ltr %w5"
                 : : "m"(gdtr), "r"(USER_DS), "r"(KERNEL_DS), "r"(0), "i"(KERNEL_CS), "r"(TSS_SELECTOR) : "memory");

    /* The kernel itself is never preempted, so exceptions may leave interrupts on. Interrupts must not nest. */
    for (u32 vector = 0; vector < 32; vector++) set_gate(vector, trap_entries[vector], TRAP_GATE | exception_dpl(vector) << 5);
    for (u32 vector = VECTOR_IRQ; vector < 48; vector++) set_gate(vector, trap_entries[vector], INTERRUPT_GATE);
    set_gate(VECTOR_SYSCALL, (u32)syscall_entry, TRAP_GATE | 3 << 5);
    asm volatile("lidt %0" : : "m"(idtr));
}

#endif
