/* What start.S, kernel.c and the exercises share. Everything an exercise sees goes into one running hash (FNV-1a), so that it ends in one number. */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

enum vector { DE = 0, DB = 1, BP = 3, OF = 4, BR = 5, UD = 6, NM = 7, NP = 11, SS = 12, GP = 13, PF = 14, TIMER = 32, CALL = 48, KERNEL_ONLY = 50 };

/* Selectors (kernel.c, tables). */
#define KERNEL_CODE 0x08
#define KERNEL_DATA 0x10
#define USER_CODE 0x1b
#define USER_DATA 0x23
#define TASK_STATE 0x28
#define RING1_GATE 0x33
#define LOCAL_TABLE 0x38
#define RING1_CODE 0x41
#define RING1_DATA 0x49
#define CONFORMING 0x50
#define CODE16_USER 0x5b
#define CODE16_KERNEL 0x60
#define ABSENT 0x68
#define KERNEL_GATE 0x73
#define LOCAL_DATA 0x0f

struct trap {
    u32 gs, fs, es, ds, edi, esi, ebp, esp_here, ebx, edx, ecx, eax, vector, error, eip, cs, eflags, esp, ss;
};

void mix(u32 value);
void print(const char *text);

/* The vector that `code` raises, or 99 for none; vector, error code and, of a page fault, CR2 are in the hash. */
extern volatile u32 caught, resume_at;
#define CATCH(code) ({ caught = 99; asm volatile("movl $1f, resume_at\n\t" code "\n1: movl $0, resume_at" ::: "eax", "ebx", "ecx", "edx", "esi", "edi", "memory", "cc"); mix(caught); caught; })

static inline void out8(u16 port, u8 value) { asm volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
static inline u8 in8(u16 port) { u8 value; asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port)); return value; }
static inline u32 flags(void) { u32 value; asm volatile("pushf\n\tpop %0" : "=r"(value)); return value; }
static inline u32 call(u32 function, u32 argument) { u32 result; asm volatile("int $48" : "=a"(result) : "a"(function), "b"(argument) : "memory"); return result; }

/* System calls of applications: leave ring 3, put a value into the hash, take another IOPL, yield to the next application. */
enum { LEAVE, MIX, SET_IOPL, YIELD };

void in_ring3(void (*application)(void));
void in_ring3_together(void (*application)(u32 number), u32 count);

extern volatile u32 ticks, debug_traps, task_switched_faults, breakpoints;
extern u32 directory[1024], table[4][1024];
extern u64 pointers[4], pae_directory[4][512], pae_table[512];
void use_two_level_paging(void);
void use_pae_paging(void);
void use_no_paging(void);
void flush_all(void);
static inline void flush(u32 linear) { asm volatile("invlpg (%0)" ::"r"(linear) : "memory"); }

/* A window of 16 KiB that is mapped on demand, a page fault a page. */
#define WINDOW 0x40000000u
extern u8 window_frames[4][4096];

/* start.S */
extern char sysenter_entry[], ring1_entry[], gate_entry[], code16[], conforming[];
u32 patch_and_run(u32 value);
void load_tables(void *gdtr, void *idtr);
__attribute__((noreturn)) void leave_ring3(void);
void enter_ring3(u32 eip, u32 esp, u32 eflags);
__attribute__((noreturn)) void resume(struct trap *frame);
void start_first(struct trap *frame);

struct exercise { const char *name; void (*run)(void); };
extern const struct exercise exercises[];
