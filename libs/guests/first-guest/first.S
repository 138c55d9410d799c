# A guest of your own: it says hello on the serial port and switches the machine off.
        .text
        .long   0x1BADB002, 0, -0x1BADB002      # Multiboot header: magic, no flags, checksum
        .globl  _start
_start: mov     $message, %esi
next:   lodsb                                   # AL = the next character
        test    %al, %al
        jz      off
        mov     $0x3f8, %dx                     # COM1: transmitter holding register
        outb    %al, %dx                        # each of these is a bus cycle, or an exit
        jmp     next
off:    mov     $0x2000, %ax                    # sleep enable, type 0: power off
        mov     $0x604, %dx
        outw    %ax, %dx
        hlt
message:
        .asciz  "Hello from ring 0!\r\n"
