/*
 * The exercises. Each does what a processor must do alike on every path, and puts all it sees into the hash. Nothing depends on time, on a device's data, or on the
 * order in which applications run; and nothing on what QEMU does not model (limits of segments, accessed bits of code segments, single-step traps behind POP SS and STI).
 */
#include "kernel.h"

extern u8 local_data[8192];

/* ---- In ring 0 ------------------------------------------------------------------------------------------------------- */

static void faults(void) {
    CATCH("xor %%edx, %%edx\n\txor %%ecx, %%ecx\n\tdiv %%ecx");
    CATCH("ud2");
    CATCH("mov $100, %%eax\n\tbound %%eax, bounds");
    CATCH("int $60");
    CATCH("mov $0x77, %%eax\n\tmov %%eax, %%ds");
    CATCH("mov $0x68, %%eax\n\tmov %%eax, %%es");
    CATCH("mov $0x08, %%eax\n\tmov %%eax, %%ss");
    CATCH("mov $0x23, %%eax\n\tmov %%eax, %%ss");
    CATCH("ljmp $0x23, $0");
    CATCH("lcall $0x1b, $conforming");
    CATCH("lcall $0x41, $conforming");
    CATCH("mov $0x28, %%eax\n\tltr %%ax");
}
const u32 bounds[2] = { 0, 10 };

static u32 query(int what, u32 selector) {
    u32 result = 0;
    u8 valid;
    switch (what) {
    case 0: asm volatile("lar %2, %0\n\tsetz %1" : "+r"(result), "=q"(valid) : "r"(selector)); break;
    case 1: asm volatile("lsl %2, %0\n\tsetz %1" : "+r"(result), "=q"(valid) : "r"(selector)); break;
    case 2: asm volatile("verr %w1\n\tsetz %0" : "=q"(valid) : "r"(selector)); break;
    default: asm volatile("verw %w1\n\tsetz %0" : "=q"(valid) : "r"(selector));
    }
    return result * 2 + valid;
}
static void descriptors(void) {
    for (u32 selector = 0; selector < 0x90; selector++) for (int what = 0; what < 4; what++) mix(query(what, selector));
}
static void every_selector(void) {
    for (u32 selector = 0; selector < 0x10000; selector += 9) for (int what = 0; what < 4; what++) mix(query(what, selector));
}

/* Code written by one mapping and run through another, and a mapping that changes under code. */
static u8 code_pages[17][4096] __attribute__((aligned(4096)));
static void aliases(void) {
    static const u8 code[] = { 0xb8, 1, 0, 0, 0, 0xc3 }; /* mov $1, %eax; ret */
    const u32 linear = 0x3ff000;
    volatile u8 *alias = (u8 *)linear;
    use_two_level_paging();
    for (int page = 0; page < 17; page++) for (u32 n = 0; n < sizeof code; n++) code_pages[page][n] = code[n];
    table[0][linear >> 12] = (u32)code_pages[0] | 3;
    flush(linear);
    u32 (*here)(void) = (u32 (*)(void))code_pages[0], (*there)(void) = (u32 (*)(void))linear;
    for (int n = 0; n < 40; n++) {
        alias[1] = n;
        mix(here());
        ((volatile u8 *)code_pages[0])[2] = n * 3;
        mix(there());
    }
    for (int page = 0; page < 17; page++) {
        code_pages[page][1] = page * 7;
        table[0][linear >> 12] = (u32)code_pages[page] | 3;
        flush(linear);
        mix(there());
    }
    use_no_paging();
}

static void self_modification(void) {
    for (int n = 0; n < 64; n++) mix(patch_and_run(n * 0x01010101u));
}

static void pages(void) {
    use_two_level_paging();
    const u32 linear = 0x3ff000;
    table[0][linear >> 12] = (u32)code_pages[0] | 1;
    flush(linear);
    CATCH("movb $1, 0x3ff010");
    table[0][linear >> 12] = 0;
    flush(linear);
    CATCH("movb 0x3ff010, %%al");
    asm volatile("movl $1, 0x3fe000");
    mix(table[0][0x3fe]);
    mix(table[0][0x3fd]);
    u32 cr0;
    asm volatile("mov %%cr0, %0" : "=r"(cr0));
    table[0][0x3fc] = 0x3fc001;
    flush(0x3fc000);
    for (int n = 0; n < 4; n++) {
        asm volatile("mov %0, %%cr0" ::"r"(n & 1 ? cr0 & ~0x10000u : cr0));
        CATCH("movl $7, 0x3fc000");
    }
    asm volatile("mov %0, %%cr0" ::"r"(cr0));
    mix(table[0][0x3fc]);
    use_pae_paging();
    CATCH("movb $1, 0x300000");
    pae_table[0x1f0] |= (u64)1 << 63;
    flush_all();
    CATCH("mov $0x1f0000, %%eax\n\tcall *%%eax");
    asm volatile("" ::: "memory");
    pae_table[0x1f0] &= ~((u64)1 << 63);
    flush_all();
    use_no_paging();
}

