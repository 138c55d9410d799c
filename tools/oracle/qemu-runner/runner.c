/*
 * The resident runner kernel: takes prepared machine states from memory, runs each on the (emulated) processor and writes how it ended.
 *
 * A case starts by a task switch to the case's TSS, which loads every register, selector, CR3 and the LDT in one step, and ends by a task
 * gate, which saves them all: so the runner needs nothing from the case's stacks, segments or privilege level, and a double fault is a
 * case like another. A triple fault ends QEMU; the driver starts it again behind that case.
 *
 * RAM is a file shared with the driver:
 *   0x0400000  the arena (see libs/core/x86/src/testing/arena.ts)
 *   0x2000000  input:  +0 offset of the first record, +4 end offset; +0x1000 arena template, then records
 *   0x4000000  output: +0 cases done, +4 end offset of the results; +0x1000 results
 */
#include "../record.h"

#define INPUT ((u32 *)0x2000000)
#define OUTPUT ((volatile u32 *)0x4000000)
#define ARENA ((u8 *)ARENA_BASE)
#define TEMPLATE ((const u8 *)0x2001000)

enum { CODE0 = 0x08, DATA0 = 0x10, TSS_SELECTOR = 0x18, LDT_SELECTOR = 0x50, RUNNER_TSS_SELECTOR = 0x58, CAPTURE_SELECTOR = 0x200 };
enum { CR0_PE = 1, CR0_TS = 8, CR0_PG = (int)0x80000000, CR4_PAE = 0x20 };
enum { RAM_MIB = 128 };

struct tss {
  u32 back_link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, registers[8], selectors[6] /* ES CS SS DS FS GS */, ldt, io_map;
};

extern u8 capture_stubs[], capture_stack_top[];
extern u32 capture_vector, capture_esp;

static u8 shadow[ARENA_BYTES] __attribute__((aligned(4096)));
static u32 directory[1024] __attribute__((aligned(4096))), tables[RAM_MIB / 4][1024] __attribute__((aligned(4096)));
static unsigned long long pae_directory[512] __attribute__((aligned(4096))), pdpt[4] __attribute__((aligned(32)));
static u32 next_record, input_end;
static u8 dirty[ARENA_BYTES / 4096];

#define READ(name, reg) static inline u32 read_##name(void) { u32 v; __asm__ volatile("mov %%" reg ", %0" : "=r"(v)); return v; }
#define WRITE(name, reg) static inline void write_##name(u32 v) { __asm__ volatile("mov %0, %%" reg ::"r"(v) : "memory"); }
READ(cr0, "cr0") READ(cr2, "cr2") READ(cr4, "cr4") READ(dr6, "dr6")
WRITE(cr0, "cr0") WRITE(cr2, "cr2") WRITE(cr3, "cr3") WRITE(cr4, "cr4") WRITE(dr0, "dr0") WRITE(dr1, "dr1") WRITE(dr2, "dr2") WRITE(dr3, "dr3")
WRITE(dr6, "dr6") WRITE(dr7, "dr7")

static inline void write_msr(u32 msr, u32 value) { __asm__ volatile("wrmsr" ::"c"(msr), "a"(value), "d"(0)); }
static void copy(void *to, const void *from, u32 bytes) {
  bytes /= 4;
  __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(bytes)::"memory");
}
static void copy_bytes(void *to, const void *from, u32 bytes) { __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes)::"memory"); }

struct __attribute__((packed)) table_register { unsigned short limit; u32 base; };
static void load_tables(void) {
  const struct table_register gdtr = {0x3ff, ARENA_BASE}, idtr = {0xff, ARENA_BASE + 0x800};
  __asm__ volatile("lgdt %0; lidt %1" ::"m"(gdtr), "m"(idtr));
}

static struct tss *capture_tss(u32 vector) { return (struct tss *)(ARENA + CAPTURE + vector * 0x68); }

static void finish_all(void) {
  for (;;) __asm__ volatile("outl %0, %w1" ::"a"(0), "d"(0xf4)); /* isa-debug-exit */
}

