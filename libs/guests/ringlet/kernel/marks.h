/*
 * Annotation NOPs: 0F 1F 80 imm32 (NOP [EAX+disp32]) does nothing on every processor and is legal in ring 3. Ringside's
 * processor model reads the displacement: 0x52 'R', kind, operation. Numbers as in libs/core/machine/src/mark.ts; a spec
 * compares the two files.
 */
#ifndef RINGLET_MARKS_H
#define RINGLET_MARKS_H

#define MARK_TAG 0x52
#define MARK_BEGIN 1
#define MARK_END 2
#define MARK_LAP 3

#define OP_BOOT 1
#define OP_SYSCALL 2
#define OP_IN 3
#define OP_CR_WRITE 4
#define OP_CALL_RET 5
#define OP_PAGE_FAULT 6
#define OP_DIVIDE_ERROR 7
#define OP_PTE_MODIFY 8
#define OP_CONTEXT_SWITCH 9
#define OP_FORK 10
#define OP_DISK_READ 11
#define OP_PRINT 12
#define OP_EMPTY 13
#define OP_PTE_MODIFY_BATCH 14

#define MARK_WORD(kind, op) ((MARK_TAG << 24) | ((kind) << 16) | (op))

/* The instruction as assembler text; `word` names an immediate operand of the asm statement. */
#define MARK_ASM(word) ".byte 0x0f, 0x1f, 0x80\n\t.long %c[" #word "]\n\t"

/* A mark by itself, in C. */
#define MARK(kind, op) \
    asm volatile(MARK_ASM(mark) : : [mark] "i"(MARK_WORD(kind, op)) : "memory")

/*
 * The measuring loop. One asm statement, so that the loop is the same instructions whatever operation stands in it: N
 * and 2N repetitions, less the empty loop, are then exactly 1 : 2. The counter is EDI (no argument of a call, kept by
 * every operation); EAX belongs to the operation and lives on in the variable `eax`; `body` is assembler text, its
 * other operands (", inputs") and clobbers (": clobbers") follow.
 */
#define MEASURE(op, count, eax, body, ...)                                                \
    do {                                                                                  \
        u32 measure_count = (count);                                                      \
        asm volatile(MARK_ASM(begin)                                                      \
                     "77:\n\t" body                                                       \
                     MARK_ASM(lap)                                                        \
                     "dec %%edi\n\t"                                                      \
                     "jnz 77b\n\t"                                                        \
                     MARK_ASM(end)                                                        \
                     : "+D"(measure_count), "+a"(eax)                                     \
                     : [begin] "i"(MARK_WORD(MARK_BEGIN, op)), [lap] "i"(MARK_WORD(MARK_LAP, op)), \
                       [end] "i"(MARK_WORD(MARK_END, op)) __VA_ARGS__);                    \
    } while (0)

/* One repetition to warm up (the pages involved are then known to every cache there is), then the loop. */
#define WARM_UP_AND_MEASURE(op, count, eax, body, ...)                                    \
    do {                                                                                  \
        u32 measure_once = 1;                                                             \
        asm volatile(body : "+D"(measure_once), "+a"(eax) : "i"(0) __VA_ARGS__);          \
        MEASURE(op, count, eax, body, __VA_ARGS__);                                       \
    } while (0)

#endif