static void single_steps(void) {
    asm volatile("pushf\n\torl $0x100, (%%esp)\n\tpopf\n\tmov $20, %%ecx\n1: add %%ecx, %%eax\n\tpushf\n\tpop %%edx\n\tcli\n\tpush %%ds\n\tpop %%ds\n\tmov %%edx, %%esi\n\tloop 1b\n\t"
                 "pushf\n\tandl $~0x100, (%%esp)\n\tpopf" ::"a"(0) : "ecx", "edx", "esi", "cc");
    mix(debug_traps);
}

static void debug_registers(void) {
    static volatile u32 watched;
    asm volatile("mov %0, %%db0" ::"r"(&watched));
    asm volatile("mov %0, %%db7" ::"r"(0x000d0402));
    watched = 5;
    mix(watched);
    watched++;
    asm volatile("mov %0, %%db1" ::"r"(ring1_entry));
    asm volatile("mov %0, %%db7" ::"r"(0x408));
    u32 result;
    asm volatile("push %%cs\n\tcall ring1_entry" : "=a"(result)::"ecx");
    mix(result);
    asm volatile("mov %0, %%db7" ::"r"(0x400));
    mix(debug_traps);
}

static void machine_status(void) {
    u32 value;
    asm volatile("mov %%cr0, %%eax\n\tor $0xa, %%eax\n\tmov %%eax, %%cr0\n\twait\n\twait" ::: "eax");
    mix(task_switched_faults);
    asm volatile("smsw %0" : "=r"(value));
    mix(value & 0xf);
    asm volatile("lmsw %w0" ::"r"((value | 8) & ~1u));
    asm volatile("mov %%cr0, %0" : "=r"(value));
    mix(value & 0xf);
    asm volatile("clts\n\tmov %%cr0, %0" : "=r"(value));
    mix(value & 0xf);
    asm volatile("mov %0, %%cr0" ::"r"(value & ~2u));
}

static void far_transfers(void) {
    u32 result;
    asm volatile("lcall $0x50, $conforming" : "=a"(result)::"memory");
    mix(result);
    asm volatile("mov $0x2222, %%eax\n\tlcall $0x60, $0" : "=a"(result)::"ecx", "memory");
    mix(result);
    asm volatile("push $0x1234\n\tlcall $0x70, $0" : "=a"(result)::"memory");
    mix(result);
    asm volatile("ljmp $0x08, $1f\n1: push %%cs\n\tpop %0" : "=r"(result));
    mix(result);
    asm volatile("pushf\n\tpush %%cs\n\tpush $1f\n\tiret\n1: pushf\n\tpop %0" : "=r"(result)::"cc");
    mix(result & ~0x8d5u);
}

static void selectors(void) {
    u32 ds, pushed, cs;
    asm volatile("mov $0x23, %%eax\n\tmov %%eax, %%ds\n\tmov %%ds, %0\n\tpush %%ds\n\tpop %1\n\tmov $0x10, %%eax\n\tmov %%eax, %%ds\n\tmov %%cs, %2" : "=r"(ds), "=r"(pushed), "=r"(cs)::"eax", "memory");
    mix(ds);
    mix(pushed);
    mix(cs);
    asm volatile("mov $0x0f, %%eax\n\tmov %%eax, %%gs\n\tmovl $77, %%gs:8\n\tmov %%gs:8, %0\n\tpush %%gs\n\tpop %%fs\n\taddl %%fs:8, %0\n\txor %%eax, %%eax\n\tmov %%eax, %%gs\n\tmov %%eax, %%fs" : "=&r"(ds)::"eax", "memory");
    mix(ds);
}

static void interrupts(void) {
    static const u8 commands[][2] = { { 0x20, 0x11 }, { 0xa0, 0x11 }, { 0x21, TIMER }, { 0xa1, 40 }, { 0x21, 4 }, { 0xa1, 2 }, { 0x21, 1 }, { 0xa1, 1 }, { 0x21, 0xfe }, { 0xa1, 0xff }, { 0x43, 0x34 }, { 0x40, 0x55 }, { 0x40, 0x02 } };
    for (u32 n = 0; n < sizeof commands / 2; n++) out8(commands[n][0], commands[n][1]);
    asm volatile("sti");
    for (u32 until = ticks + 5; ticks < until;) asm volatile("hlt");
    u32 wrong = 0;
    for (u32 until = ticks + 3; ticks < until;) {
        u32 before, during;
        asm volatile("pushf\n\tpop %0\n\tpushf\n\tcli\n\tpushf\n\tpop %1\n\tpopf" : "=&r"(before), "=&r"(during)::"cc");
        if ((before & 0x200) == 0 || (during & 0x200) != 0) wrong++;
    }
    asm volatile("cli");
    mix(wrong);
}

