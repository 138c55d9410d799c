/*
 * Privileged operations of a kernel that knows Xen: it runs in ring 1, or in ring 3 beside its programs, and asks. The same list as `privops-native.h`; one of
 * the two is the only difference between the two builds (build.sh passes it with -include).
 *
 * Changes of address spaces are queued and made by `privops_commit` with one hypercall: a trap costs more than what
 * is asked for.
 */
#ifndef RINGLET_PRIVOPS_H
#define RINGLET_PRIVOPS_H

#include "xen.h"

#define PARAVIRT 1
#define BUILD_NAME (xen_kernel_ring == 1 ? "paravirtualized, ring 1" : "paravirtualized, ring 3")

/* That of the kernel's own descriptors. In ring 3 it has none: it uses the programs'. */
#define KERNEL_RING 1

#ifdef __ASSEMBLER__

/*
 * Back to what was interrupted; ESP points at EIP, CS, EFLAGS, [ESP, SS]. A plain IRET does it unless events were on there
 * and are masked here (an event upcall masks them): then Xen must do both at once. In ring 3 only Xen can go back at all: to a
 * program, since that takes other page tables; to ourselves, since the frame says ring 0 to tell us from programs.
 */
.macro RETURN_FROM_TRAP
    cmpl $1, %ss:xen_kernel_ring
    jne 2f
    testl $0x200, %ss:8(%esp)
    jz 1f
    cmpb $0, %ss:xen_shared_info + XEN_UPCALL_MASK
    jne 2f
1:  iret
2:  movw $0, %ss:6(%esp) /* the saved mask above CS */
    jmp hypercall_page + XEN_IRET * XEN_HYPERCALL_STUB
.endm

#else
#include "types.h"

/* ---- Interrupt flag: a byte that Xen reads. PUSHF, CLI, STI and POPF are ordinary stores; none of them traps. ---- */

/* An event that came while they were masked: any hypercall delivers it. */
static inline void xen_deliver_pending(void) {
    asm volatile("" ::: "memory");
    if (xen_shared_info.vcpu[0].upcall_pending) xen_hypercall2(XEN_XEN_VERSION, 0, 0);
}
static inline u32 irq_save(void) {
    u32 flags = xen_shared_info.vcpu[0].upcall_mask;
    xen_shared_info.vcpu[0].upcall_mask = 1;
    asm volatile("" ::: "memory");
    return flags;
}
static inline void irq_restore(u32 flags) {
    asm volatile("" ::: "memory");
    xen_shared_info.vcpu[0].upcall_mask = flags;
    if (!flags) xen_deliver_pending();
}
static inline void irq_enable(void) { irq_restore(0); }
static inline void irq_disable(void) {
    xen_shared_info.vcpu[0].upcall_mask = 1;
    asm volatile("" ::: "memory");
}
/* Unmasks events and waits for one. */
static inline void cpu_wait(void) { xen_hypercall2(XEN_SCHED_OP, XEN_SCHEDOP_BLOCK, 0); }
static inline void xen_shutdown(u32 reason) { xen_hypercall2(XEN_SCHED_OP, XEN_SCHEDOP_SHUTDOWN, (u32)&reason); }
static inline void cpu_halt_for_good(void) { xen_shutdown(XEN_SHUTDOWN_CRASH); }
static inline void power_off(void) { xen_shutdown(XEN_SHUTDOWN_POWEROFF); }

/* ---- Address spaces: direct paging. Tables hold machine frames; the kernel reads them and asks Xen to write them. ---- */

typedef u64 pte_t;
static inline u32 frame_to_machine(u32 frame) { return ((const u32 *)xen_start_info->mfn_list)[frame]; }
static inline u32 machine_to_frame(u32 machine) { return ((const u32 *)XEN_MACHINE_TO_PHYSICAL)[machine]; }

void table_store(pte_t *entry, pte_t value);
void page_store(u32 linear, pte_t *entry, pte_t value);
void tlb_flush(void);
/* In ring 3 the processor cannot tell the kernel from programs, so these run on page tables in which it does not stand. */
#define SEPARATE_USER_ROOT (xen_kernel_ring == 3)
void load_page_tables(u32 root, u32 user_root);
/* A page table must not be writable: the kernel's own mapping of the frame becomes read-only before it is one. */
void table_protect(u32 frame);
void table_unprotect(u32 frame);
/* Pinning validates a whole tree at once, so that loading it later is cheap. */
void root_pin(u32 root);
void root_unpin(u32 root);
void privops_commit(void);

static inline u32 fault_address(void) { return xen_shared_info.vcpu[0].cr2; }

/* ---- Descriptor tables ---- */

void set_kernel_stack(u32 esp); /* where ring 3 enters ring 1 */

/* ---- Bodies of the measured operations (measure.c): assembler text with its operands; EAX is theirs ---- */

#define XEN_TEXT(x) #x
#define XEN_EXPANDED(x) XEN_TEXT(x)
#define XEN_CALL_ASM(number) "call hypercall_page + " XEN_EXPANDED(number) " * " XEN_EXPANDED(XEN_HYPERCALL_STUB) "\n\t"

#define CR_WRITE_ASM                                                           \
    "xor %%ebx, %%ebx\n\t" XEN_CALL_ASM(XEN_FPU_TASKSWITCH)                     \
    "mov $1, %%ebx\n\t" XEN_CALL_ASM(XEN_FPU_TASKSWITCH)
#define CR_WRITE_OPERANDS : "ebx", "memory"
static inline u32 measure_cr0(void) { return 0; }
static inline void measure_cr_write_done(void) { xen_hypercall2(XEN_FPU_TASKSWITCH, 0, 0); }

/* One mmu_update with one request, whose value alternates between the two frames. */
extern struct xen_mmu_update xen_measured_update;
extern u32 xen_measured_difference[2];
#define PTE_MODIFY_ASM                                                                                     \
    "mov xen_measured_difference, %%eax\n\txor %%eax, xen_measured_update + 8\n\t"                            \
    "mov xen_measured_difference + 4, %%eax\n\txor %%eax, xen_measured_update + 12\n\t"                       \
    "mov $xen_measured_update, %%ebx\n\tmov $1, %%ecx\n\txor %%edx, %%edx\n\tmov $" XEN_EXPANDED(XEN_DOMID_SELF) ", %%esi\n\t" \
    XEN_CALL_ASM(XEN_MMU_UPDATE)
#define PTE_MODIFY_OPERANDS : "ebx", "ecx", "edx", "esi", "memory"
u32 measure_pte_modify(pte_t *entry, pte_t own, pte_t other);

#endif
#endif
