import { Assembler } from './assembler.js';

/**
 * A guest that goes round and round through every kind of instruction that a translator cannot copy, and is disturbed at whatever boundary the
 * caller likes: a byte typed at its console interrupts it there. Its handler logs where it was (EIP, EFLAGS, ESP) and then, by `disturbance`,
 *
 *   none     does nothing more
 *   marks    clears accessed and dirty bits of all pages the round uses and reloads CR3: the next use of each is a hidden fault
 *   code     writes the interrupted instruction over itself, and a byte behind it
 *   remap    lets the page of code lead to another frame that holds the same
 *   absent   takes away the pages of data, and of the stack as far as an exception's frame does not go there (all of an application's): the page-fault
 *            handler brings them back
 *
 * With `step` it runs under EFLAGS.TF instead and every trap is such an event. The round runs in ring 0, or what of it an application may do in ring 3,
 * there with IOPL 0, or 3 (an application that binary translation has to translate).
 */
export type Disturbance = 'none' | 'marks' | 'code' | 'remap' | 'absent';
export interface DisturbedGuestOptions { readonly ring: 0 | 3; readonly iopl: 0 | 3; readonly disturbance: Disturbance; readonly step: boolean }
export interface DisturbedGuest {
  readonly image: Uint8Array;
  readonly memoryMiB: number;
  /** Linear addresses of the round's instructions. */
  readonly boundaries: readonly number[];
  /** Where events are logged: 32 bytes each (vector, error code, EIP, CS, EFLAGS, CR2, ESP, 0), guest-physical, as a ring. */
  readonly log: { readonly at: number; readonly bytes: number };
}

const LOAD = 0x10_0000, GDT = 0x11_0000, IDT = 0x11_0800, TSS = 0x11_1000, DIRECTORY = 0x11_3000, IDENTITY = 0x11_4000, WINDOW_TABLE = 0x11_5000;
const LOG_AT = 0x11_c000, KERNEL_STACK = 0x11_e000;
const CODE = [0x14_0000, 0x14_1000] as const, WINDOW = 0x4000_0000;
/** Window pages: the code, data, a stack that is popped from its first byte (what is pushed goes to the page before), and the round's own stack. */
const DATA = WINDOW + 0x2000, BELOW = WINDOW + 0x4000, POPPED = WINDOW + 0x5000, STACK_TOP = WINDOW + 0x8000, STACK = WINDOW + 0x7000;
const LOG = 0x12_0000, LOG_BYTES = 0x2_0000, IMAGE_END = 0x15_0000;
const USER_CODE = 0x1b, USER_DATA = 0x23, IF = 0x200, TF = 0x100;

const word = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
const windowEntry = (linear: number): number => WINDOW_TABLE + ((linear - WINDOW) >>> 12) * 4;

export function disturbedGuest({ ring, iopl, disturbance, step }: DisturbedGuestOptions): DisturbedGuest {
  const asm = new Assembler(LOAD, IMAGE_END);
  asm.put(GDT, 0, 0, 0xffff, 0xcf9b00, 0xffff, 0xcf9300, 0xffff, 0xcffb00, 0xffff, 0xcff300, ((TSS & 0xffff) << 16) | 0x67, 0x8900 | (TSS >>> 16));
  asm.put(TSS + 4, KERNEL_STACK, 0x10);
  asm.put(DIRECTORY, IDENTITY | 7);
  asm.put(DIRECTORY + (WINDOW >>> 22) * 4, WINDOW_TABLE | 7);
  for (let page = 0; page < 1024; page++) asm.put(IDENTITY + page * 4, page * 4096 | 7);
  asm.put(windowEntry(WINDOW), CODE[0] | 7);
  for (const [linear, frame] of [[DATA, 0x14_2000], [BELOW, 0x14_3000], [POPPED, 0x14_4000], [STACK, 0x14_5000]] as const) asm.put(windowEntry(linear), frame | 7);
  const image = 2 | IF | (iopl << 12) | (step ? TF : 0);
  boot(asm, ring, disturbance, image);
  if (asm.at > GDT) throw new Error('the handlers are too long');
  asm.at = CODE[0];
  const boundaries = new Round(asm, ring, image).emit();
  asm.bytes.copyWithin(CODE[1] - LOAD, CODE[0] - LOAD, CODE[0] - LOAD + 4096);
  return { image: asm.bytes, memoryMiB: 4, boundaries, log: { at: LOG, bytes: LOG_BYTES } };
}

