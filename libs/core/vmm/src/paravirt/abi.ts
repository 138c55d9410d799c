/**
 * Numbers and layouts of the Xen 32-bit PV ABI, by the names of the public headers (xen/include/public/*.h). One table
 * per header; offsets are bytes in the i386 layout.
 */

/** xen.h: hypercall numbers. */
export const Hypercall = {
  set_trap_table: 0, mmu_update: 1, set_gdt: 2, stack_switch: 3, set_callbacks: 4, fpu_taskswitch: 5, sched_op_compat: 6, platform_op: 7,
  set_debugreg: 8, get_debugreg: 9, update_descriptor: 10, memory_op: 12, multicall: 13, update_va_mapping: 14, set_timer_op: 15,
  event_channel_op_compat: 16, xen_version: 17, console_io: 18, physdev_op_compat: 19, grant_table_op: 20, vm_assist: 21,
  update_va_mapping_otherdomain: 22, iret: 23, vcpu_op: 24, set_segment_base: 25, mmuext_op: 26, xsm_op: 27, nmi_op: 28, sched_op: 29,
  callback_op: 30, xenoprof_op: 31, event_channel_op: 32, physdev_op: 33, hvm_op: 34, sysctl: 35, domctl: 36, kexec_op: 37,
} as const;

/** A stub per number in the hypercall page, 32 bytes each. */
export const HYPERCALL_STUBS = 128;
export const HYPERCALL_STUB_BYTES = 32;
export const HYPERCALL_VECTOR = 0x82;

export const DOMID_SELF = 0x7ff0;
/** The largest domid of a real domain. */
export const DOMID_FIRST_RESERVED = 0x7ff0;

/** arch-x86/xen-x86_32.h: the machine-to-physical table, read-only in every guest. */
export const MACH2PHYS_VIRT_START = 0xf580_0000;
export const MACH2PHYS_VIRT_END = 0xf680_0000;

/** xen.h: `mmu_update`, bits 1:0 of ptr. */
export const MmuUpdate = { normal: 0, machphys: 1, preserve_ad: 2 } as const;
/** xen.h: `update_va_mapping` flags. */
export const UVMF_FLUSHTYPE_MASK = 3, UVMF_TLB_FLUSH = 1, UVMF_INVLPG = 2;

/** xen.h: `mmuext_op`. struct mmuext_op = { u32 cmd; u32 mfn | linear_addr; u32 nr_ents | vcpumask | src_mfn }. */
export const MmuExt = {
  pin_l1_table: 0, pin_l2_table: 1, pin_l3_table: 2, pin_l4_table: 3, unpin_table: 4, new_baseptr: 5, tlb_flush_local: 6, invlpg_local: 7,
  tlb_flush_multi: 8, invlpg_multi: 9, tlb_flush_all: 10, invlpg_all: 11, flush_cache: 12, set_ldt: 13, new_user_baseptr: 15, clear_page: 16, copy_page: 17,
} as const;
export const MMUEXT_OP_BYTES = 12;

/** xen.h: struct vcpu_info (64 bytes) and struct shared_info. */
export const VcpuInfo = { evtchn_upcall_pending: 0, evtchn_upcall_mask: 1, evtchn_pending_sel: 4, arch_cr2: 8, time: 32, bytes: 64 } as const;
export const SharedInfo = { vcpu_info: 0, evtchn_pending: 0x800, evtchn_mask: 0x880, wc_version: 0x900, wc_sec: 0x904, wc_nsec: 0x908, arch: 0x90c } as const;
/** xen.h: struct vcpu_time_info. */
export const VcpuTimeInfo = { version: 0, tsc_timestamp: 8, system_time: 16, tsc_to_system_mul: 24, tsc_shift: 28 } as const;
/** Ports of the two-level event channels: 32 words of 32 bits. */
export const EVENT_CHANNELS = 1024;

