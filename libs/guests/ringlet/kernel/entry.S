/*
 * Into the kernel and out of it. Every way in (exception, interrupt, system call) builds the same `struct trap_frame`
 * (traps.h) and every way out undoes it.
 */
#include "segments.h"

    .text

/* Vectors for which the processor pushes an error code (SDM Vol. 3A 6.13). */
#define HAS_ERROR_CODE(vector) ((vector) == 8 || ((vector) >= 10 && (vector) <= 14) || (vector) == 17)

    .altmacro
.macro TRAP_ENTRY vector
trap_entry_\vector:
    .if !HAS_ERROR_CODE(\vector)
    push $0
    .endif
    push $\vector
    jmp trap_common
.endm

    .set number, 0
    .rept 48
    TRAP_ENTRY %number
    .set number, number + 1
    .endr

/* Where events (paravirtualized interrupts) come in. */
    .globl event_entry
event_entry:
    push $0
    push $VECTOR_EVENT
    jmp trap_common

/*
 * Xen could not return to a context of ours because of its selectors. DS ES FS GS stand above the frame; we take it for a
 * general protection fault of that context.
 */
    .globl failsafe_entry
failsafe_entry:
    add $16, %esp
    push $0
    push $VECTOR_GENERAL_PROTECTION
    jmp trap_common

    .globl syscall_entry
syscall_entry:
    push $0
    push $VECTOR_SYSCALL

trap_common:
    push %eax
    push %ecx
    push %edx
    push %ebx
    push %ebp
    push %esi
    push %edi
    push %ds
    push %es
    mov $USER_DS, %eax /* flat, and usable from every ring: what the program left in DS and ES does not matter */
    mov %eax, %ds
    mov %eax, %es
    cld
    push %esp
    call trap_dispatch
    add $4, %esp

    .globl trap_return
trap_return:
    pop %es
    pop %ds
    pop %edi
    pop %esi
    pop %ebp
    pop %ebx
    pop %edx
    pop %ecx
    pop %eax
    add $8, %esp /* vector, error code */
    RETURN_FROM_TRAP

/* The first steps of a new process on its own kernel stack: interrupts were off during the switch. */
    .globl process_entry
process_entry:
    call process_begin
    jmp trap_return

/* void switch_context(u32 *save_esp, u32 load_esp): leave one kernel stack, go on with another. */
    .globl switch_context
switch_context:
    mov 4(%esp), %eax
    mov 8(%esp), %edx
    push %ebp
    push %ebx
    push %esi
    push %edi
    mov %esp, (%eax)
    mov %edx, %esp
    pop %edi
    pop %esi
    pop %ebx
    pop %ebp
    ret

    .section .rodata
    .globl trap_entries
trap_entries: /* addresses of the entries of vectors 0..47 */
.macro TRAP_ADDRESS vector
    .long trap_entry_\vector
.endm
    .set number, 0
    .rept 48
    TRAP_ADDRESS %number
    .set number, number + 1
    .endr