/** `image`: EFLAGS of the round. */
function boot(asm: Assembler, ring: 0 | 3, disturbance: Disturbance, image: number): void {
  asm.byte(0xe9);
  const jump = asm.at;
  asm.word(0);
  for (const [vector, address] of handlers(asm, disturbance, takenAway(ring))) asm.put(IDT + vector * 8, 0x8_0000 | (address & 0xffff), (address & 0xffff_0000) | (vector === 0x30 || vector === 3 ? 0xee00 : 0x8e00));
  const gdtr = asm.at, idtr = asm.at + 6;
  asm.byte(0x2f, 0, ...word(GDT), 0xff, 7, ...word(IDT));
  asm.put(jump, asm.at - jump - 4);
  asm.byte(0xbc, ...word(KERNEL_STACK), 0x0f, 0x01, 0x15, ...word(gdtr), 0x0f, 0x01, 0x1d, ...word(idtr));
  asm.byte(0xea, ...word(asm.at + 7), 0x08, 0);
  asm.byte(0x66, 0xb8, 0x10, 0, 0x8e, 0xd0, 0x66, 0xb8, USER_DATA, 0, 0x8e, 0xd8, 0x8e, 0xc0, 0x66, 0xb8, 0x28, 0, 0x0f, 0x00, 0xd8);
  asm.store(LOG_AT, LOG);
  // Vectors from 0x20 on, the line of the UART alone (8259A); received data interrupts, with OUT2 (16550).
  for (const [port, value] of [[0x20, 0x11], [0x21, 0x20], [0x21, 4], [0x21, 1], [0x21, 0xef]] as const) asm.byte(0xb0, value, 0xe6, port);
  for (const [port, value] of [[0x3f9, 1], [0x3fc, 0x0b]] as const) asm.byte(0x66, 0xba, port & 0xff, port >> 8, 0xb0, value, 0xee);
  asm.eax(DIRECTORY);
  asm.byte(0x0f, 0x22, 0xd8);
  asm.eax(0x8001_0011);
  asm.byte(0x0f, 0x22, 0xc0);
  if (ring === 3) asm.byte(0x6a, USER_DATA, 0x68, ...word(STACK_TOP));
  else asm.byte(0xbc, ...word(STACK_TOP));
  asm.byte(0x68, ...word(image), 0x6a, ring === 3 ? USER_CODE : 0x08, 0x68, ...word(WINDOW), 0xcf);
}

const hasErrorCode = (vector: number): boolean => vector === 8 || (vector >= 10 && vector <= 14) || vector === 17;
const UART_VECTOR = 0x24, SKIP_UD = 6, SKIP_DE = 0;

/** Pages that `absent` takes away: an exception in ring 0 pushes its frame to the round's own stack. */
const takenAway = (ring: 0 | 3): readonly number[] => (ring === 3 ? [DATA, POPPED, BELOW, STACK] : [DATA, POPPED]);

