import { Assembler, randomFrom, type Random } from './assembler.js';

/**
 * Guests that do nothing but enter and leave their kernel: applications that use INT n, INT3 and INTO through gates of both kinds, with any flags, prefixes and data segments, and a kernel that between
 * two of them changes what the way in and out depends on: gates in the IDT, their handlers, type, DPL and code segment; SS0 and ESP0, aligned or not, in a page or across two; descriptors; the TSS, the IDT, where they lie, and whether
 * the gates' page is mapped; accessed and dirty bits of the stack. It returns to ring 3 with all kinds of flags, and to ring 0. A timer ticks. Every
 * entry is logged in memory: frame, ESP, CR2. A guest never ends: the caller says how far.
 */
export interface SystemCallGuest { image: Uint8Array; memoryMiB: number }

const LOAD = 0x10_0000, GDT = 0x11_0000, TSS = 0x11_1100, SECOND_TSS = 0x11_1800, DIRECTORY = 0x11_3000, TABLE = 0x11_4000;
/** Vectors from 0x20 on lie in the next page. The second IDT is a copy elsewhere. */
const IDT = 0x11_5f00, GATES_PAGE = 0x11_6000, SECOND_IDT = 0x11_7000, IDT_BYTES = 0x400;
const VARIABLES = 0x11_8000, LOG_AT = VARIABLES, STEP_AT = VARIABLES + 4, TRAPS = VARIABLES + 8, NEXT_AT = VARIABLES + 12;
const KERNEL_STACK = 0x11_a000, SECOND_STACK = 0x11_c000, USER_STACK = 0x11_e000, ACTIONS = 0x12_1000, LOG = 0x13_0000, LOG_BYTES = 0x4000;
const KERNEL_CODE = 0x13_4000, USER_CODE = 0x14_0000, IMAGE_END = 0x15_0000;
const STEPS = 64, USER_BYTES = 0x100;
const USER_CS = 0x1b, USER_DS = 0x23;
const TRAP_CALL = 0x40, INTERRUPT_CALL = 0x41, KERNEL_CALL = 0x42, NARROW_CALL = 0x43, TIMER = 0x20;
const IF = 0x200, TF = 0x100;

const word = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];

interface Scene { readonly asm: Assembler; readonly random: Random; readonly entries: number[] }

export function systemCallGuest(seed: number): SystemCallGuest {
  const random = randomFrom(seed * 17 + 3);
  const asm = new Assembler(LOAD, IMAGE_END);
  const scene: Scene = { asm, random, entries: [] };
  asm.put(GDT, 0, 0, 0xffff, 0xcf9b00, 0xffff, 0xcf9300, 0xffff, 0xcffb00, 0xffff, 0xcff300, ...taskDescriptor(TSS));
  // Another code and data segment of ring 0, a short data segment of ring 3, another TSS.
  asm.put(GDT + 0x30, 0xffff, 0xcf9b00, 0xffff, 0xcf9300, 0x0fff, 0x40f300 | (USER_STACK >>> 16), ...taskDescriptor(SECOND_TSS));
  for (const tss of [TSS, SECOND_TSS]) asm.put(tss + 4, KERNEL_STACK, 0x10);
  for (let page = 0; page < 1024; page++) asm.put(TABLE + page * 4, (page << 12) | 7);
  asm.put(DIRECTORY, TABLE | 7);
  boot(scene);
  asm.at = KERNEL_CODE;
  handlers(scene);
  for (let step = 0; step < STEPS; step++) {
    asm.put(ACTIONS + step * 4, asm.at);
    kernelStep(scene);
  }
  if (asm.at > USER_CODE) throw new Error('the kernel is too long');
  for (let step = 0; step < STEPS; step++) userStep(scene, step);
  return { image: asm.bytes, memoryMiB: 4 };
}

const taskDescriptor = (base: number): [number, number] => [((base & 0xffff) << 16) | 0x67, 0x8900 | (base >>> 16)];
const gate = (handler: number, access: number, selector = 0x08): [number, number] => [((selector << 16) | (handler & 0xffff)) >>> 0, ((handler & 0xffff_0000) | access) >>> 0];