/* ---- In ring 3 ------------------------------------------------------------------------------------------------------- */

static void leave(void) { call(LEAVE, 0); }

static void ask(void) { descriptors(); leave(); }
static void ask_more(void) { every_selector(); leave(); }
static void user_descriptors(void) { in_ring3(ask); }
static void user_every_selector(void) { in_ring3(ask_more); }

static void probe(void) {
    struct { u16 limit; u32 base; } __attribute__((packed)) gdtr, idtr;
    u32 tr, ldtr, status;
    asm volatile("sgdt %0\n\tsidt %1\n\tstr %2\n\tsldt %3\n\tsmsw %4" : "=m"(gdtr), "=m"(idtr), "=r"(tr), "=r"(ldtr), "=r"(status));
    for (u32 n = 0; n < 5; n++) mix(((u32[]){ gdtr.limit, gdtr.base, idtr.limit, idtr.base, status & 0xf })[n]);
    mix(tr & 0xffff);
    mix(ldtr & 0xffff);
    leave();
}
static void user_probes(void) { in_ring3(probe); }

static void privileged(void) {
    CATCH("hlt");
    CATCH("mov %%cr0, %%eax");
    CATCH("invlpg 0");
    CATCH("lgdt 0");
    CATCH("clts");
    CATCH("mov $0x10, %%ecx\n\trdmsr");
    CATCH("mov $0x08, %%eax\n\tmov %%eax, %%ds");
    CATCH("mov $0x10, %%eax\n\tmov %%eax, %%es");
    CATCH("int $50");
    CATCH("ud2");
    CATCH("lcall $0x08, $conforming");
    asm volatile("int3");
    asm volatile("mov $0x7fffffff, %%eax\n\tadd $1, %%eax\n\tinto" ::: "eax", "cc");
    mix(breakpoints);
    leave();
}
static void user_faults(void) { in_ring3(privileged); }

static void with_each_iopl(void) {
    for (u32 iopl = 0; iopl < 4; iopl++) {
        u32 before, after;
        call(SET_IOPL, iopl);
        asm volatile("pushf\n\tpop %0\n\tpush %0\n\torl $0x40a00, (%%esp)\n\txorl $0x3000, (%%esp)\n\tpopf\n\tpushf\n\tpop %1\n\tpush %0\n\tpopf" : "=&r"(before), "=&r"(after)::"cc");
        mix(before & ~0x8d5u);
        mix(after & ~0x8d5u);
        CATCH("cli");
        mix(flags() & 0x3200);
        CATCH("sti");
        CATCH("inb $0x61, %%al");
        CATCH("inb $0x80, %%al");
        CATCH("in $0x86, %%ax");
        CATCH("in $0x86, %%eax");
        call(MIX, iopl);
    }
    call(SET_IOPL, 0);
    leave();
}
static void io_privilege(void) { in_ring3(with_each_iopl); }

static void fast(void) {
    u32 sum = 0;
    for (u32 n = 0; n < 200; n++) {
        u32 result;
        asm volatile("push %%ebp\n\tmov %%esp, %%ecx\n\tmov $1f, %%edx\n\tsysenter\n1: pop %%ebp" : "=a"(result) : "a"(n) : "ecx", "edx", "memory", "cc");
        sum = sum * 31 + result;
    }
    call(MIX, sum);
    leave();
}
static void fast_calls(void) { in_ring3(fast); }

static void gates(void) {
    u32 result;
    asm volatile("lcall $0x33, $0" : "=a"(result)::"ecx", "memory");
    mix(result);
    asm volatile("lcall $0x50, $conforming" : "=a"(result)::"memory");
    mix(result);
    asm volatile("mov $0x1111, %%eax\n\tlcall $0x5b, $0" : "=a"(result)::"ecx", "memory");
    mix(result);
    asm volatile("push $0x4321\n\tlcall $0x73, $0" : "=a"(result)::"memory");
    mix(result);
    leave();
}
static void user_gates(void) { in_ring3(gates); }