function handlers(asm: Assembler, disturbance: Disturbance, pages: readonly number[]): Map<number, number> {
  const entries = new Map<number, number>();
  const common: number[] = [];
  for (const vector of [...Array.from({ length: 20 }, (_, n) => n), UART_VECTOR, 0x30]) {
    entries.set(vector, asm.at);
    if (!hasErrorCode(vector)) asm.byte(0x6a, 0);
    asm.byte(0x6a, vector, 0xe9);
    common.push(asm.at);
    asm.word(0);
  }
  for (const at of common) asm.put(at, asm.at - at - 4);
  // pusha; push ds, es; cld; ds = es = the applications' data
  asm.byte(0x60, 0x1e, 0x06, 0xfc, 0x66, 0xb8, USER_DATA, 0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8b, 0x1d, ...word(LOG_AT));
  for (let n = 0; n < 5; n++) asm.byte(0x8b, 0x44, 0x24, 40 + 4 * n, 0x89, 0x43, 4 * n);
  asm.byte(0x0f, 0x20, 0xd0, 0x89, 0x43, 20, 0x89, 0x63, 24);
  asm.byte(0x83, 0xc3, 32, 0x81, 0xe3, ...word(LOG_BYTES - 1), 0x81, 0xcb, ...word(LOG), 0x89, 0x1d, ...word(LOG_AT), 0x8b, 0x44, 0x24, 40);
  const ends: number[] = [];
  const when = (vector: number, body: () => void): void => {
    asm.byte(0x3d, ...word(vector), 0x0f, 0x85);
    const from = asm.at;
    asm.word(0);
    body();
    asm.byte(0xe9);
    ends.push(asm.at);
    asm.word(0);
    asm.put(from, asm.at - from - 4);
  };
  when(UART_VECTOR, () => {
    // Read all there is (LSR.DR), or the line never falls; end of interrupt.
    asm.byte(0x66, 0xba, 0xf8, 0x03, 0xec, 0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 1, 0x75, 0xf2, 0xb0, 0x20, 0xe6, 0x20);
    disturb(asm, disturbance, pages);
  });
  when(1, () => { disturb(asm, disturbance, pages); });
  when(14, () => {
    for (const page of pages) asm.byte(0x83, 0x0d, ...word(windowEntry(page)), 1); // or dword [entry], 1
  });
  // UD2 and DIV, two bytes each, are skipped.
  for (const vector of [SKIP_UD, SKIP_DE]) when(vector, () => { asm.byte(0x83, 0x44, 0x24, 48, 2); });
  for (const at of ends) asm.put(at, asm.at - at - 4);
  asm.byte(0x07, 0x1f, 0x61, 0x83, 0xc4, 8, 0xcf);
  return entries;
}

/** [esp+48] is the interrupted EIP. */
function disturb(asm: Assembler, disturbance: Disturbance, pages: readonly number[]): void {
  switch (disturbance) {
    case 'none': return;
    case 'marks':
      for (const page of [WINDOW, DATA, BELOW, POPPED, STACK]) asm.byte(0x83, 0x25, ...word(windowEntry(page)), 0x9f);
      asm.byte(0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8);
      return;
    case 'code':
      asm.byte(0x8b, 0x44, 0x24, 48, 0x8a, 0x18, 0x88, 0x18, 0x66, 0x8b, 0x58, 0x03, 0x66, 0x89, 0x58, 0x03);
      return;
    case 'remap':
      asm.byte(0x81, 0x35, ...word(windowEntry(WINDOW)), ...word(CODE[0] ^ CODE[1]), 0x0f, 0x01, 0x3d, ...word(WINDOW));
      return;
    case 'absent':
      for (const page of pages) asm.byte(0x83, 0x25, ...word(windowEntry(page)), 0xfe, 0x0f, 0x01, 0x3d, ...word(page));
      return;
    default: { const unreachable: never = disturbance; return unreachable; }
  }
}

/** The round itself. It runs in the window; where an instruction begins is noted. */
class Round {
  private readonly boundaries: number[] = [];
  /** `image`: EFLAGS with IF, and TF under single-stepping. */
  constructor(private readonly asm: Assembler, private readonly ring: 0 | 3, private readonly image: number) {}

  private get here(): number {
    return WINDOW + this.asm.at - CODE[0];
  }

  private one(...bytes: number[]): void {
    this.boundaries.push(this.here);
    this.asm.byte(...bytes);
  }