function boot({ asm }: Scene): void {
  asm.byte(0xe9);
  const jump = asm.at;
  asm.word(0);
  const gdtr = asm.at, idtr = asm.at + 6;
  asm.byte(0x4f, 0, ...word(GDT), (IDT_BYTES - 1) & 0xff, (IDT_BYTES - 1) >> 8, ...word(IDT));
  asm.put(jump, asm.at - jump - 4);
  asm.byte(0xbc, ...word(KERNEL_STACK), 0x0f, 0x01, 0x15, ...word(gdtr), 0x0f, 0x01, 0x1d, ...word(idtr));
  asm.byte(0xea, ...word(asm.at + 7), 0x08, 0);
  asm.byte(0x66, 0xb8, 0x10, 0, 0x8e, 0xd0, 0x66, 0xb8, USER_DS, 0, 0x8e, 0xd8, 0x8e, 0xc0, 0x66, 0xb8, 0x28, 0, 0x0f, 0x00, 0xd8);
  asm.store(LOG_AT, LOG);
  // Vectors from 0x20 on, the timer's line alone (8259A); the timer in mode 2 (8254).
  for (const [port, value] of [[0x20, 0x11], [0x21, 0x20], [0x21, 4], [0x21, 1], [0x21, 0xfe], [0x43, 0x34], [0x40, 3], [0x40, 0]] as const) asm.byte(0xb0, value, 0xe6, port);
  asm.eax(DIRECTORY);
  asm.byte(0x0f, 0x22, 0xd8);
  asm.eax(0x8001_0011);
  asm.byte(0x0f, 0x22, 0xc0);
  toUser(asm, () => asm.eax(USER_CODE));
}

/** Leave for ring 3 at the address that `target` puts into EAX, on a kernel stack that is empty. */
function toUser(asm: Assembler, target: () => void): void {
  target();
  asm.byte(0xbc, ...word(KERNEL_STACK), 0x6a, USER_DS, 0x68, ...word(USER_STACK), 0x68, ...word(IF | 2), 0x6a, USER_CS, 0x50, 0xcf);
}

const hasErrorCode = (vector: number): boolean => vector === 8 || (vector >= 10 && vector <= 14) || vector === 17;

/** The registers saved and the frame logged; then by vector. */
function handlers(scene: Scene): void {
  const { asm } = scene;
  const toCommon: number[] = [];
  const entry = (vector: number, access: number): number => {
    const at = asm.at;
    if (!hasErrorCode(vector)) asm.byte(0x6a, 0);
    asm.byte(0x6a, vector, 0xe9);
    toCommon.push(asm.at);
    asm.word(0);
    for (const idt of [IDT, SECOND_IDT]) asm.put(idt + vector * 8, ...gate(at, access));
    return at;
  };
  for (let vector = 0; vector < 20; vector++) entry(vector, vector === 3 || vector === 4 ? 0xef00 : 0x8e00);
  entry(TIMER, 0x8e00);
  // Two handlers of each system call, for the kernel to choose from.
  scene.entries.push(entry(TRAP_CALL, 0xef00), entry(TRAP_CALL, 0xef00), entry(INTERRUPT_CALL, 0xee00), entry(INTERRUPT_CALL, 0xee00));
  entry(KERNEL_CALL, 0x8e00);
  entry(NARROW_CALL, 0xee00);
  for (const at of toCommon) asm.put(at, asm.at - at - 4);
  asm.byte(0x60, 0x1e, 0x06, 0xfc, 0x66, 0xb8, USER_DS, 0, 0x8e, 0xd8, 0x8e, 0xc0); // pusha; push ds, es; cld
  asm.byte(0x8b, 0x1d, ...word(LOG_AT), 0x8d, 0x74, 0x24, 40, 0x89, 0xdf, 0xb9, ...word(7), 0xf3, 0xa5); // vector, error, EIP, CS, EFLAGS, and what may be ESP, SS
  asm.byte(0x89, 0x63, 28, 0x0f, 0x20, 0xd0, 0x89, 0x43, 32, 0x8c, 0x53, 36);
  asm.byte(0x83, 0xc3, 40, 0x81, 0xfb, ...word(LOG + LOG_BYTES - 64), 0x72, 5, 0xbb, ...word(LOG), 0x89, 0x1d, ...word(LOG_AT));
  asm.byte(0x8b, 0x44, 0x24, 40); // mov eax, [vector]
  const when = (vector: number, body: () => void): void => {
    asm.byte(0x3d, ...word(vector), 0x0f, 0x85);
    const from = asm.at;
    asm.word(0);
    body();
    asm.put(from, asm.at - from - 4);
  };
  const resume = (): void => asm.byte(0x07, 0x1f, 0x61, 0x83, 0xc4, 8, 0xcf);
  when(TIMER, () => {
    asm.byte(0xb0, 0x20, 0xe6, 0x20);
    resume();
  });
  when(1, () => { // traps go on for some steps
    asm.byte(0xff, 0x05, ...word(TRAPS), 0xf6, 0x05, ...word(TRAPS), 7, 0x75, 8, 0x81, 0x64, 0x24, 56, ...word(~TF));
    resume();
  });
  when(14, () => { // the gates' page is there again
    asm.store(TABLE + (GATES_PAGE >>> 12) * 4, GATES_PAGE | 7);
    resume();
  });
  const action = (): void => asm.byte(0xa1, ...word(STEP_AT), 0x40, 0x83, 0xe0, STEPS - 1, 0xa3, ...word(STEP_AT), 0xff, 0x24, 0x85, ...word(ACTIONS));
  for (const vector of [TRAP_CALL, INTERRUPT_CALL, 3, 4]) when(vector, action);
  // All else: the next application.
  toUser(asm, () => asm.byte(0xa1, ...word(NEXT_AT), 0x40, 0x83, 0xe0, STEPS - 1, 0xa3, ...word(NEXT_AT), 0xc1, 0xe0, 8, 0x05, ...word(USER_CODE)));
}

