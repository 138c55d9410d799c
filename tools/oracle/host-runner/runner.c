/*
 * Runs user-mode cases on the host's own processor: one signal per case. The handler of the exception that ends a case writes its
 * result, prepares the next case in the signal frame and returns into it.
 *
 * usage: runner CASES RESULTS   (both files in the format of ../record.h; the arena's template comes first in CASES)
 *
 * A case owns the code window and the data window; everything else is unmapped but for this program itself, which a case meets
 * only by a wild address.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>
#include "../record.h"

/* Order of gregs in a 32-bit Linux signal frame. */
enum { G_GS, G_FS, G_ES, G_DS, G_EDI, G_ESI, G_EBP, G_ESP, G_EBX, G_EDX, G_ECX, G_EAX, G_TRAPNO, G_ERR, G_EIP, G_CS, G_EFL, G_UESP, G_SS };

static const u8 *template_image;
static const u32 *input, *input_end;
static u32 *output;
static u8 *const code = (u8 *)CODE_LINEAR, *const data = (u8 *)DATA_LINEAR;
static u8 shadow_code[CODE_BYTES] __attribute__((aligned(16))), shadow_data[DATA_BYTES] __attribute__((aligned(16)));
static const u32 *current; /* the case being run */
static volatile u32 done, done_at_last_tick;
static mcontext_t main_context;
static int runner_gs;

static void copy(u8 *to, const u8 *from, u32 bytes) {
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes)::"memory");
}

/* Sets entry `index` of this process's LDT to an 8-byte descriptor; to an empty one when the type is 0. The kernel adds DPL 3 and "accessed". */
static void set_ldt(u32 index, const u8 *d) {
  u32 page_limit = d[6] >> 7, type = d[5] & 0xf;
  struct { u32 entry, base, limit, flags; } desc = {
    index, d[2] | d[3] << 8 | d[4] << 16 | (u32)d[7] << 24, d[0] | d[1] << 8 | (d[6] & 0xf) << 16,
    (d[6] >> 6 & 1) | (type >> 2 & 3) << 1 | !(type & 2) << 3 | page_limit << 4 | !(d[5] >> 7) << 5 | (d[6] >> 4 & 1) << 6,
  };
  if (!d[5]) desc.base = desc.limit = 0, desc.flags = 0x28;
  int result;
  __asm__ volatile("int $0x80" : "=a"(result) : "0"(123), "b"(0x11), "c"(&desc), "d"(sizeof desc) : "memory");
  if (result) __builtin_trap();
}

static void set_ldt_entries(u32 offset, u32 bytes, const u8 *image) {
  for (u32 entry = 0; entry < bytes / 8; entry++) set_ldt((offset - LDT) / 8 + entry, image + entry * 8);
}

static int is_ldt(u32 offset) { return offset >= LDT && offset < LDT + 0x80; }

static void launch(mcontext_t *context) {
  const struct case_record *record = (const struct case_record *)input;
  current = input;
  input += record->words;
  const u32 *patch = (const u32 *)(record + 1);
  for (u32 i = 0; i < record->patch_count; i++) {
    u32 offset = patch[0], bytes = patch[1];
    u8 *target = 0, *shadow = 0;
    if (is_ldt(offset)) {
      set_ldt_entries(offset, bytes, (const u8 *)(patch + 2));
      patch += 2 + (bytes + 3) / 4;
      continue;
    }
    if (offset >= CODE && offset + bytes <= CODE + CODE_BYTES) target = code + (offset - CODE), shadow = shadow_code + (offset - CODE);
    if (offset >= DATA && offset + bytes <= DATA + 0x3000) target = data + (offset - DATA), shadow = shadow_data + (offset - DATA);
    if (!target) __builtin_trap();
    copy(target, (const u8 *)(patch + 2), bytes);
    copy(shadow, (const u8 *)(patch + 2), bytes);
    patch += 2 + (bytes + 3) / 4;
  }
  int *g = context->gregs;
  g[G_EAX] = record->registers[0], g[G_ECX] = record->registers[1], g[G_EDX] = record->registers[2], g[G_EBX] = record->registers[3];
  g[G_UESP] = g[G_ESP] = record->registers[4], g[G_EBP] = record->registers[5], g[G_ESI] = record->registers[6], g[G_EDI] = record->registers[7];
  g[G_EIP] = record->eip, g[G_EFL] = record->eflags;
  g[G_ES] = record->selectors[0], g[G_CS] = record->selectors[1], g[G_SS] = record->selectors[2];
  g[G_DS] = record->selectors[3], g[G_FS] = record->selectors[4], g[G_GS] = record->selectors[5];
}

/* Takes the patches of the finished case back out of memory and shadow. */
static void restore(void) {
  const struct case_record *record = (const struct case_record *)current;
  const u32 *patch = (const u32 *)(record + 1);
  for (u32 i = 0; i < record->patch_count; i++) {
    u32 offset = patch[0], bytes = patch[1];
    int in_code = offset < DATA;
    if (is_ldt(offset)) set_ldt_entries(offset, bytes, template_image + offset);
    else copy(in_code ? code + (offset - CODE) : data + (offset - DATA), template_image + offset, bytes);
    if (!is_ldt(offset)) copy(in_code ? shadow_code + (offset - CODE) : shadow_data + (offset - DATA), template_image + offset, bytes);
    patch += 2 + (bytes + 3) / 4;
  }
}

