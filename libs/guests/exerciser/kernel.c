/* The kernel that the exercises stand on: tables, traps, paging, applications, the serial line. */
#include "kernel.h"

static volatile u32 hash;
volatile u32 ticks, debug_traps, task_switched_faults, breakpoints, caught, resume_at;

void mix(u32 value) { hash = (hash ^ value) * 16777619u; }

static void put(char character) {
    while ((in8(0x3fd) & 0x20) == 0) {}
    out8(0x3f8, character);
}
void print(const char *text) { while (*text) put(*text++); }
static void print_hex(u32 value) { for (int shift = 28; shift >= 0; shift -= 4) put("0123456789abcdef"[(value >> shift) & 15]); }
static void print_number(const char *name, u32 value) { print(name); put(' '); print_hex(value); put('\n'); }
__attribute__((noreturn)) static void power_off(void) {
    asm volatile("outw %w0, %w1" ::"a"(0x2000), "d"(0x604));
    for (;;) asm volatile("cli\n\thlt");
}

/* ---- Tables ---------------------------------------------------------------------------------------------------------- */

static u64 gdt[16], idt[64], ldt[4];
static u32 tss[40];
static u32 kernel_stack[1024], ring1_stack[512], fast_stack[512], user_stack[1024];
u8 local_data[8192] __attribute__((aligned(4096)));
struct pseudo_descriptor { u16 limit; u32 base; } __attribute__((packed));

static u64 segment(u32 base, u32 limit, u8 access, u8 flags) {
    return (limit & 0xffff) | ((u64)(base & 0xffffff) << 16) | ((u64)access << 40) | ((u64)((limit >> 16) & 15) << 48) | ((u64)flags << 52) | ((u64)(base >> 24) << 56);
}
static u64 gate(u16 selector, const void *offset, u8 access, u8 parameters) {
    u32 at = (u32)offset;
    return (at & 0xffff) | ((u64)selector << 16) | ((u64)parameters << 32) | ((u64)access << 40) | ((u64)(at >> 16) << 48);
}

extern char trap_0[], trap_1[], trap_3[], trap_4[], trap_5[], trap_6[], trap_7[], trap_8[], trap_10[], trap_11[], trap_12[], trap_13[], trap_14[], trap_32[], trap_48[], trap_50[];

static void make_tables(void) {
    /* Code segments are accessed from the beginning: QEMU does not mark them in far transfers. */
    gdt[KERNEL_CODE >> 3] = segment(0, 0xfffff, 0x9b, 0xc);
    gdt[KERNEL_DATA >> 3] = segment(0, 0xfffff, 0x92, 0xc);
    gdt[USER_CODE >> 3] = segment(0, 0xfffff, 0xfb, 0xc);
    gdt[USER_DATA >> 3] = segment(0, 0xfffff, 0xf2, 0xc);
    gdt[TASK_STATE >> 3] = segment((u32)tss, 104 + 17, 0x89, 0);
    gdt[RING1_GATE >> 3] = gate(RING1_CODE, ring1_entry, 0xec, 0);
    gdt[LOCAL_TABLE >> 3] = segment((u32)ldt, sizeof ldt - 1, 0x82, 0);
    gdt[RING1_CODE >> 3] = segment(0, 0xfffff, 0xbb, 0xc);
    gdt[RING1_DATA >> 3] = segment(0, 0xfffff, 0xb2, 0xc);
    gdt[CONFORMING >> 3] = segment(0, 0xfffff, 0x9f, 0xc);
    gdt[CODE16_USER >> 3] = segment((u32)code16, 0xffff, 0xfb, 0);
    gdt[CODE16_KERNEL >> 3] = segment((u32)code16, 0xffff, 0x9b, 0);
    gdt[ABSENT >> 3] = segment(0, 0xfffff, 0x72, 0xc);
    gdt[KERNEL_GATE >> 3] = gate(KERNEL_CODE, gate_entry, 0xec, 1);
    ldt[LOCAL_DATA >> 3] = segment((u32)local_data, 0xfffff, 0xf2, 0xc);
    tss[1] = (u32)(kernel_stack + 1024);
    tss[2] = KERNEL_DATA;
    tss[3] = (u32)(ring1_stack + 500);
    tss[4] = RING1_DATA;
    /* Of the ports only 0x80 to 0x87 are the applications'. */
    tss[25] = 104 << 16;
    u8 *bitmap = (u8 *)tss + 104;
    for (int n = 0; n < 18; n++) bitmap[n] = n == 16 ? 0 : 0xff;
    const char *entries[] = { trap_0, trap_1, 0, trap_3, trap_4, trap_5, trap_6, trap_7, trap_8, 0, trap_10, trap_11, trap_12, trap_13, trap_14 };
    for (int n = 0; n < 15; n++) if (entries[n]) idt[n] = gate(KERNEL_CODE, entries[n], n == BP || n == OF ? 0xef : 0x8e, 0);
    idt[TIMER] = gate(KERNEL_CODE, trap_32, 0x8e, 0);
    idt[CALL] = gate(KERNEL_CODE, trap_48, 0xee, 0);
    idt[KERNEL_ONLY] = gate(KERNEL_CODE, trap_50, 0x8e, 0);
    struct pseudo_descriptor gdtr = { sizeof gdt - 1, (u32)gdt }, idtr = { sizeof idt - 1, (u32)idt };
    load_tables(&gdtr, &idtr);
    asm volatile("wrmsr" ::"c"(0x174), "a"(KERNEL_CODE), "d"(0));
    asm volatile("wrmsr" ::"c"(0x175), "a"(fast_stack + 500), "d"(0));
    asm volatile("wrmsr" ::"c"(0x176), "a"(sysenter_entry), "d"(0));
}

