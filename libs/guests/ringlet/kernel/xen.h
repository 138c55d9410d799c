/*
 * The part of Xen's public interface that a 32-bit PAE guest of this size needs: names, numbers and structures as in
 * Xen's public headers (xen/include/public: xen.h, arch-x86/xen-x86_32.h, event_channel.h, physdev.h, sched.h,
 * io/console.h, elfnote.h).
 */
#ifndef RINGLET_XEN_H
#define RINGLET_XEN_H

/* Hypercall numbers. The hypercall page has a stub of 32 bytes for each. */
#define XEN_SET_TRAP_TABLE 0
#define XEN_MMU_UPDATE 1
#define XEN_SET_GDT 2
#define XEN_STACK_SWITCH 3
#define XEN_SET_CALLBACKS 4
#define XEN_FPU_TASKSWITCH 5
#define XEN_MULTICALL 13
#define XEN_UPDATE_VA_MAPPING 14
#define XEN_SET_TIMER_OP 15
#define XEN_XEN_VERSION 17
#define XEN_CONSOLE_IO 18
#define XEN_IRET 23
#define XEN_MMUEXT_OP 26
#define XEN_SCHED_OP 29
#define XEN_EVENT_CHANNEL_OP 32
#define XEN_PHYSDEV_OP 33
#define XEN_HYPERCALL_STUB 32

/* ELF notes. */
#define XEN_ELFNOTE_ENTRY 1
#define XEN_ELFNOTE_HYPERCALL_PAGE 2
#define XEN_ELFNOTE_VIRT_BASE 3
#define XEN_ELFNOTE_PADDR_OFFSET 4
#define XEN_ELFNOTE_XEN_VERSION 5
#define XEN_ELFNOTE_GUEST_OS 6
#define XEN_ELFNOTE_GUEST_VERSION 7
#define XEN_ELFNOTE_LOADER 8
#define XEN_ELFNOTE_PAE_MODE 9
#define XEN_ELFNOTE_FEATURES 10
#define XEN_ELFNOTE_L1_MFN_VALID 13

#define XEN_DOMID_SELF 0x7ff0
/* Machine frame → pseudo-physical frame, for all frames of the machine; read only. */
#define XEN_MACHINE_TO_PHYSICAL 0xf5800000
#define XEN_MACHINE_TO_PHYSICAL_END 0xf6800000

#define XEN_MMU_NORMAL_PT_UPDATE 0
#define XEN_UVMF_INVLPG 2

#define XEN_MMUEXT_PIN_L3_TABLE 2
#define XEN_MMUEXT_UNPIN_TABLE 4
#define XEN_MMUEXT_NEW_BASEPTR 5
#define XEN_MMUEXT_TLB_FLUSH_LOCAL 6
#define XEN_MMUEXT_NEW_USER_BASEPTR 15 /* only where the kernel runs in ring 3 */

#define XEN_SCHEDOP_YIELD 0
#define XEN_SCHEDOP_BLOCK 1
#define XEN_SCHEDOP_SHUTDOWN 2
#define XEN_SHUTDOWN_POWEROFF 0
#define XEN_SHUTDOWN_CRASH 3

#define XEN_EVTCHNOP_BIND_VIRQ 1
#define XEN_EVTCHNOP_BIND_PIRQ 2
#define XEN_EVTCHNOP_SEND 4
#define XEN_EVTCHNOP_UNMASK 9
#define XEN_VIRQ_TIMER 0
#define XEN_VIRQ_CONSOLE 2 /* to the first domain only */

#define XEN_PHYSDEVOP_IRQ_STATUS_QUERY 5
#define XEN_PHYSDEVOP_SET_IOPL 6
#define XEN_PHYSDEVOP_EOI 12
#define XEN_PHYSDEVOP_MAP_PIRQ 13
#define XEN_MAP_PIRQ_TYPE_GSI 1
#define XEN_IRQSTAT_NEEDS_EOI 1

#define XEN_CONSOLEIO_WRITE 0
#define XEN_CONSOLEIO_READ 1

/* start_info.flags: the first domain, which has no console ring but Xen's own console. */
#define XEN_SIF_INITDOMAIN 2

/* Offset of vcpu_info[0].evtchn_upcall_mask in shared_info, for entry code. */
#define XEN_UPCALL_MASK 1

#ifndef __ASSEMBLER__
#include "types.h"

struct xen_trap_info { u8 vector, flags; u16 cs; u32 address; };
struct xen_mmu_update { u64 pointer, value; };
struct xen_mmuext_op { u32 command, argument1, argument2; };
struct xen_multicall_entry { u32 operation, result, arguments[6]; };

struct xen_vcpu_time_info {
    u32 version, pad; /* version is odd while Xen writes */
    u64 tsc_timestamp, system_time;
    u32 tsc_to_system_mul;
    signed char tsc_shift;
    u8 pad1[3];
};
struct xen_vcpu_info {
    u8 upcall_pending, upcall_mask;
    u32 pending_selector;
    u32 cr2, arch_pad[5];
    struct xen_vcpu_time_info time;
};
struct xen_shared_info {
    struct xen_vcpu_info vcpu[32];
    u32 event_pending[32], event_mask[32];
    u32 wall_clock_version, wall_clock_seconds, wall_clock_nanoseconds;
};
struct xen_start_info {
    char magic[32];
    u32 frames, shared_info, flags, store_mfn, store_event, console_mfn, console_event, page_tables, page_table_frames, mfn_list;
    u32 module_start, module_length;
    char command_line[1024];
};
struct xen_console_ring {
    char in[1024], out[2048];
    u32 in_consumed, in_produced, out_consumed, out_produced;
};

/* Mapped over this page of ours by machine_discover. */
extern volatile struct xen_shared_info xen_shared_info;
extern const struct xen_start_info *xen_start_info;
/* Where Xen runs us: 1, or 3 as on 64-bit Xen. And so the selectors we run with. */
extern u32 xen_kernel_ring, xen_kernel_cs, xen_kernel_ds;

/* EAX = number (the stub loads it), arguments in EBX ECX EDX ESI EDI, result in EAX. Xen may spoil the argument registers. */
extern u8 hypercall_page[];
static inline int xen_hypercall5(u32 number, u32 a, u32 b, u32 c, u32 d, u32 e) {
    u32 result = (u32)hypercall_page + number * XEN_HYPERCALL_STUB;
    asm volatile("call *%%eax" : "+a"(result), "+b"(a), "+c"(b), "+d"(c), "+S"(d), "+D"(e) : : "memory");
    return (int)result;
}
static inline int xen_hypercall2(u32 number, u32 a, u32 b) {
    u32 result = (u32)hypercall_page + number * XEN_HYPERCALL_STUB;
    asm volatile("call *%%eax" : "+a"(result), "+b"(a), "+c"(b) : : "memory");
    return (int)result;
}

/* xen.c */
void xen_set_trap_table(const struct xen_trap_info *table);
void xen_set_gdt(void *gdt, u32 entries);
void xen_set_callbacks(u32 cs, u32 event, u32 failsafe);
/* A queued call; privops_commit makes them, in order, with one trap. */
void xen_queue(u32 number, u32 a, u32 b, u32 c, u32 d);
u64 xen_nanoseconds(void);

#endif
#endif
