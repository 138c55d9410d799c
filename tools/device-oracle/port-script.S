/*
 * Carries out a list of port accesses on the machine it boots on, and sends what it reads to the debug port E9h, after a
 * marker of eight bytes. An entry: kind, 0, port (16 bit), value (32 bit). See record.mjs.
 */
.section .text
.long 0x1badb002, 0, -(0x1badb002)
.globl _start
_start:
    cli
    mov $marker, %ebx
1:  mov (%ebx), %al
    test %al, %al
    jz next
    out %al, $0xe9
    inc %ebx
    jmp 1b
next:
    mov entries, %esi
    movzbl (%esi), %eax
    movzwl 2(%esi), %edx
    mov 4(%esi), %ecx
    addl $8, entries
    jmp *kinds(, %eax, 4)

in8:
    in %dx, %al
    out %al, $0xe9
    jmp next
out8:
    mov %ecx, %eax
    out %al, %dx
    jmp next
wait_ata: /* until alternate status says not busy */
    mov $0x3f6, %edx
1:  in %dx, %al
    test $0x80, %al
    jnz 1b
    jmp next
in_sector:
    mov $256, %ecx
1:  in %dx, %ax
    out %al, $0xe9
    mov %ah, %al
    out %al, $0xe9
    loop 1b
    jmp next
out_sector: /* words value + 256 down to value + 1 */
    mov $256, %ebx
1:  lea (%ecx, %ebx), %eax
    out %ax, %dx
    dec %ebx
    jnz 1b
    jmp next
power_off:
    mov $0x604, %edx
    mov $0x2000, %eax
    out %ax, %dx
    hlt
    jmp power_off

.data
marker:  .asciz "@PORTS@\n"
.align 4
kinds:   .long in8, out8, wait_ata, in_sector, out_sector, power_off
entries: .long script
script:  .incbin "script.bin"
