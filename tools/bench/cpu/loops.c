/*
 * The loops of `bench cpu`: a static 32-bit Linux program without a library, so that the same bytes run on the host's processor and as a
 * ring 3 program in the guest (which answers `int 0x80` by stopping). argv[1][0] chooses the loop, argv[2] is how often; the exit status is a
 * checksum, so that a wrong result shows.
 */
typedef unsigned int u32;
typedef unsigned char u8;

static u8 bytes[1 << 16];
static u32 words[1 << 14];

/* Registers only: a xorshift generator feeding sums, shifts and rotates. */
static __attribute__((noinline)) u32 integer_loop(u32 count) {
    u32 x = 2463534242u, sum = 0;
    while (count--) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        sum += (x >> 3) * 9 + (sum << 1 | sum >> 31);
        if (sum & 0x8000) sum ^= 0x1021;
    }
    return sum;
}

/* Sieve of Eratosthenes over 64 KiB, then a pass of word updates. */
static __attribute__((noinline)) u32 memory_loop(u32 count) {
    u32 found = 0;
    while (count--) {
        for (u32 i = 0; i < sizeof bytes; i++) bytes[i] = 1;
        for (u32 i = 2; i * i < sizeof bytes; i++)
            if (bytes[i])
                for (u32 j = i * i; j < sizeof bytes; j += i) bytes[j] = 0;
        for (u32 i = 0; i < sizeof words / 4; i++) words[i] += bytes[i * 4] + i;
        found += words[count & 0x3fff] + bytes[65521];
    }
    return found;
}

/* A small bytecode interpreter: unpredictable conditional branches and a jump table. */
static __attribute__((noinline)) u32 branch_loop(u32 count) {
    u32 state = 12345, a = 1, b = 2, c = 3;
    while (count--) {
        state = state * 1103515245 + 12345;
        switch (state >> 28) {
        case 0: a += b; break;
        case 1: b ^= c; break;
        case 2: c -= a; break;
        case 3: if (a > b) a = c; break;
        case 4: if (b & 1) c++; else c--; break;
        case 5: a = a << 1 | a >> 31; break;
        case 6: b = ~b; break;
        case 7: c = a & b; break;
        case 8: a |= 0x55; break;
        case 9: if ((int)c < 0) c = -c; break;
        case 10: b += 7; break;
        case 11: a = b - c; break;
        case 12: if (a == b || b == c) a++; break;
        case 13: c ^= 0xff00ff; break;
        case 14: b >>= 1; break;
        default: a += count; break;
        }
    }
    return a ^ b ^ c;
}

/* Recursive Fibonacci: calls, returns, the stack. */
static __attribute__((noinline, optimize("no-inline,no-optimize-sibling-calls"))) u32 fibonacci(u32 n) {
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}
static __attribute__((noinline)) u32 call_loop(u32 count) {
    u32 sum = 0;
    while (count--) sum += fibonacci(18);
    return sum;
}

/* REP MOVS, STOS, CMPS and SCAS over short and long strings, beside the byte loops that a library would have. */
static __attribute__((noinline)) u32 string_loop(u32 count) {
    u32 sum = 0;
    while (count--) {
        u8 *to = bytes, *from = bytes + 0x8000;
        u32 n = 37 + (count & 63);
        asm volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(0x61) : "memory");
        *to = 0;
        u32 length = 0;
        for (u8 *p = bytes; *p; p++) length += *p == 0x61;
        sum += length;
        to = bytes + 0x4000; n = 256;
        asm volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
        to = bytes; from = bytes + 0x100; n = 24;
        asm volatile("repe cmpsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory", "cc");
        sum += n;
        to = bytes; n = 200;
        asm volatile("repne scasb" : "+D"(to), "+c"(n) : "a"(0) : "memory", "cc");
        sum += n;
        for (u32 i = 0; i < 32; i++) bytes[0x2000 + i] = bytes[i] ^ (u8)sum;
    }
    return sum;
}

static u32 number(const char *text) {
    u32 value = 0;
    while (*text >= '0' && *text <= '9') value = value * 10 + (u32)(*text++ - '0');
    return value;
}

__attribute__((used)) void begin(int argc, char **argv) {
    u32 count = argc > 2 ? number(argv[2]) : 1, sum = 0;
    switch (argc > 1 ? argv[1][0] : 'i') {
    case 'i': sum = integer_loop(count); break;
    case 'm': sum = memory_loop(count); break;
    case 'b': sum = branch_loop(count); break;
    case 'c': sum = call_loop(count); break;
    case 's': sum = string_loop(count); break;
    }
    sum ^= sum >> 16;
    sum ^= sum >> 8;
    asm volatile("int $0x80" : : "a"(1), "b"(sum & 0xff));
    for (;;) { }
}

asm(".globl _start\n_start: mov %esp, %eax\n lea 4(%eax), %edx\n push %edx\n push (%eax)\n call begin\n");
