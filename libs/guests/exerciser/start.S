/* Multiboot entry, trap entries, and what C cannot say. Selectors: kernel.h. */
    .section .multiboot, "ax"
    .align 4
    .long 0x1badb002, 3, -(0x1badb002 + 3)

    .bss
    .align 16
    .skip 16384
stack_top:
kernel_esp:
    .long 0

    .text
    .globl start
start:
    mov $stack_top, %esp
    push $0
    popf
    call main
1:  cli
    hlt
    jmp 1b

    .macro entry vector, has_error=0
    .globl trap_\vector
trap_\vector:
    .if !\has_error
    push $0
    .endif
    push $\vector
    jmp common
    .endm
    entry 0
    entry 1
    entry 3
    entry 4
    entry 5
    entry 6
    entry 7
    entry 8, 1
    entry 10, 1
    entry 11, 1
    entry 12, 1
    entry 13, 1
    entry 14, 1
    entry 32
    entry 48
    entry 50

common:
    pusha
    push %ds
    push %es
    push %fs
    push %gs
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    push %esp
    call trap
    add $4, %esp
back:
    pop %gs
    pop %fs
    pop %es
    pop %ds
    popa
    add $8, %esp
    iret

    /* resume(frame): go on in the application whose frame this is. */
    .globl resume
resume:
    mov 4(%esp), %esp
    jmp back

    /* start_first(frame): the same, and come back by leave_ring3. */
    .globl start_first
start_first:
    pusha
    mov %esp, kernel_esp
    mov 36(%esp), %esp
    jmp back

    /* enter_ring3(eip, esp, eflags): returns when the application leaves. */
    .globl enter_ring3
enter_ring3:
    pusha
    mov %esp, kernel_esp
    mov 36(%esp), %eax
    mov 40(%esp), %ebx
    mov 44(%esp), %ecx
    mov $0x23, %edx
    mov %edx, %ds
    mov %edx, %es
    mov %edx, %fs
    mov %edx, %gs
    push %edx
    push %ebx
    push %ecx
    push $0x1b
    push %eax
    iret

    .globl leave_ring3
leave_ring3:
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    mov kernel_esp, %esp
    popa
    ret

    /* load_tables(gdtr, idtr) */
    .globl load_tables
load_tables:
    mov 4(%esp), %eax
    lgdt (%eax)
    mov 8(%esp), %eax
    lidt (%eax)
    ljmp $0x08, $1f
1:  mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    mov $0x28, %eax
    ltr %ax
    mov $0x38, %eax
    lldt %ax
    ret

    /* Through a call gate with one parameter: three times it, and seven. */
    .globl gate_entry
gate_entry:
    push %ds
    push %ebx
    mov $0x10, %ebx
    mov %ebx, %ds
    mov 16(%esp), %eax
    lea 7(%eax, %eax, 2), %eax
    pop %ebx
    pop %ds
    lret $4

    /* Through a call gate to ring 1: SS and CS there. */
    .globl ring1_entry
ring1_entry:
    mov %cs, %eax
    mov %ss, %ecx
    shl $16, %ecx
    or %ecx, %eax
    lret

    .globl conforming
conforming:
    mov %cs, %eax
    lret

    /* SYSENTER: eax is the function, edx and ecx the way back. */
    .globl sysenter_entry
sysenter_entry:
    push %edx
    push %ecx
    push %eax
    call fast_call
    add $4, %esp
    pop %ecx
    pop %edx
    sti
    sysexit

    /* A 16-bit segment, called far from a 32-bit one. */
    .globl code16
    .code16
code16:
    push %bx
    mov $0x1234, %bx
    add %bx, %ax
    pushf
    pop %cx
    pop %bx
    lretl
    .code32

    /* patch_and_run(value): writes the operand of the next instruction but one, and runs it. */
    .globl patch_and_run
patch_and_run:
    mov 4(%esp), %eax
    mov %eax, patched + 1
patched:
    mov $0x11223344, %eax
    ret
