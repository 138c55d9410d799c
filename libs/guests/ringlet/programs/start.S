/* A program begins with argc and argv on its stack, as the kernel's exec put them. */
    .text
    .globl _start
_start:
    call main
    mov %eax, %ebx
    mov $1, %eax /* SYS_EXIT */
    int $0x80