const userAddress = (random: Random): number => USER_CODE + random(STEPS) * USER_BYTES;

/** What the kernel does in one system call, and how it returns. The frame: ES DS, eight registers, vector, error, then at +48 EIP CS EFLAGS ESP SS. */
function kernelStep(scene: Scene): void {
  const { asm, random } = scene;
  for (let n = random(3); n > 0; n--) asm.byte(...kernelAction(scene));
  if (random(3) === 0) asm.byte(0xc7, 0x44, 0x24, 48, ...word(userAddress(random)));
  if (random(2) === 0) asm.byte(0xc7, 0x44, 0x24, 56, ...word(userFlags(random)));
  if (random(4) === 0) asm.byte(0xc7, 0x44, 0x24, 60, ...word(USER_STACK - random(64)));
  if (random(16) === 0) asm.byte(0xc7, 0x44, 0x24, 64, ...word([0x43, 0x10, 0x13, 0, 0x20][random(5)]!)); // another SS, mostly refused
  if (random(16) === 0) asm.byte(0xc7, 0x44, 0x24, 52, ...word([0x08, 0x18, 0x1a, 0x19, 0x09, 0x3b][random(6)]!)); // another CS
  asm.byte(0x07, 0x1f, 0x61, 0x83, 0xc4, 8);
  asm.byte(...[[0xcf], [0xcf], [0xcf], [0xcf], [0xcf], [0x65, 0xcf], [0xf3, 0xcf]][random(7)]!);
}

function userFlags(random: Random): number {
  const rare = (bit: number, one: number): number => (random(one) === 0 ? bit : 0);
  return (2 | (random(12) === 0 ? 0 : IF) | (random(0x1000) & 0x8d5) | rare(TF, 12) | rare(0x400, 4) | rare(0x1000 + random(3) * 0x1000, 24) | rare(0x4000, 32) | rare(0x1_0000, 6) | rare(0x4_0000, 6) | rare(0x20_0000, 6)) >>> 0;
}