/* ---- Paging ---------------------------------------------------------------------------------------------------------- */

u32 directory[1024] __attribute__((aligned(4096))), table[4][1024] __attribute__((aligned(4096)));
u64 pointers[4] __attribute__((aligned(32))), pae_directory[4][512] __attribute__((aligned(4096))), pae_table[512] __attribute__((aligned(4096)));
u8 window_frames[4][4096] __attribute__((aligned(4096)));
static u32 window_table[1024] __attribute__((aligned(4096)));
static u64 pae_window_table[512] __attribute__((aligned(4096)));
static int pae;

static void set_control(u32 cr3, u32 cr4, u32 paging) {
    u32 cr0;
    asm volatile("mov %%cr0, %0" : "=r"(cr0));
    cr0 &= 0x7fffffffu;
    asm volatile("mov %0, %%cr0\n\tjmp 1f\n1:" ::"r"(cr0) : "memory");
    asm volatile("mov %0, %%cr4" ::"r"(cr4));
    asm volatile("mov %0, %%cr3" ::"r"(cr3) : "memory");
    asm volatile("mov %0, %%cr0\n\tjmp 1f\n1:" ::"r"(cr0 | paging) : "memory");
}

#define WITH_WRITE_PROTECT 0x80010000u

/* 32 MiB where they are: the first 16 in small pages, the rest in large ones. */
void use_two_level_paging(void) {
    pae = 0;
    for (u32 n = 0; n < 4; n++) for (u32 k = 0; k < 1024; k++) table[n][k] = n << 22 | k << 12 | 7;
    for (u32 n = 0; n < 8; n++) directory[n] = n < 4 ? (u32)table[n] | 7 : n << 22 | 0x87;
    for (u32 n = 0; n < 4; n++) window_table[n] = 0;
    directory[WINDOW >> 22] = (u32)window_table | 7;
    set_control((u32)directory, 0x10, WITH_WRITE_PROTECT);
}

/* The same with PAE and global pages: the first 2 MiB in small ones; the second are read-only, and the kernel's. */
void use_pae_paging(void) {
    pae = 1;
    for (u32 k = 0; k < 512; k++) pae_table[k] = k << 12 | 0x107;
    for (u32 n = 0; n < 4; n++) pointers[n] = (u32)pae_directory[n] | 1;
    for (u32 k = 0; k < 16; k++) pae_directory[0][k] = k << 21 | 0x1e7;
    pae_directory[0][0] = (u32)pae_table | 7;
    pae_directory[0][1] = 1 << 21 | 0xa1;
    for (u32 n = 0; n < 4; n++) pae_window_table[n] = 0;
    pae_directory[1][0] = (u32)pae_window_table | 7;
    u32 low, high;
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(0xc0000080));
    asm volatile("wrmsr" ::"c"(0xc0000080), "a"(low | 1 << 11), "d"(high));
    set_control((u32)pointers, 0xa0, WITH_WRITE_PROTECT);
}

void use_no_paging(void) { set_control(0, 0, 0); }

/* Global pages, too. */
void flush_all(void) {
    asm volatile("mov %%cr4, %%eax\n\txor $0x80, %%eax\n\tmov %%eax, %%cr4\n\txor $0x80, %%eax\n\tmov %%eax, %%cr4" ::: "eax", "memory");
    asm volatile("mov %%cr3, %%eax\n\tmov %%eax, %%cr3" ::: "eax", "memory");
}