static void finish(const mcontext_t *context, u32 vector) {
  const int *g = context->gregs;
  struct result_record *result = (struct result_record *)output;
  *result = (struct result_record){
    .vector = vector, .error = vector < 32 ? g[G_ERR] : 0, .cr2 = vector == 14 ? context->cr2 : (u32)INITIAL_CR2,
    .registers = {g[G_EAX], g[G_ECX], g[G_EDX], g[G_EBX], g[G_UESP], g[G_EBP], g[G_ESI], g[G_EDI]},
    .eip = g[G_EIP], .eflags = g[G_EFL],
    .selectors = {g[G_ES] & 0xffff, g[G_CS] & 0xffff, g[G_SS] & 0xffff, g[G_DS] & 0xffff, g[G_FS] & 0xffff, g[G_GS] & 0xffff},
  };
  u32 count = 0;
  u32 *out = append_changes((u32 *)(result + 1), &count, code, shadow_code, CODE, CODE_BYTES);
  out = append_changes(out, &count, data, shadow_data, DATA, 0x3000);
  result->change_count = count;
  output = out;
  restore();
  done++;
}

static void on_exception(int signal, siginfo_t *info, void *frame) {
  (void)info;
  __asm__ volatile("movw %w0, %%gs" ::"r"(runner_gs)); /* thread-local storage, lost while a case ran */
  __asm__ volatile("movw %w0, %%fs" ::"r"(0)); /* the kernel reloads FS only if its selector changes, but its LDT entry may have */
  __asm__ volatile("push $0x202; popf" ::: "memory", "cc"); /* a signal return keeps our NT and ID, so a case's must go */
  mcontext_t *context = &((ucontext_t *)frame)->uc_mcontext;
  if (!current) {
    if (signal == SIGALRM) return;
    main_context = *context; /* the INT3 in main */
  } else if (signal == SIGALRM) {
    if (done != done_at_last_tick) {
      done_at_last_tick = done;
      return;
    }
    finish(context, VECTOR_TIMEOUT);
  } else {
    finish(context, context->gregs[G_TRAPNO]);
  }
  if (input < input_end) launch(context);
  else *context = main_context;
}

int main(int count, char **arguments) {
  if (count != 3) return fprintf(stderr, "usage: runner CASES RESULTS\n"), 2;
  if (!(personality(0xffffffff) & ADDR_NO_RANDOMIZE)) {
    personality(ADDR_NO_RANDOMIZE);
    execv("/proc/self/exe", arguments);
  }
  /* Away from what sums of the cases' bases and pointers come to: 0x20000000, 0x30000000 and their multiples. */
  int file = open(arguments[1], O_RDONLY);
  struct stat status;
  if (file < 0 || fstat(file, &status) < 0) return perror(arguments[1]), 1;
  void *mapped = mmap((void *)0x74000000, status.st_size, PROT_READ, MAP_PRIVATE | MAP_FIXED, file, 0);
  u32 result_bytes = 0x8000000;
  u32 *results = mmap((void *)0x7a000000, result_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  void *windows[2] = {
    mmap(code, CODE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
    mmap(data, DATA_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
  };
  if (mapped == MAP_FAILED || results == MAP_FAILED || windows[0] == MAP_FAILED || windows[1] == MAP_FAILED) return perror("mmap"), 1;
  template_image = mapped;
  input = (const u32 *)(template_image + ARENA_BYTES);
  input_end = (const u32 *)(template_image + status.st_size);
  output = results;
  copy(code, template_image + CODE, CODE_BYTES), copy(shadow_code, template_image + CODE, CODE_BYTES);
  copy(data, template_image + DATA, DATA_BYTES), copy(shadow_data, template_image + DATA, DATA_BYTES);
  mprotect(data + 0x3000, 0x1000, PROT_READ | PROT_EXEC);
  __asm__ volatile("movw %%gs, %w0" : "=r"(runner_gs));

  static u8 stack[1 << 16];
  stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
  sigaltstack(&alternate, 0);
  struct sigaction action = {.sa_sigaction = on_exception, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigfillset(&action.sa_mask);
  int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGALRM, SIGSYS};
  for (u32 i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &action, 0);
  struct itimerval tick = {{0, 20000}, {0, 20000}};
  if (input < input_end) {
    setitimer(ITIMER_REAL, &tick, 0);
    /* This exception launches the first case; the handler of the last case returns here. */
    __asm__ volatile("int3" ::: "memory");
    tick = (struct itimerval){{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &tick, 0);
  }
  int out = open(arguments[2], O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (out < 0) return perror(arguments[2]), 1;
  for (u8 *at = (u8 *)results; at < (u8 *)output;) {
    ssize_t written = write(out, at, (u8 *)output - at);
    if (written <= 0) return perror("write"), 1;
    at += written;
  }
  return 0;
}