function kernelAction({ random, entries }: Scene): number[] {
  const store = (address: number, value: number): number[] => [0xc7, 0x05, ...word(address), ...word(value)];
  const tss = random(2) === 0 ? TSS : SECOND_TSS;
  const stack = [KERNEL_STACK, SECOND_STACK, KERNEL_STACK - 4 * random(64), KERNEL_STACK - 0x1000 + random(0x60), SECOND_STACK - random(24)][random(5)]!;
  switch (random(18)) {
    case 0: case 1: case 2: return [...store(TSS + 4, stack), ...store(SECOND_TSS + 4, stack)];
    case 3: return [0x66, 0xc7, 0x05, ...word(tss + 8), random(2) === 0 ? 0x10 : 0x38, 0];
    case 4: case 5: { // a gate anew
      const interrupt = random(2);
      const [low, high] = gate(entries[interrupt * 2 + random(2)]!, (random(8) === 0 ? 0x8e00 : 0xee00) | (random(3) === 0 ? 0x100 : 0), random(4) === 0 ? 0x30 : 0x08);
      const at = (random(3) === 0 ? SECOND_IDT : IDT) + (TRAP_CALL + interrupt) * 8;
      return [...store(at, low), ...store(at + 4, high)];
    }
    case 6: return [0x80, 0x25, ...word(GDT + [0x08, 0x10, 0x30, 0x38, 0x18, 0x20][random(6)]! + 5), 0xfe]; // and: not accessed
    case 7: return [0x80, 0x35, ...word(GDT + [0x30, 0x38][random(2)]! + 6), 0x10]; // xor AVL
    case 8: { // the other TSS, or the same again
      const selector = random(2) === 0 ? 0x28 : 0x48;
      return [0x80, 0x25, ...word(GDT + selector + 5), 0xfd, 0x66, 0xb8, selector, 0, 0x0f, 0x00, 0xd8];
    }
    case 9: return [0x68, ...word(random(3) === 0 ? SECOND_IDT : IDT), 0x66, 0x68, (IDT_BYTES - 1) & 0xff, (IDT_BYTES - 1) >> 8, 0x0f, 0x01, 0x1c, 0x24, 0x83, 0xc4, 6];
    case 10: return [...store(TABLE + (GATES_PAGE >>> 12) * 4, GATES_PAGE | 6), 0x0f, 0x01, 0x3d, ...word(GATES_PAGE)];
    case 11: { // the stack's and the tables' accessed and dirty bits
      const page = [KERNEL_STACK - 0x1000, SECOND_STACK - 0x1000, KERNEL_STACK - 0x2000, GATES_PAGE, TSS & ~0xfff, USER_STACK - 0x1000][random(6)]!;
      return [0x83, 0x25, ...word(TABLE + (page >>> 12) * 4), 0x9f, 0x0f, 0x01, 0x3d, ...word(page)];
    }
    case 12: return [[0xfb], [0xfa], [0xfb, 0xfa], [0x9c, 0x9d], [0x0f, 0x06]][random(5)]!;
    case 13: return [0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8];
    case 14: { // IRET to itself
      const flags = 2 | (random(2) * IF) | (random(0x1000) & 0x8d5) | (random(6) === 0 ? 0x1_0000 : 0) | (random(6) === 0 ? 0x20_0000 : 0);
      return [0x68, ...word(flags), 0x6a, 0x08, 0xe8, 0, 0, 0, 0, 0x83, 0x04, 0x24, 5, 0xcf, 0xf9];
    }
    case 15: return [[0x66, 0xb8, 0x11, 0, 0x8e, 0xe0], [0x66, 0xb8, 0x43, 0, 0x8e, 0xe8], [0x31, 0xc0, 0x8e, 0xe0], [0x66, 0xb8, 0x10, 0, 0x8e, 0xe0]][random(4)]!;
    case 16: return [0xcd, [TRAP_CALL, 3][random(2)]!].concat([0x90]).slice(0, random(4) === 0 ? 2 : 0);
    default: return [0x40, 0x48];
  }
}

/** An application: some instructions, a way into the kernel, and on to the next. */
function userStep({ asm, random }: Scene, step: number): void {
  asm.at = USER_CODE + step * USER_BYTES;
  for (let round = 1 + random(3); round > 0; round--) {
    for (let n = random(4); n > 0; n--) asm.byte(...userInstruction(random));
    asm.byte(...entryInstruction(random));
  }
  asm.byte(0xe9, ...word(userAddress(random) - (asm.at + 5)));
}

function userInstruction(random: Random): number[] {
  switch (random(10)) {
    case 0: return [0xb8 + [0, 1, 2, 3, 5, 6, 7][random(7)]!, ...word(random(2 ** 31))];
    case 1: return [[0xf9], [0xf8], [0xf5], [0xfd], [0xfc]][random(5)]!;
    case 2: return [0x66, 0xb8, [USER_DS, 0x43, 0, 0x20][random(4)]!, 0, 0x8e, [0xd8, 0xc0, 0xe0, 0xe8][random(4)]!];
    case 3: return [0x9c, 0x58];
    case 4: return [0x68, ...word((random(0x1000) & 0x8d5) | 2 | (random(16) === 0 ? TF : 0)), 0x9d];
    case 5: return [0x50 + random(4)];
    case 6: return [0xb8, ...word(0x7fff_ffff), 0x05, ...word(random(3))];
    case 7: return [0xbc, ...word(USER_STACK - random(128))];
    case 8: return [0x01, 0xc3];
    default: return [0x90];
  }
}

function entryInstruction(random: Random): number[] {
  const call = (): number[] => [0xcd, random(3) === 0 ? INTERRUPT_CALL : TRAP_CALL];
  switch (random(14)) {
    case 0: return [0xcc];
    case 1: return [0xce];
    case 2: return [[0x66], [0xf2], [0x2e], [0x65, 0x67]][random(4)]!.concat(call());
    case 3: return random(3) === 0 ? [0xcd, [KERNEL_CALL, 13, 14, 0x83, 0x84, 0x70][random(6)]!] : call();
    case 4: return random(4) === 0 ? [0xf4] : call();
    default: return call();
  }
}