static int map_window(u32 linear) {
    u32 page = (linear - WINDOW) >> 12;
    if (page >= 4) return 0;
    if (pae) pae_window_table[page] = (u32)window_frames[page] | 7;
    else window_table[page] = (u32)window_frames[page] | 7;
    flush(linear);
    return 1;
}

/* ---- Applications ---------------------------------------------------------------------------------------------------- */

#define APPLICATIONS 3
static struct trap *ready[APPLICATIONS];
static u32 stacks[APPLICATIONS][2][1024];
static u32 current, running;

void in_ring3(void (*application)(void)) { enter_ring3((u32)application, (u32)(user_stack + 1000), 0x202); }

/* Several at once, each with its number; the timer and YIELD switch between them. */
void in_ring3_together(void (*application)(u32), u32 count) {
    for (u32 n = 0; n < count; n++) {
        u32 *stack = stacks[n][1] + 1000;
        stack[1] = n;
        struct trap *frame = (struct trap *)(stacks[n][0] + 1024) - 1;
        *frame = (struct trap){ .cs = USER_CODE, .ss = USER_DATA, .ds = USER_DATA, .es = USER_DATA, .fs = LOCAL_DATA, .gs = USER_DATA, .eflags = 0x202, .eip = (u32)application, .esp = (u32)stack };
        ready[n] = frame;
    }
    running = count;
    current = 0;
    tss[1] = (u32)(stacks[0][0] + 1024);
    start_first(ready[0]);
    tss[1] = (u32)(kernel_stack + 1024);
}

static void next(struct trap *frame) {
    ready[current] = frame;
    do current = (current + 1) % APPLICATIONS; while (!ready[current]);
    tss[1] = (u32)(stacks[current][0] + 1024);
    resume(ready[current]);
}

static void leave(void) {
    if (running == 0) leave_ring3();
    ready[current] = 0;
    running--;
    if (running == 0) leave_ring3();
    next(0);
}

u32 fast_call(u32 function) {
    mix(function);
    return function * 3 + 1;
}

/* ---- Traps ----------------------------------------------------------------------------------------------------------- */

static void system_call(struct trap *frame) {
    switch (frame->eax) {
    case LEAVE: leave(); break;
    case MIX: mix(frame->ebx); mix(frame->cs); mix(frame->ss); mix(frame->eflags & 0xffff); break;
    case SET_IOPL: frame->eflags = (frame->eflags & ~0x3000u) | frame->ebx << 12; break;
    case YIELD: if (running) next(frame); break;
    default: frame->eax = frame->ebx * 5 + frame->eax;
    }
}

void trap(struct trap *frame) {
    u32 cr2;
    switch (frame->vector) {
    case TIMER:
        ticks++;
        out8(0x20, 0x20);
        if (running && (frame->cs & 3) == 3) next(frame);
        return;
    case CALL: system_call(frame); return;
    case DB: {
        u32 dr6;
        asm volatile("mov %%db6, %0" : "=r"(dr6));
        mix(dr6);
        mix(frame->eip);
        mix(frame->eflags & ~0x10000u);
        asm volatile("mov %0, %%db6" ::"r"(0));
        frame->eflags |= 0x10000;
        if (++debug_traps % 128 == 0) frame->eflags &= ~0x100u;
        return;
    }
    case BP: case OF:
        breakpoints++;
        mix(frame->eip);
        return;
    case NM:
        task_switched_faults++;
        asm volatile("clts");
        return;
    case PF:
        asm volatile("mov %%cr2, %0" : "=r"(cr2));
        mix(cr2);
        mix(frame->error);
        if (cr2 >= WINDOW && map_window(cr2)) return;
        break;
    default:
        mix(frame->error);
    }
    if (resume_at != 0) {
        caught = frame->vector;
        frame->eip = resume_at;
        return;
    }
    print("unexpected trap:\n");
    print_number("vector", frame->vector);
    print_number("error", frame->error);
    print_number("eip", frame->eip);
    print_number("cs", frame->cs);
    power_off();
}

void main(void) {
    out8(0x3f9, 0);
    out8(0x3fb, 0x80);
    out8(0x3f8, 1);
    out8(0x3f9, 0);
    out8(0x3fb, 3);
    out8(0x3fc, 3);
    out8(0x21, 0xff);
    out8(0xa1, 0xff);
    make_tables();
    for (const struct exercise *exercise = exercises; exercise->name; exercise++) {
        hash = 2166136261u;
        exercise->run();
        print_number(exercise->name, hash);
    }
    print("done\n");
    power_off();
}
