import { flatImage, FLAT_LOAD_ADDRESS } from './flat-image.js';

/** Where the application puts what it has learnt, and how much that is: 12 bytes a selector, then what SELECTOR_SAMPLES loads and the rest showed. */
export const PROBE_RESULTS = 0x20_0000;
export const PROBE_RESULT_BYTES = 0xe_0000;
/** Results of one selector: LAR's and LSL's register, and ZF of LAR, LSL, VERR, VERW. */
export const SELECTOR_RESULT_BYTES = 12;
/** Behind those of all selectors: SGDT, SIDT (6 bytes each), then words: SLDT, STR, SMSW, PUSHF, CS, SS, DS, and what CPUID says. */
export const TABLE_RESULTS = PROBE_RESULTS + 0x1_0000 * SELECTOR_RESULT_BYTES;

const CODE0 = 0x08, DATA0 = 0x10, CODE3 = 0x1b, DATA3 = 0x23, TSS = 0x28, LDT = 0x30;
const STACK0 = 0x1f_0000, STACK3 = 0x1e_0000, VARIABLES = 0x1d_0000;
const FLAT = 0x00cf_0000;

/** All that a descriptor table may hold, as second words: types, levels, present or not, accessed or not. */
function variety(): [number, number][] {
  const words: [number, number][] = [];
  for (let dpl = 0; dpl < 4; dpl++) {
    const level = dpl << 13;
    for (const type of [0x10, 0x11, 0x12, 0x13, 0x15, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f]) words.push([0xffff, FLAT | 0x8000 | level | (type << 8)]);
    words.push([0x1234, 0x0040_f300 & ~0x6000 | level], [0xffff, FLAT | 0x1300 | level]); // with a limit; not present
    // System descriptors: TSS, LDT, call gates (of no code that is there), task gates, gates of an IDT, types that do not exist.
    for (let type = 0; type < 16; type++) words.push([type === 4 || type === 5 || type === 12 ? 0x4000_0000 : 0x0067, 0x0010_8000 | level | (type << 8)]);
  }
  return words;
}

/**
 * A guest whose application asks about everything that it can reach, and writes the answers down: LAR, LSL, VERR and VERW of all 65,536 selectors, the five instructions
 * that UMIP is for, flags and selectors, and memory through ES, FS and GS loaded with the selectors of the guest's tables and around their ends and the monitor's.
 */