/* Lays the next case out in the arena and jumps to it. */
static void launch(void) {
  if (next_record >= input_end) finish_all();
  const struct case_record *record = (const struct case_record *)((u8 *)INPUT + next_record);
  next_record += record->words * 4;
  OUTPUT[2] = next_record;
  const u32 *patch = (const u32 *)(record + 1);
  for (u32 i = 0; i < record->patch_count; i++) {
    u32 offset = patch[0], bytes = patch[1];
    copy_bytes(ARENA + offset, patch + 2, bytes);
    copy_bytes(shadow + offset, patch + 2, bytes);
    for (u32 page = offset / 4096; page <= (offset + bytes - 1) / 4096; page++) dirty[page] = 1;
    patch += 2 + (bytes + 3) / 4;
  }
  struct tss *tss = (struct tss *)(ARENA + TSS);
  tss->cr3 = record->cr3, tss->eip = record->eip, tss->eflags = record->eflags;
  for (u32 i = 0; i < 8; i++) tss->registers[i] = record->registers[i];
  for (u32 i = 0; i < 6; i++) tss->selectors[i] = record->selectors[i];

  u32 monitor_cr3 = record->cr4 & CR4_PAE ? (u32)pdpt : (u32)directory;
  for (u32 vector = 0; vector < 32; vector++) {
    *capture_tss(vector) = (struct tss){
      .cr3 = monitor_cr3, .eip = (u32)capture_stubs + vector * 16, .eflags = 2, .selectors = {DATA0, CODE0, DATA0, DATA0, 0, 0},
      .registers = {[4] = (u32)capture_stack_top}, .io_map = 0x680000,
    };
    ARENA[CAPTURE_SELECTOR + vector * 8 + 5] = 0x89;
  }
  ARENA[TSS_SELECTOR + 5] = shadow[TSS_SELECTOR + 5] & ~2; /* not busy: the jump makes it busy */
  ARENA[RUNNER_TSS_SELECTOR + 5] = 0x89;
  __asm__ volatile("ltr %w0" ::"r"(RUNNER_TSS_SELECTOR));
  write_msr(0x174, record->sysenter_cs), write_msr(0x175, record->sysenter_esp), write_msr(0x176, record->sysenter_eip);
  write_dr0(0), write_dr1(0), write_dr2(0), write_dr3(0), write_dr7(0x400), write_dr6(0xffff0ff0);
  write_cr0(CR0_PE);
  write_cr4(record->cr4);
  write_msr(0xc0000080, record->efer);
  write_cr3(monitor_cr3);
  write_cr2(INITIAL_CR2);
  write_cr0(record->cr0);
  __asm__ volatile("ljmp %0, $0" ::"i"(TSS_SELECTOR));
  for (;;) __asm__ volatile("hlt");
}

/* Comes from a capture task: the case's registers are in the TSS that the back link names. */
void captured(void) {
  u32 vector = capture_vector, cr0 = read_cr0(), cr2 = read_cr2(), cr4 = read_cr4(), dr6 = read_dr6();
  struct table_register gdtr, idtr;
  __asm__ volatile("sgdt %0; sidt %1" : "=m"(gdtr), "=m"(idtr));
  write_cr0(CR0_PE);
  load_tables();
  u32 tr = capture_tss(vector)->back_link & 0xffff;
  const u8 *d = ARENA + (tr & ~7);
  const struct tss *tss = (const struct tss *)(d[2] | d[3] << 8 | d[4] << 16 | (u32)d[7] << 24);
  struct result_record *result = (struct result_record *)((u8 *)OUTPUT + OUTPUT[1]);
  result->vector = vector;
  result->error = capture_esp != (u32)capture_stack_top ? *(u32 *)capture_esp : 0;
  result->cr2 = cr2, result->cr0 = cr0, result->cr4 = cr4, result->dr6 = dr6, result->tr = tr;
  result->gdtr_base = gdtr.base, result->gdtr_limit = gdtr.limit, result->idtr_base = idtr.base, result->idtr_limit = idtr.limit;
  for (u32 i = 0; i < 8; i++) result->registers[i] = tss->registers[i];
  for (u32 i = 0; i < 6; i++) result->selectors[i] = tss->selectors[i] & 0xffff;
  result->eip = tss->eip, result->eflags = tss->eflags;

  /* What launch and capture wrote by themselves (isIncidental in arena.ts) is not a change. */
  copy(ARENA + CAPTURE, shadow + CAPTURE, 4096);
  for (u32 offset = TSS; offset <= TSS2; offset += TSS2 - TSS) {
    copy(ARENA + offset, shadow + offset, 4);
    copy(ARENA + offset + 0x1c, shadow + offset + 0x1c, 0x44);
  }
  ARENA[TSS_SELECTOR + 5] = shadow[TSS_SELECTOR + 5];
  ARENA[RUNNER_TSS_SELECTOR + 5] = shadow[RUNNER_TSS_SELECTOR + 5];
  copy(ARENA + CAPTURE_SELECTOR, shadow + CAPTURE_SELECTOR, 0x100);
  result->change_count = 0;
  u32 *out = append_changes((u32 *)(result + 1), &result->change_count, ARENA, shadow, 0, ARENA_BYTES);
  for (u32 page = 0; page < sizeof dirty; page++) {
    if (!dirty[page]) continue;
    dirty[page] = 0;
    copy(ARENA + page * 4096, TEMPLATE + page * 4096, 4096);
    copy(shadow + page * 4096, TEMPLATE + page * 4096, 4096);
  }
  OUTPUT[1] = (u32)((u8 *)out - (u8 *)OUTPUT);
  OUTPUT[0]++;
  launch();
}

void start(void) {
  __asm__ volatile("outb %b0, $0x21; outb %b0, $0xa1" ::"a"(0xff)); /* no interrupts from the PICs */
  copy(ARENA, TEMPLATE, ARENA_BYTES);
  copy(shadow, TEMPLATE, ARENA_BYTES);
  for (u32 page = 0; page < RAM_MIB * 256; page++) tables[page / 1024][page % 1024] = page * 4096 | 3;
  for (u32 table = 0; table < RAM_MIB / 4; table++) directory[table] = (u32)tables[table] | 3;
  for (u32 page = 0; page < RAM_MIB / 2; page++) pae_directory[page] = (unsigned long long)page << 21 | 0x83;
  pdpt[0] = (u32)pae_directory | 1;
  next_record = INPUT[0], input_end = INPUT[1];
  load_tables();
  __asm__ volatile("ljmp %0, $1f; 1: mov %w1, %%ds; mov %w1, %%es; mov %w1, %%ss; mov %w2, %%fs; mov %w2, %%gs" ::"i"(CODE0), "r"(DATA0), "r"(0));
  launch();
}
