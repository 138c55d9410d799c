/* The records that the oracle drivers and both runners exchange; see oracle-records.ts. All words are little-endian 32-bit. */
#ifndef ORACLE_RECORD_H
#define ORACLE_RECORD_H

typedef unsigned int u32;
typedef unsigned char u8;

struct case_record {
  u32 words; /* of this record, patches included */
  u32 registers[8], eip, eflags, selectors[6] /* ES CS SS DS FS GS */;
  u32 cr0, cr3, cr4, efer, sysenter_cs, sysenter_esp, sysenter_eip;
  u32 patch_count; /* each: offset in the arena, length, bytes padded to a word */
};

struct result_record {
  u32 vector, error, cr2;
  u32 registers[8], eip, eflags, selectors[6];
  u32 cr0, cr4, dr6, tr, gdtr_base, gdtr_limit, idtr_base, idtr_limit;
  u32 change_count; /* each: offset in the arena, length, bytes padded to a word */
};

enum { ARENA_BASE = 0x400000, ARENA_BYTES = 26 * 0x1000, LDT = 0x400, TSS = 0x1000, TSS2 = 0x1400, CAPTURE = 0xb000, CODE = 0x10000, DATA = 0x12000 };
enum { CODE_LINEAR = 0x20000000, DATA_LINEAR = 0x30000000, CODE_BYTES = 0x2000, DATA_BYTES = 0x4000 };
enum { VECTOR_SHUTDOWN = 0x100, VECTOR_TIMEOUT = 0x101, INITIAL_CR2 = (int)0xc0dec0de };

/* Appends the runs of bytes in which `now` differs from `before` and makes them equal again; returns the new end of the output. */
static inline u32 *append_changes(u32 *out, u32 *count, u8 *now, const u8 *before, u32 offset, u32 bytes) {
  for (u32 at = 0; at < bytes;) {
    if (at % 4 == 0 && *(u32 *)(now + at) == *(const u32 *)(before + at)) {
      at += 4;
      continue;
    }
    if (now[at] == before[at]) {
      at++;
      continue;
    }
    u32 end = at;
    while (end < bytes && now[end] != before[end]) end++;
    u32 length = end - at, words = (length + 3) / 4;
    out[0] = offset + at;
    out[1] = length;
    u8 *copy = (u8 *)(out + 2);
    for (u32 i = 0; i < length; i++) copy[i] = now[at + i], now[at + i] = before[at + i];
    out += 2 + words;
    ++*count;
    at = end;
  }
  return out;
}
#endif