/** xen.h: virtual interrupts. */
export const Virq = { timer: 0, debug: 1, console: 2, dom_exc: 3, tbuf: 4, debugger: 6, xenoprof: 7, con_ring: 8, pcpu_state: 9, mem_event: 10 } as const;
export const NR_VIRQS = 24;

/** event_channel.h. */
export const EventChannelOp = {
  bind_interdomain: 0, bind_virq: 1, bind_pirq: 2, close: 3, send: 4, status: 5, alloc_unbound: 6, bind_ipi: 7, bind_vcpu: 8, unmask: 9, reset: 10,
} as const;
/** EVTCHNSTAT_*. */
export const EventChannelStatus = { closed: 0, unbound: 1, interdomain: 2, pirq: 3, virq: 4, ipi: 5 } as const;

/** sched.h. */
export const SchedOp = { yield: 0, block: 1, shutdown: 2, poll: 3, remote_shutdown: 4, shutdown_code: 5, watchdog: 6 } as const;
export const ShutdownReason = { poweroff: 0, reboot: 1, suspend: 2, crash: 3, watchdog: 4 } as const;

/** vcpu.h. */
export const VcpuOp = {
  initialise: 0, up: 1, down: 2, is_up: 3, get_runstate_info: 4, register_runstate_memory_area: 5, set_periodic_timer: 6, stop_periodic_timer: 7,
  set_singleshot_timer: 8, stop_singleshot_timer: 9, register_vcpu_info: 10, send_nmi: 11, get_physid: 12, register_vcpu_time_memory_area: 13,
} as const;

/** callback.h. */
export const CallbackOp = { register: 0, unregister: 1 } as const;
export const CallbackType = { event: 0, failsafe: 1, syscall: 2, sysenter_deprecated: 3, nmi: 4, sysenter: 5, syscall32: 7 } as const;
export const CALLBACKF_MASK_EVENTS = 1;

/** memory.h. */
export const MemoryOp = {
  increase_reservation: 0, decrease_reservation: 1, maximum_ram_page: 2, current_reservation: 3, maximum_reservation: 4, machphys_mfn_list: 5,
  populate_physmap: 6, add_to_physmap: 7, memory_map: 9, machphys_mapping: 12,
} as const;

/** physdev.h. */
export const PhysdevOp = {
  irq_unmask_notify: 4, irq_status_query: 5, set_iopl: 6, set_iobitmap: 7, apic_read: 8, apic_write: 9, alloc_irq_vector: 10, eoi: 12, map_pirq: 13,
  unmap_pirq: 14, setup_gsi: 21, get_free_pirq: 23,
} as const;

/** version.h. */
export const XenVersion = {
  version: 0, extraversion: 1, compile_info: 2, capabilities: 3, changeset: 4, platform_parameters: 5, get_features: 6, pagesize: 7, guest_handle: 8, commandline: 9,
} as const;
/** features.h: bit numbers. */
export const XENFEAT_MMU_PT_UPDATE_PRESERVE_AD = 5;

/** xen.h: `vm_assist`. */
export const VmAssist = { enable: 0, disable: 1 } as const;
export const VmAssistType = { x4gb_segments: 0, x4gb_segments_notify: 1, writable_pagetables: 2, pae_extended_cr3: 3, architectural_iopl: 4, runstate_update_flag: 5 } as const;

/** xen.h: `console_io`. */
export const ConsoleIo = { write: 0, read: 1 } as const;
/** io/console.h: struct xencons_interface. */
export const ConsoleRing = { in: 0, inBytes: 1024, out: 1024, outBytes: 2048, in_cons: 3072, in_prod: 3076, out_cons: 3080, out_prod: 3084 } as const;

/** arch-x86/xen.h: struct trap_info, 8 bytes: vector, flags (bits 1:0 DPL, bit 2 masks events), cs, address. */
export const TRAP_INFO_BYTES = 8;
export const TI_DPL = 3, TI_MASK_EVENTS = 4;
/** struct multicall_entry: op, result, six arguments. */
export const MULTICALL_ENTRY_BYTES = 32;
