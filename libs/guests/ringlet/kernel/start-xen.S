/*
 * Entry of the paravirtualized build, and the ELF notes that tell Xen's domain builder what to do with it. Xen enters with paging
 * on, in ring 1 (or 3: CS tells), flat segments, events masked, ESI = start_info.
 */
#if PARAVIRT

.macro NOTE type, description:vararg
    .balign 4
    .long 2f - 1f, 4f - 3f, \type
1:  .asciz "Xen"
2:  .balign 4
3:  \description
4:  .balign 4
.endm

    .section .note.Xen, "a", @note
    NOTE XEN_ELFNOTE_GUEST_OS, .asciz "Ringlet"
    NOTE XEN_ELFNOTE_GUEST_VERSION, .asciz "1"
    NOTE XEN_ELFNOTE_XEN_VERSION, .asciz "xen-3.0"
    NOTE XEN_ELFNOTE_LOADER, .asciz "generic"
    NOTE XEN_ELFNOTE_PAE_MODE, .asciz "yes"
    NOTE XEN_ELFNOTE_FEATURES, .asciz ""
    NOTE XEN_ELFNOTE_VIRT_BASE, .long 0xC0000000
    NOTE XEN_ELFNOTE_PADDR_OFFSET, .long 0
    NOTE XEN_ELFNOTE_ENTRY, .long _start
    NOTE XEN_ELFNOTE_HYPERCALL_PAGE, .long hypercall_page
    NOTE XEN_ELFNOTE_L1_MFN_VALID, .quad 1, 1

    /* Filled by Xen before the first instruction. */
    .section .hypercall_page, "ax"
    .balign 4096
    .globl hypercall_page
hypercall_page:
    .skip 4096

    .text
    .globl _start
_start:
    cld
    mov %esi, xen_start_info
    mov $boot_stack_top, %esp
    mov %cs, %eax
    and $3, %eax
    mov %eax, xen_kernel_ring
    xor %ebp, %ebp
    call kernel_main

    .section .bss.page, "aw", @nobits
    .balign 4096
    .globl boot_stack_top
    .skip 4096
boot_stack_top:

#endif
