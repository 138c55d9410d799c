/*
 * Entry of the unmodified build. The Multiboot loader enters in protected mode, flat segments, paging off, at the physical
 * address; EAX = 0x2BADB002, EBX = Multiboot information. We build page tables for the first 8 MiB, map them at both
 * 0 and 0xC0000000, switch paging on and continue in the higher half.
 */
#if !PARAVIRT

#define MULTIBOOT_MAGIC 0x1BADB002
#define MULTIBOOT_FLAGS 3 /* page-aligned modules, memory information */
#define PHYSICAL(symbol) ((symbol) - 0xC0000000)
#define BOOT_TABLES 4 /* 2 MiB each */

    .section .multiboot, "a"
    .long MULTIBOOT_MAGIC, MULTIBOOT_FLAGS, -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

    .section .boot, "ax"
    .globl _start
_start:
    cli
    mov %ebx, PHYSICAL(boot_information)

    /* Page tables: frame n at entry n, present and writable (supervisor). The high words are zero in .bss. */
    mov $PHYSICAL(boot_l1), %edi
    mov $0x003, %eax
    mov $(512 * BOOT_TABLES), %ecx
1:  mov %eax, (%edi)
    add $8, %edi
    add $0x1000, %eax
    loop 1b

    mov $PHYSICAL(boot_l2), %edi
    mov $(PHYSICAL(boot_l1) + 0x003), %eax
    mov $BOOT_TABLES, %ecx
2:  mov %eax, (%edi)
    add $8, %edi
    add $0x1000, %eax
    loop 2b

    /* Page-directory-pointer entries have no writable bit (SDM Vol. 3A 4.4.1). Entry 0 is only for the next few lines. */
    movl $(PHYSICAL(boot_l2) + 0x001), PHYSICAL(boot_l3)
    movl $(PHYSICAL(boot_l2) + 0x001), PHYSICAL(boot_l3) + 3 * 8

    mov %cr4, %eax
    or $0x20, %eax /* PAE */
    mov %eax, %cr4
    mov $PHYSICAL(boot_l3), %eax
    mov %eax, %cr3
    mov %cr0, %eax
    or $0x80010000, %eax /* PG, and WP: read-only pages bind the kernel too, which copy-on-write needs */
    mov %eax, %cr0
    mov $higher_half, %eax
    jmp *%eax

    .text
higher_half:
    movl $0, boot_l3
    mov %cr3, %eax
    mov %eax, %cr3
    mov $boot_stack_top, %esp
    xor %ebp, %ebp
    cld
    call kernel_main

    .section .bss.page, "aw", @nobits
    .balign 4096
    .globl boot_l3, boot_stack_top
boot_l3: .skip 4096
boot_l2: .skip 4096
boot_l1: .skip 4096 * BOOT_TABLES
    .skip 4096
boot_stack_top:

    .bss
    .globl boot_information
boot_information: .long 0

#endif