export function probingGuest(): Uint8Array {
  const code: number[] = [];
  const at = (): number => FLAT_LOAD_ADDRESS + 32 + code.length;
  const little = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
  const emit = (...bytes: number[]): void => { code.push(...bytes); };
  const word = (value: number): void => emit(...little(value));
  const patch = (address: number, value: number): void => little(value).forEach((byte, n) => { code[address - FLAT_LOAD_ADDRESS - 32 + n] = byte; });
  const table = (entries: readonly (readonly [number, number])[]): number => {
    while (at() % 8 !== 0) emit(0x90);
    const base = at();
    for (const [low, high] of entries) { word(low); word(high); }
    return base;
  };
  const based = (base: number, limit: number, type: number): [number, number] => [((base & 0xffff) << 16) | limit, (base & 0xff00_0000) | 0x8000 | (type << 8) | ((base >>> 16) & 0xff)];

  emit(0xe9); // jmp start
  const start = at();
  word(0);
  const handler = at();
  emit(0x58, 0x0d, 0x00, 0x00, 0xad, 0xde, 0x89, 0x2c, 0x24, 0xcf); // pop eax; or eax, 0xdead0000; mov [esp], ebp; iret
  const powerOff = at();
  emit(0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x20, 0x66, 0xef, 0xfa, 0xf4);
  const tss = at();
  for (let n = 0; n < 26; n++) word(n === 1 ? STACK0 : n === 2 ? DATA0 : n === 25 ? 0x68_0000 : 0);
  const ldt = table([[0, 0], ...variety()]);
  const ldtLimit = at() - ldt - 1;
  const gdt = table([
    [0, 0], [0xffff, FLAT | 0x9b00], [0xffff, FLAT | 0x9300], [0xffff, FLAT | 0xfb00], [0xffff, FLAT | 0xf300], based(tss, 103, 9), based(ldt, ldtLimit, 2), [0xffff, FLAT | 0xf300], ...variety(),
  ]);
  const gdtLimit = at() - gdt - 1;
  const idt = table(Array.from({ length: 0x41 }, (_, vector): [number, number] => {
    const entry = vector === 0x40 ? powerOff : handler;
    return [(CODE0 << 16) | (entry & 0xffff), (entry & 0xffff_0000) | (vector === 0x40 ? 0xee00 : 0x8e00)];
  }));
  const pseudo = (base: number, limit: number): number => {
    const here = at();
    emit(limit & 0xff, limit >>> 8);
    word(base);
    return here;
  };
  const gdtr = pseudo(gdt, gdtLimit), idtr = pseudo(idt, 0x41 * 8 - 1);

  patch(start, at() - (start + 4));
  emit(0xbc); word(STACK0);
  emit(0x0f, 0x01, 0x15); word(gdtr);
  emit(0x0f, 0x01, 0x1d); word(idtr);
  emit(0xea); word(at() + 6); emit(CODE0, 0);
  emit(0x66, 0xb8, DATA0, 0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0x8e, 0xe0, 0x8e, 0xe8);
  emit(0x66, 0xb8, LDT, 0, 0x0f, 0x00, 0xd0, 0x66, 0xb8, TSS, 0, 0x0f, 0x00, 0xd8); // lldt ax; ltr ax
  emit(0x6a, DATA3, 0x68); word(STACK3);
  emit(0x68); word(0x202);
  emit(0x6a, CODE3, 0x68); const application = at(); word(0);
  emit(0x66, 0xb8, DATA3, 0, 0x8e, 0xd8, 0x8e, 0xc0, 0xcf);

  patch(application, at());
  emit(0xbf); word(PROBE_RESULTS);
  emit(0x31, 0xf6); // xor esi, esi
  const each = at();
  const unknown = (): void => { emit(0xb8); word(0x5a5a_5a5a); };
  unknown();
  emit(0x0f, 0x02, 0xc6, 0x0f, 0x94, 0x47, 0x08, 0x89, 0x07); // lar eax, esi; setz [edi+8]; mov [edi], eax
  unknown();
  emit(0x0f, 0x03, 0xc6, 0x0f, 0x94, 0x47, 0x09, 0x89, 0x47, 0x04); // lsl eax, esi; setz [edi+9]; mov [edi+4], eax
  emit(0x0f, 0x00, 0xe6, 0x0f, 0x94, 0x47, 0x0a, 0x0f, 0x00, 0xee, 0x0f, 0x94, 0x47, 0x0b); // verr si; setz [edi+10]; verw si; setz [edi+11]
  emit(0x83, 0xc7, SELECTOR_RESULT_BYTES, 0x46, 0x81, 0xfe); word(0x1_0000);
  emit(0x0f, 0x82); word(each - (at() + 4)); // jb

  emit(0x0f, 0x01, 0x07, 0x0f, 0x01, 0x4f, 0x06, 0x83, 0xc7, 0x0c); // sgdt [edi]; sidt [edi+6]; add edi, 12
  for (const show of [[0x0f, 0x00, 0xc0], [0x0f, 0x00, 0xc8], [0x0f, 0x01, 0xe0], [0x9c, 0x58], [0x8c, 0xc8], [0x8c, 0xd0], [0x8c, 0xd8]]) { // sldt str smsw; pushf, pop; cs ss ds
    emit(0x31, 0xc0, ...show, 0xab); // xor eax, eax; …; stosd
  }
  for (const leaf of [0, 1, 0x8000_0000, 0x4000_0000]) {
    emit(0xb8); word(leaf);
    emit(0x0f, 0xa2, 0xab, 0x89, 0xd8, 0xab, 0x89, 0xc8, 0xab, 0x89, 0xd0, 0xab); // cpuid; eax ebx ecx edx
  }
  // Where a fault goes on at EBP: EAX has its error code then.
  const guarded = (...bytes: number[]): void => {
    emit(0xbd); word(at() + 4 + bytes.length);
    emit(...bytes);
  };
  const last = gdtLimit + 24, lastLocal = ldtLimit + 24;
  for (const [from, to] of [[0, Math.max(last, lastLocal)], [0xff80, 0x1_0000]] as const) {
    emit(0xbe); word(from);
    const again = at();
    // mov fs, si; fs:[0]; mov gs, si; gs:[a]. ES is for STOSD.
    for (const [load, store, override] of [[[0x8e, 0xe6], [0x8c, 0xe0], 0x64], [[0x8e, 0xee], [0x8c, 0xe8], 0x65]] as const) {
      emit(0x31, 0xc0);
      guarded(...load);
      emit(0xab, ...store, 0xab);
      for (const address of [0, FLAT_LOAD_ADDRESS, 0x1fff, 0x7fff_f000, 0xffff_fffc]) {
        guarded(override, 0xa1, ...little(address));
        emit(0xab);
      }
      guarded(override, 0xc7, 0x05, ...little(VARIABLES), ...little(1)); // a write
      emit(0xab);
    }
    emit(0x46, 0x81, 0xfe); word(to);
    emit(0x0f, 0x82); word(again - (at() + 4));
  }
  emit(0xcd, 0x40);
  return flatImage(Uint8Array.from(code));
}
