/* The privileged operations of privops-xen.h that are more than one line. */
#if PARAVIRT
#include "console.h"
#include "memory.h"
#include "paging.h"
#include "segments.h"
#include "xen.h"

const struct xen_start_info *xen_start_info;
u32 xen_kernel_ring, xen_kernel_cs, xen_kernel_ds;
volatile struct xen_shared_info xen_shared_info __attribute__((section(".bss.page"), aligned(4096)));

/* ---- The queue: consecutive page-table stores share one mmu_update, consecutive operations one mmuext_op. ---- */

#define CALLS 32
#define UPDATES 64
#define OPERATIONS 16

static struct xen_multicall_entry calls[CALLS];
static struct xen_mmu_update updates[UPDATES];
static struct xen_mmuext_op operations[OPERATIONS];
static u32 call_count, update_count, operation_count;

static void check(const struct xen_multicall_entry *call) {
    if ((int)call->result < 0) panic("hypercall %u failed (error %d)", call->operation, (int)call->result);
}

void privops_commit(void) {
    u32 count = call_count;
    call_count = update_count = operation_count = 0;
    if (count == 0) return;
    if (count == 1) {
        u32 *a = calls[0].arguments;
        calls[0].result = xen_hypercall5(calls[0].operation, a[0], a[1], a[2], a[3], a[4]);
    } else {
        int error = xen_hypercall2(XEN_MULTICALL, (u32)calls, count);
        if (error) panic("multicall failed (error %d)", error);
    }
    for (u32 i = 0; i < count; i++) check(&calls[i]);
}

void xen_queue(u32 number, u32 a, u32 b, u32 c, u32 d) {
    if (call_count == CALLS) privops_commit();
    calls[call_count++] = (struct xen_multicall_entry){number, 0, {a, b, c, d, 0, 0}};
}

static int last_is(u32 number) { return call_count && calls[call_count - 1].operation == number; }

/* The machine address of an entry that stands in the direct map. */
static u64 machine_address(const void *entry) {
    return (u64)frame_to_machine(address_frame(entry)) << 12 | ((u32)entry & (PAGE_SIZE - 1));
}

void table_store(pte_t *entry, pte_t value) {
    if (update_count == UPDATES || call_count == CALLS) privops_commit();
    updates[update_count] = (struct xen_mmu_update){machine_address(entry) | XEN_MMU_NORMAL_PT_UPDATE, value};
    if (last_is(XEN_MMU_UPDATE)) calls[call_count - 1].arguments[1]++;
    else xen_queue(XEN_MMU_UPDATE, (u32)&updates[update_count], 1, 0, XEN_DOMID_SELF);
    update_count++;
}

static void extended(u32 command, u32 argument) {
    if (operation_count == OPERATIONS || call_count == CALLS) privops_commit();
    operations[operation_count] = (struct xen_mmuext_op){command, argument, 0};
    if (last_is(XEN_MMUEXT_OP)) calls[call_count - 1].arguments[1]++;
    else xen_queue(XEN_MMUEXT_OP, (u32)&operations[operation_count], 1, 0, XEN_DOMID_SELF);
    operation_count++;
}

void page_store(u32 linear, pte_t *entry, pte_t value) {
    (void)entry; /* Xen finds it through the current address space */
    xen_queue(XEN_UPDATE_VA_MAPPING, linear, (u32)value, (u32)(value >> 32), XEN_UVMF_INVLPG);
    privops_commit();
}

void tlb_flush(void) { extended(XEN_MMUEXT_TLB_FLUSH_LOCAL, 0); }
void load_page_tables(u32 root, u32 user_root) {
    extended(XEN_MMUEXT_NEW_BASEPTR, frame_to_machine(root));
    if (user_root) extended(XEN_MMUEXT_NEW_USER_BASEPTR, frame_to_machine(user_root));
}
void root_pin(u32 root) { extended(XEN_MMUEXT_PIN_L3_TABLE, frame_to_machine(root)); }
void root_unpin(u32 root) { extended(XEN_MMUEXT_UNPIN_TABLE, frame_to_machine(root)); }

static void map_direct(u32 frame, u32 flags) {
    pte_t value = pte_make(frame, flags);
    xen_queue(XEN_UPDATE_VA_MAPPING, (u32)frame_address(frame), (u32)value, (u32)(value >> 32), XEN_UVMF_INVLPG);
}
void table_protect(u32 frame) { map_direct(frame, PTE_PRESENT); }
void table_unprotect(u32 frame) { map_direct(frame, PTE_PRESENT | PTE_WRITABLE); }

void set_kernel_stack(u32 esp) { xen_queue(XEN_STACK_SWITCH, xen_kernel_ds, esp, 0, 0); }

/* ---- Descriptor tables ---- */

static void require(const char *what, int error) {
    if (error) panic("%s failed (error %d)", what, error);
}

void xen_set_trap_table(const struct xen_trap_info *table) {
    require("set_trap_table", xen_hypercall2(XEN_SET_TRAP_TABLE, (u32)table, 0));
}

void xen_set_gdt(void *gdt, u32 entries) {
    u32 frame = frame_to_machine(address_frame(gdt));
    table_protect(address_frame(gdt)); /* a descriptor table must not be writable either */
    privops_commit();
    require("set_gdt", xen_hypercall2(XEN_SET_GDT, (u32)&frame, entries));
}

void xen_set_callbacks(u32 cs, u32 event, u32 failsafe) {
    require("set_callbacks", xen_hypercall5(XEN_SET_CALLBACKS, cs, event, cs, failsafe, 0));
}

/* ---- Time: nanoseconds since boot, from the time-stamp counter and what Xen says about it ---- */

u64 xen_nanoseconds(void) {
    const volatile struct xen_vcpu_time_info *time = &xen_shared_info.vcpu[0].time;
    u32 version;
    u64 nanoseconds;
    do {
        version = time->version;
        barrier();
        u64 now;
        asm volatile("rdtsc" : "=A"(now));
        u64 delta = now - time->tsc_timestamp;
        delta = time->tsc_shift < 0 ? delta >> -time->tsc_shift : delta << time->tsc_shift;
        /* (delta × mul) >> 32, in halves: there is no 96-bit product. */
        nanoseconds = time->system_time + (u64)(u32)(delta >> 32) * time->tsc_to_system_mul + ((u64)(u32)delta * time->tsc_to_system_mul >> 32);
        barrier();
    } while (version & 1 || version != time->version);
    return nanoseconds;
}

/* ---- The measured page-table update ---- */

struct xen_mmu_update xen_measured_update;
u32 xen_measured_difference[2];

u32 measure_pte_modify(pte_t *entry, pte_t own, pte_t other) {
    xen_measured_update = (struct xen_mmu_update){machine_address(entry) | XEN_MMU_NORMAL_PT_UPDATE, own};
    xen_measured_difference[0] = (u32)(own ^ other);
    xen_measured_difference[1] = (u32)((own ^ other) >> 32);
    return 0;
}
#endif
