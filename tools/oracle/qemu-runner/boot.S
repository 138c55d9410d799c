/* Entry of the resident runner kernel, and one landing point for each exception's capture task. */
        .section .multiboot, "a"
        .align 4
        .long 0x1badb002, 0, -0x1badb002

        .text
        .globl _start
_start: cli
        cld
        mov $stack_top, %esp
        call start
1:      hlt
        jmp 1b

/*
 * The processor comes here by a task gate: the state of the case is saved in the case's TSS, and the error code, if the exception has
 * one, lies on this task's own stack.
 */
        .globl capture_stubs, capture_stub_bytes
        .align 16
capture_stubs:
        .set vector, 0
        .rept 32
        .align 16
        movl $vector, capture_vector
        jmp capture
        .set vector, vector + 1
        .endr
capture_stub_bytes: .long 16

capture:
        mov %esp, capture_esp
        mov $stack_top, %esp
        push $2
        popf
        call captured
1:      hlt
        jmp 1b

        .bss
        .align 4096
        .globl stack_top, capture_stack_top, capture_vector, capture_esp
        .skip 16384
stack_top:
        .skip 4096
capture_stack_top:
capture_vector: .skip 4
capture_esp:    .skip 4
