/*
 * Privileged operations on the bare machine: the kernel runs in ring 0 and executes them itself. `privops-xen.h` is the
 * same list for a kernel in ring 1 that asks Xen. One of the two is the only difference between the two builds
 * (build.sh passes it with -include); everything else is the same source.
 */
#ifndef RINGLET_PRIVOPS_H
#define RINGLET_PRIVOPS_H

#define PARAVIRT 0
#define BUILD_NAME "unmodified, ring 0"

/* The kernel's ring, which is also the RPL of its selectors. */
#define KERNEL_RING 0

#ifdef __ASSEMBLER__

/* Back to what was interrupted; ESP points at EIP, CS, EFLAGS, [ESP, SS]. */
.macro RETURN_FROM_TRAP
    iret
.endm

#else
#include "types.h"

/* ---- Interrupt flag ---- */

static inline u32 irq_save(void) {
    u32 flags;
    asm volatile("pushf\n\tpop %0\n\tcli" : "=r"(flags) : : "memory");
    return flags;
}
static inline void irq_restore(u32 flags) { asm volatile("push %0\n\tpopf" : : "r"(flags) : "memory", "cc"); }
static inline void irq_enable(void) { asm volatile("sti" ::: "memory"); }
static inline void irq_disable(void) { asm volatile("cli" ::: "memory"); }
/* Enable interrupts and wait for one. STI holds interrupts off for one instruction, so none slips in before HLT. */
static inline void cpu_wait(void) { asm volatile("sti\n\thlt" ::: "memory"); }

/* The end: nothing can wake this processor any more. */
static inline void cpu_halt_for_good(void) { asm volatile("cli\n\thlt" ::: "memory"); }
/* Port 0x604 is the power management control register of QEMU's PIIX4; SLP_EN with sleep type 0 powers off. */
static inline void power_off(void) { asm volatile("outw %0, %1" : : "a"((u16)0x2000), "d"((u16)0x604)); }

/* ---- Address spaces. Frames of page tables and of RAM are what the processor sees: no translation. ---- */

typedef u64 pte_t;
static inline u32 frame_to_machine(u32 frame) { return frame; }
static inline u32 machine_to_frame(u32 machine) { return machine; }

/* An entry of a page table that is in use. The high word is written first: the low one carries the present bit. */
static inline void table_store(pte_t *entry, pte_t value) {
    volatile u32 *word = (volatile u32 *)entry;
    word[1] = (u32)(value >> 32);
    word[0] = (u32)value;
}
/* An entry that maps `linear` in the current address space, and forget its old translation. */
static inline void page_store(u32 linear, pte_t *entry, pte_t value) {
    table_store(entry, value);
    asm volatile("invlpg (%0)" : : "r"(linear) : "memory");
}
static inline void tlb_flush(void) {
    u32 cr3;
    asm volatile("mov %%cr3, %0\n\tmov %0, %%cr3" : "=r"(cr3) : : "memory");
}
/* Programs run on the kernel's page tables: the processor keeps it from them by the U/S bit. */
#define SEPARATE_USER_ROOT 0
static inline void load_page_tables(u32 root, u32 user_root) { (void)user_root; asm volatile("mov %0, %%cr3" : : "r"(root * PAGE_SIZE) : "memory"); }
/* A frame becomes, or ceases to be, a page table; a root is announced or withdrawn. The bare machine does not care. */
static inline void table_protect(u32 frame) { (void)frame; }
static inline void table_unprotect(u32 frame) { (void)frame; }
static inline void root_pin(u32 root) { (void)root; }
static inline void root_unpin(u32 root) { (void)root; }
/* The operations above may be queued until this. */
static inline void privops_commit(void) {}

static inline u32 fault_address(void) {
    u32 cr2;
    asm volatile("mov %%cr2, %0" : "=r"(cr2));
    return cr2;
}

/* ---- Descriptor tables (descriptors.c) ---- */

void set_kernel_stack(u32 esp); /* in the TSS: where ring 3 enters the kernel */

/* ---- Bodies of the measured operations (measure.c): assembler text with its operands; EAX is theirs ---- */

/* EAX: CR0 with TS (bit 3) set, preloaded. */
#define CR_WRITE_ASM "clts\n\tmov %%eax, %%cr0\n\t"
#define CR_WRITE_OPERANDS : "memory"
static inline u32 measure_cr0(void) {
    u32 cr0;
    asm volatile("mov %%cr0, %0" : "=r"(cr0));
    return cr0 | 8;
}
static inline void measure_cr_write_done(void) { asm volatile("clts"); }

/* One store: the entry's low word (the high words of both frames are zero). EDX turns one value into the other. */
#define PTE_MODIFY_ASM "mov %%eax, (%%esi)\n\txor %%edx, %%eax\n\t"
#define PTE_MODIFY_OPERANDS , "S"(entry), "d"((u32)own ^ (u32)other) : "memory"
static inline u32 measure_pte_modify(pte_t *entry, pte_t own, pte_t other) {
    (void)entry, (void)own;
    return (u32)other;
}

#endif
#endif