static void strings(void) {
    u32 count, from, to;
    for (u32 n = 0; n < sizeof local_data; n++) local_data[n] = n * 7 + (n >> 5);
    asm volatile("cld\n\trep movsb" : "=S"(from), "=D"(to), "=c"(count) : "0"(local_data + 100), "1"(WINDOW + 0xff0), "2"(5000) : "memory");
    mix(from - (u32)local_data);
    mix(to);
    asm volatile("std\n\trep movsl\n\tcld" : "=S"(from), "=D"(to), "=c"(count) : "0"(local_data + 4000), "1"(WINDOW + 0x2ff0), "2"(800) : "memory");
    asm volatile("repne scasb" : "=D"(to), "=c"(count) : "a"(0x55), "0"(WINDOW), "1"(0x4000) : "memory", "cc");
    mix(to);
    asm volatile("repe cmpsb" : "=S"(from), "=D"(to), "=c"(count) : "0"(WINDOW + 0xff0), "1"(local_data + 100), "2"(5000) : "memory", "cc");
    mix(to - (u32)local_data);
    for (u32 n = 0; n < 0x4000; n += 4) mix(*(u32 *)(WINDOW + n));
    asm volatile("rep stosw" : "=D"(to), "=c"(count) : "a"(0x1234), "0"(WINDOW + 0x7ff), "1"(0x900) : "memory");
    mix(*(u32 *)(WINDOW + 0x1000));
    leave();
}
static void user_strings(void) {
    use_two_level_paging();
    in_ring3(strings);
    use_pae_paging();
    in_ring3(strings);
    use_no_paging();
}

static void atomics(void) {
    volatile u64 pair = 5;
    volatile u32 word = 3;
    u32 other = 4;
    asm volatile("lock cmpxchg8b %0" : "+m"(pair) : "a"(5), "d"(0), "b"(7), "c"(9) : "memory", "cc");
    mix(pair);
    mix(pair >> 32);
    asm volatile("lock xadd %0, %1" : "+r"(other), "+m"(word)::"cc");
    mix(word);
    mix(other);
    asm volatile("lock btsl %1, %0" : "+m"(word) : "r"(7) : "cc");
    mix(word);
    asm volatile("enter $16, $2\n\tmov %%ebp, %0\n\tsub %%esp, %0\n\tleave" : "=&r"(other)::"memory");
    mix(other);
    leave();
}
static void user_atomics(void) { in_ring3(atomics); }

static void stepped(void) {
    asm volatile("pushf\n\torl $0x100, (%%esp)\n\tpopf\n\tmov $5, %%ecx\n1: loop 1b\n\tint $48\n\tpush %%ds\n\tpop %%ds\n\tcld\n\tmov $3, %%ecx\n\trep lodsb\n\tpushf\n\tandl $~0x100, (%%esp)\n\tpopf" ::"a"(MIX), "b"(77), "S"(local_data) : "ecx", "memory", "cc");
    leave();
}
static void user_single_steps(void) {
    in_ring3(stepped);
    mix(debug_traps);
}

/* Three applications, switched by the timer and by yielding; each computes by itself, the sum is the same in any order. */
static u32 sums[3];
static void compute(u32 number) {
    volatile u32 *window = (u32 *)WINDOW;
    u32 sum = number + 1;
    for (u32 n = 0; n < 100; n++) {
        sum = sum * call(9, n) + n;
        if (n % 17 == 0) call(YIELD, 0);
    }
    for (u32 n = 0; n < 4; n++) sum += window[n * 1024 + number];
    for (u32 n = 0; n < 120000; n++) sum = sum * 1664525 + 1013904223;
    asm volatile("mov %%fs, %%eax\n\tadd %%eax, %0" : "+r"(sum)::"eax", "cc");
    sums[number] = sum ^ (flags() & 0x3200);
    leave();
}
static void preemption(void) {
    use_two_level_paging();
    /* Written through the window, so that no application meets a page fault: which one would, depends on the order. */
    for (u32 n = 0; n < 0x4000; n++) ((volatile u8 *)WINDOW)[n] = n * (n >> 8);
    in_ring3_together(compute, 3);
    use_no_paging();
    for (u32 n = 0; n < 3; n++) mix(sums[n]);
}

const struct exercise exercises[] = {
    { "faults", faults }, { "descriptors", descriptors }, { "aliases", aliases }, { "self-modification", self_modification }, { "pages", pages }, { "single-steps", single_steps },
    { "debug-registers", debug_registers }, { "machine-status", machine_status }, { "far-transfers", far_transfers }, { "selectors", selectors }, { "interrupts", interrupts },
    { "user-descriptors", user_descriptors }, { "user-every-selector", user_every_selector }, { "user-probes", user_probes }, { "user-faults", user_faults }, { "io-privilege", io_privilege }, { "fast-calls", fast_calls },
    { "user-gates", user_gates }, { "user-strings", user_strings }, { "user-atomics", user_atomics }, { "user-single-steps", user_single_steps }, { "preemption", preemption }, { 0, 0 },
};