  /** A relative transfer over `bytes` more bytes. */
  private over(opcode: number[], bytes: number): void {
    this.one(...opcode, ...word(bytes));
  }

  emit(): number[] {
    const { ring } = this;
    this.flags();
    this.transfers();
    this.selectors();
    this.memory();
    this.popped();
    if (ring === 0) this.privileged();
    this.events();
    this.one(0xbc, ...word(STACK_TOP));
    this.boundaries.push(this.here);
    this.asm.byte(0xe9, ...word(WINDOW - this.here - 5));
    if (this.here > WINDOW + 0x1000) throw new Error('the round is longer than a page');
    return this.boundaries;
  }

  private flags(): void {
    this.one(0x9c);
    this.one(0x58);
    this.one(0x0d, ...word(0x8d5)); // or eax, the arithmetic flags
    this.one(0x50);
    this.one(0x9d);
    this.one(0x9c);
    this.one(0x66, 0x9c);
    this.one(0x66, 0x9d);
    this.one(0x59);
    this.one(0x9f);
    if (this.ring === 3) return;
    this.one(0xfa);
    this.one(0x9c);
    this.one(0x5a);
    this.one(0xfb);
    this.one(0x41);
    this.one(0xfa);
    this.one(0xfb);
    this.one(0xfa);
    this.one(0x68, ...word(this.image));
    this.one(0x9d);
    this.one(0x43);
    this.one(0x9c);
    this.one(0x81, 0x24, 0x24, ...word(~IF)); // and dword [esp], ~IF: TF stays
    this.one(0x9d);
    this.one(0xfb);
    this.one(0x90);
  }

  private transfers(): void {
    this.over([0xe8], 6); // call, to RET
    this.one(0x90);
    this.over([0xe9], 1); // behind RET
    const ret = this.here;
    this.one(0xc3);
    this.one(0xb8, ...word(ret));
    this.one(0xff, 0xd0); // call eax
    this.one(0xc7, 0x05, ...word(DATA), ...word(ret));
    this.one(0xff, 0x15, ...word(DATA)); // call [data]
    this.one(0x6a, 1);
    this.one(0xb9, ...word(3));
    this.one(0xe2, 0xfe); // loop $
    this.one(0xe3, 1); // jecxz
    this.one(0x90);
    this.one(0x85, 0xc9);
    this.over([0x0f, 0x84], 1); // jz, taken
    this.one(0x90);
    this.one(0x75, 0xfe); // jnz, not taken
    this.one(0x5a);
    const behind = this.here + 5 + 1;
    this.one(0x68, ...word(behind));
    this.one(0xc3); // ret to what follows
    const next = this.here + 5 + 2;
    this.one(0xb8, ...word(next));
    this.one(0xff, 0xe0);
    const last = this.here + 10 + 6;
    this.one(0xc7, 0x05, ...word(DATA + 8), ...word(last));
    this.one(0xff, 0x25, ...word(DATA + 8));
    this.one(0xc8, 8, 0, 0);
    this.one(0xc9);
    this.one(0x60);
    this.one(0x61);
  }

  private selectors(): void {
    for (const push of [0x06, 0x0e, 0x16, 0x1e]) {
      this.one(push);
      this.one(0x5a);
    }
    this.one(0x1e);
    this.one(0x07);
    this.one(0x06);
    this.one(0x0f, 0xa1);
    this.one(0x8c, 0xd8);
    this.one(0x8e, 0xc0);
    this.one(0x8c, 0x1d, ...word(DATA + 16));
    this.one(0x8e, 0x05, ...word(DATA + 16));
    this.one(0x16);
    this.one(0x17); // pop ss: its shadow
    this.one(0x42);
    this.one(0x8c, 0xd0);
    this.one(0x8e, 0xd0);
    this.one(0x89, 0xe2);
    this.one(0xc7, 0x05, ...word(DATA + 20), ...word(77));
    this.one(0xc7, 0x05, ...word(DATA + 24), ...word(USER_DATA));
    this.one(0xc4, 0x0d, ...word(DATA + 20)); // les ecx, [data]
  }

  private memory(): void {
    this.one(0xfc);
    this.one(0xbe, ...word(DATA + 64));
    this.one(0xbf, ...word(DATA + 128));
    this.one(0xb9, ...word(5));
    this.one(0xf3, 0xa4);
    this.one(0xb9, ...word(3));
    this.one(0xf3, 0xab);
    this.one(0x87, 0x0d, ...word(DATA + 32));
    this.one(0xf0, 0xff, 0x05, ...word(DATA + 36));
    this.one(0xff, 0x35, ...word(DATA + 36));
    this.one(0x8f, 0x05, ...word(DATA + 40));
    this.one(0xc6, 0x05, ...word(this.here + 7), 0x43); // the next instruction, as it is
    this.one(0x43);
  }

  /** What pops from a page that may be absent, while what an exception pushes goes to the page before. */
  private popped(): void {
    // An exception's frame must not lie over the words: the stack is elsewhere while they are written.
    const from = (bytes: number[], ...words: number[]): void => {
      this.one(0xbc, ...word(STACK_TOP));
      for (const [n, value] of words.entries()) this.one(0xc7, 0x05, ...word(POPPED + 4 * n), ...word(value));
      this.one(0xbc, ...word(POPPED));
      this.one(...bytes);
    };
    from([0x58], 5);
    from([0x07], USER_DATA);
    from([0x61], 1, 2, 3, 4, 5, 6, 7, 8);
    from([0xc3], this.here + 5 + 10 + 5 + 1);
    from([0xc2, 8, 0], this.here + 5 + 10 + 5 + 3);
    if (this.ring === 0) from([0xcf], this.here + 5 + 30 + 5 + 1, 0x08, this.image);
    if (this.ring === 0) from([0x17], 0x10);
    this.one(0xbc, ...word(STACK_TOP));
    this.one(0x9c);
    this.one(0x8f, 0x05, ...word(POPPED)); // the flags as they are, so that TF stays
    this.one(0xbc, ...word(POPPED));
    this.one(0x9d);
    this.one(0xbc, ...word(STACK_TOP));
  }

  private privileged(): void {
    this.one(0x9c);
    this.one(0x0e);
    this.one(0x68, ...word(this.here + 5 + 1));
    this.one(0xcf); // iret inside ring 0
    for (const modrm of [0x05, 0x0d, 0x25]) this.one(0x0f, 0x01, modrm, ...word(DATA + 48)); // sgdt, sidt, smsw
    this.one(0x0f, 0x00, 0x05, ...word(DATA + 56)); // sldt
    this.one(0x0f, 0x00, 0xc8); // str eax
    this.one(0x0f, 0x20, 0xd8);
    this.one(0x0f, 0x22, 0xd8);
    this.one(0x0f, 0x20, 0xc0);
    this.one(0x0f, 0x22, 0xc0);
    this.one(0x0f, 0x06); // clts
    this.one(0x0f, 0x01, 0x3d, ...word(DATA)); // invlpg
    this.one(0xe4, 0x21);
    this.one(0xe6, 0x80);
    this.one(0x31, 0xc0);
    this.one(0x0f, 0xa2); // cpuid
    this.one(0x66, 0xba, 0x21, 0);
    this.one(0xbf, ...word(DATA + 200));
    this.one(0xb9, ...word(3));
    this.one(0xf3, 0x6c); // rep insb
    this.one(0x9a, ...word(this.here + 9), 0x08, 0); // call far, to RETF
    this.one(0xeb, 1);
    this.one(0xcb);
  }

  private events(): void {
    this.one(0xcd, 0x30);
    this.one(0xcc);
    this.one(0x0f, 0x0b);
    this.one(0x31, 0xc9);
    this.one(0xf7, 0xf1); // div ecx, by 0
    this.one(0x90);
  }
}
