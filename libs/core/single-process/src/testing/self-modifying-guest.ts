import { Assembler, randomFrom, type Random } from './assembler.js';

/**
 * Guests that change the code they run and the tables it is mapped by: stores of every size and kind into their own unit, the next instruction and
 * other units, across page ends, by REP MOVS, by the stack and by instructions that ring -1 emulates; through one mapping while it runs
 * through another; pages of code remapped, made read-only or taken away, with INVLPG, with a reload of CR3 or with nothing; two
 * address spaces, large and global pages, CR0.WP and CR4.PGE; all while a timer ticks, with single-stepping, INT3 put into code and
 * taken out, faults in the middle, in ring 0 and ring 3, with two-level tables and PAE.
 *
 * Code is a row of 64-byte slots in four frames. A slot begins with bytes that others may patch, does what it does and goes on at another slot of its page,
 * or anywhere by an indirect transfer. An exception that is not resumed goes on at the next target of a list. Every event is logged in
 * memory: EIP, CS, EFLAGS, error code, CR2. A guest never ends: the caller says how far.
 */
export interface SelfModifyingGuest { image: Uint8Array; memoryMiB: number }

const LOAD = 0x10_0000, GDT = 0x11_0000, IDT = 0x11_0800, TSS = 0x11_1000, POINTERS = [0x11_2000, 0x11_2020];
/** Per address space: the directory of the identity map and, under PAE, that of the windows; with 32-bit paging the first is both. */
const DIRECTORIES = [[0x11_3000, 0x11_4000], [0x11_5000, 0x11_6000]] as const;
const IDENTITY_TABLES = [0x11_7000, 0x11_8000], WINDOW_TABLES = [0x11_9000, 0x11_a000];
const VARIABLES = 0x11_c000, LOG_AT = VARIABLES, TARGET_AT = VARIABLES + 4, STEPS_LEFT = VARIABLES + 8, TICKS = VARIABLES + 12;
const KERNEL_STACK = 0x11_e000, USER_STACK = 0x12_0000, TARGETS = 0x12_1000, TARGET_COUNT = 256, LOG = 0x12_4000, LOG_BYTES = 0x4000;
const DATA = 0x13_0000, ARENA = 0x14_0000, FRAMES = 4, IMAGE_END = ARENA + FRAMES * 4096;
const WINDOWS = 0x4000_0000, LARGE_WINDOW = 0x4040_0000;
/** Pages of the window region: 0–3 the arena in order, 4–7 in another, 8–11 at random, 12 data, 13 nothing. */
const WINDOW_PAGES = 14, DATA_PAGE = 12, HOLE = 13;
const SLOT = 64, SLOTS = 4096 / SLOT;
/** Of the last slot's instruction that crosses into the next page: what lies in the first. */
const CROSSING_AT = 0xffd;
/** One-byte instructions that a patch may put in place of another. */
const HARMLESS = [0x40, 0x41, 0x42, 0x43, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x4b, 0x4e, 0x4f, 0x90, 0x91, 0x92, 0x93, 0x96, 0x97, 0x98, 0x99, 0x9e, 0x9f, 0xf5, 0xf8, 0xf9, 0x27, 0x2f, 0x37, 0x3f];
const USER_CODE = 0x1b, USER_DATA = 0x23;
const IF = 0x200, TF = 0x100, NT = 0x4000;

interface Scene { readonly asm: Assembler; readonly random: Random; readonly pae: boolean; readonly global: number }

const word = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];

export function selfModifyingGuest(seed: number): SelfModifyingGuest {
  const random = randomFrom(seed * 13 + 5);
  const asm = new Assembler(LOAD, IMAGE_END);
  const scene: Scene = { asm, random, pae: seed % 2 === 1, global: seed % 3 === 0 ? 0x100 : 0 };
  tables(scene);
  boot(scene);
  if (asm.at > GDT) throw new Error('the handlers are too long');
  for (let at = DATA; at < DATA + 0x1000; at += 4) asm.put(at, random(2 ** 31));
  for (let frame = 0; frame < FRAMES; frame++) for (let slot = 0; slot < SLOTS; slot++) emitSlot(scene, frame, slot);
  for (let n = 0; n < TARGET_COUNT; n++) asm.put(TARGETS + n * 8, slotAddress(scene), targetFlags(scene));
  return { image: asm.bytes, memoryMiB: 4 };
}

const entrySize = ({ pae }: Scene): number => (pae ? 8 : 4);
const directoryEntry = ({ pae }: Scene, space: number, linear: number): number =>
  pae ? DIRECTORIES[space]![linear < WINDOWS ? 0 : 1] + ((linear >>> 21) & 0x1ff) * 8 : DIRECTORIES[space]![0] + (linear >>> 22) * 4;

function tables(scene: Scene): void {
  const { asm, random, pae, global } = scene;
  asm.put(GDT, 0, 0, 0xffff, 0xcf9b00, 0xffff, 0xcf9300, 0xffff, 0xcffb00, 0xffff, 0xcff300, ((TSS & 0xffff) << 16) | 0x67, 0x8900 | (TSS >>> 16));
  asm.put(TSS + 4, KERNEL_STACK, 0x10);
  const size = entrySize(scene);
  for (let page = 0; page < 1024; page++) asm.put((pae ? IDENTITY_TABLES[page >> 9]! + (page & 0x1ff) * 8 : IDENTITY_TABLES[0]! + page * 4), (page * 4096 | 7 | global) >>> 0);
  for (const table of WINDOW_TABLES) {
    for (let page = 0; page < WINDOW_PAGES; page++) {
      const frame = page < 4 ? page : page < 8 ? (page ^ (table === WINDOW_TABLES[0] ? 1 : 3)) & 3 : random(FRAMES);
      asm.put(table + page * size, page === HOLE ? 0 : page === DATA_PAGE ? DATA | 7 : (ARENA + frame * 4096) | (page < 8 ? 7 : randomFlags(scene)));
    }
  }
  for (const [space, [identity, region]] of DIRECTORIES.entries()) {
    if (pae) asm.put(POINTERS[space]!, identity | 1, 0, region | 1, 0, 0, 0, 0, 0);
    for (let half = 0; half < (pae ? 2 : 1); half++) asm.put(identity + half * size, IDENTITY_TABLES[half]! | 7);
    asm.put(directoryEntry(scene, space, WINDOWS), WINDOW_TABLES[space]! | 7);
    asm.put(directoryEntry(scene, space, LARGE_WINDOW), 0x87);
  }
}

/** Rights, marks and the global bit of a page of code. */
function randomFlags({ random, global }: Scene): number {
  return (random(8) === 0 ? 0 : 1) | (random(4) === 0 ? 0 : 2) | (random(4) === 0 ? 0 : 4) | (random(2) << 5) | (random(2) << 6) | (random(3) === 0 ? global : 0);
}

function boot(scene: Scene): void {
  const { asm, random, pae, global } = scene;
  asm.byte(0xe9);
  const jump = asm.at;
  asm.word(0);
  const handlers = emitHandlers(scene);
  for (const [vector, address] of handlers) asm.put(IDT + vector * 8, 0x8_0000 | (address & 0xffff), (address & 0xffff_0000) | (vector === 0x30 || vector === 3 || vector === 4 ? 0xee00 : 0x8e00));
  const gdtr = asm.at, idtr = asm.at + 6;
  asm.byte(0x2f, 0, ...word(GDT), 0xff, 7, ...word(IDT));
  asm.put(jump, asm.at - jump - 4);
  asm.byte(0xbc, ...word(KERNEL_STACK), 0x0f, 0x01, 0x15, ...word(gdtr), 0x0f, 0x01, 0x1d, ...word(idtr));
  asm.byte(0xea, ...word(asm.at + 7), 0x08, 0);
  asm.byte(0x66, 0xb8, 0x10, 0, 0x8e, 0xd0, 0x66, 0xb8, USER_DATA, 0, 0x8e, 0xd8, 0x8e, 0xc0); // ss kernel's, ds and es the applications'
  asm.byte(0x66, 0xb8, 0x28, 0, 0x0f, 0x00, 0xd8); // ltr
  asm.store(LOG_AT, LOG);
  // Vectors from 0x20 on, the timer's line alone (8259A); the timer in mode 2 (8254).
  for (const [port, value] of [[0x20, 0x11], [0x21, 0x20], [0x21, 4], [0x21, 1], [0x21, 0xfe], [0x43, 0x34], [0x40, 2 + random(5)], [0x40, 0]] as const) asm.byte(0xb0, value, 0xe6, port);
  asm.eax((pae ? 0x20 : 0x10) | (global === 0 ? 0 : 0x80));
  asm.byte(0x0f, 0x22, 0xe0);
  asm.eax(pae ? POINTERS[0]! : DIRECTORIES[0][0]);
  asm.byte(0x0f, 0x22, 0xd8);
  asm.eax(random(3) === 0 ? 0x8000_0011 : 0x8001_0011);
  asm.byte(0x0f, 0x22, 0xc0, 0xcd, 0x30);
}

const hasErrorCode = (vector: number): boolean => vector === 8 || (vector >= 10 && vector <= 14) || vector === 17;

/** All handlers log; #DB goes on some steps long, #BP puts the byte back, the timer mostly resumes; all else goes on at the next target. */
function emitHandlers({ asm }: Scene): Map<number, number> {
  const common: number[] = [];
  const handlers = new Map<number, number>();
  for (const vector of [...Array.from({ length: 20 }, (_, n) => n), 0x20, 0x30]) {
    handlers.set(vector, asm.at);
    if (!hasErrorCode(vector)) asm.byte(0x6a, 0);
    asm.byte(0x6a, vector, 0xe9);
    common.push(asm.at);
    asm.word(0);
  }
  for (const at of common) asm.put(at, asm.at - at - 4);
  asm.byte(0x50, 0x53, 0xfc, 0x66, 0xb8, USER_DATA, 0, 0x8e, 0xd8, 0x8e, 0xc0); // push eax, ebx; cld; ds, es
  asm.byte(0x8b, 0x1d, ...word(LOG_AT)); // mov ebx, [log]
  for (let n = 0; n < 5; n++) asm.byte(0x8b, 0x44, 0x24, 8 + 4 * n, 0x89, 0x43, 4 * n); // vector, error, EIP, CS, EFLAGS
  asm.byte(0x0f, 0x20, 0xd0, 0x89, 0x43, 20, 0x89, 0x63, 24); // CR2, ESP
  asm.byte(0x83, 0xc3, 32, 0x81, 0xe3, ...word(LOG_BYTES - 1), 0x81, 0xcb, ...word(LOG), 0x89, 0x1d, ...word(LOG_AT));
  asm.byte(0x8b, 0x44, 0x24, 8); // mov eax, [esp+8]: the vector
  const resumes: number[] = [], gives: number[] = [];
  const branch = (opcode: number, places: number[]): void => {
    asm.byte(0x0f, opcode);
    places.push(asm.at);
    asm.word(0);
  };
  const otherwise = (vector: number, body: () => void): void => {
    asm.byte(0x83, 0xf8, vector, 0x75, 0);
    const from = asm.at;
    body();
    asm.bytes[from - 1 - asm.load] = asm.at - from;
  };
  const jumpTo = (places: number[]): void => {
    asm.byte(0xe9);
    places.push(asm.at);
    asm.word(0);
  };
  otherwise(1, () => {
    asm.byte(0xff, 0x0d, ...word(STEPS_LEFT)); // dec
    branch(0x89, resumes); // jns
    asm.byte(0x81, 0x64, 0x24, 24, ...word(~TF), 0xc7, 0x05, ...word(STEPS_LEFT), ...word(5));
    jumpTo(resumes);
  });
  otherwise(3, () => {
    asm.byte(0x8b, 0x5c, 0x24, 16, 0x4b, 0xc6, 0x03, 0x90, 0x89, 0x5c, 0x24, 16); // mov ebx, [eip]; dec ebx; mov byte [ebx], nop; back to it
    jumpTo(resumes);
  });
  otherwise(0x20, () => {
    asm.byte(0xb0, 0x20, 0xe6, 0x20, 0xff, 0x05, ...word(TICKS), 0xf6, 0x05, ...word(TICKS), 3); // end of interrupt; inc; test byte [ticks], 3
    branch(0x84, gives);
    jumpTo(resumes);
  });
  for (const at of gives) asm.put(at, asm.at - at - 4);
  // The next target: eip, then eflags, bit 31 of it for ring 3.
  asm.byte(0xa1, ...word(TARGET_AT), 0x83, 0xc0, 8, 0x25, ...word(TARGET_COUNT * 8 - 1), 0xa3, ...word(TARGET_AT));
  asm.byte(0x8b, 0x98, ...word(TARGETS + 4), 0x8b, 0x80, ...word(TARGETS), 0xbc, ...word(KERNEL_STACK), 0x85, 0xdb, 0x78, 5); // js ring 3
  asm.byte(0x53, 0x6a, 0x08, 0x50, 0xcf);
  asm.byte(0x81, 0xe3, ...word(0x7fff_ffff), 0x6a, USER_DATA, 0x68, ...word(USER_STACK), 0x53, 0x6a, USER_CODE, 0x50, 0xcf);
  for (const at of resumes) asm.put(at, asm.at - at - 4);
  asm.byte(0x5b, 0x58, 0x83, 0xc4, 8, 0xcf);
  return handlers;
}

function targetFlags({ random }: Scene): number {
  return random(3) === 0 ? (0x8000_0002 | IF | (random(12) === 0 ? TF : 0)) >>> 0 : flagsImage(random) & ~NT;
}

const flagsImage = (random: Random): number => 2 | (random(3) === 0 ? 0 : IF) | (random(8) === 0 ? TF : 0) | (random(16) === 0 ? NT : 0) | (random(0x1000) & 0x8d5);

/** A window or the identity map, and which page of it. */
function pageAddress({ random }: Scene): number {
  switch (random(8)) {
    case 0: return ARENA + random(FRAMES) * 4096;
    case 1: return LARGE_WINDOW + ARENA + random(FRAMES) * 4096;
    default: return WINDOWS + random(random(3) === 0 ? 12 : 8) * 4096;
  }
}

const slotAddress = (scene: Scene): number => pageAddress(scene) + (1 + scene.random(SLOTS - 1)) * SLOT;

function emitSlot(scene: Scene, frame: number, slot: number): void {
  const { asm, random } = scene;
  const page = ARENA + frame * 4096;
  const start = page + slot * SLOT, end = start + SLOT;
  asm.bytes.fill(0x90, start - LOAD, end - LOAD);
  asm.at = start;
  if (slot === 0) { // the rest of an instruction that begins in the page before
    asm.byte(random(256), random(256), 0xeb, SLOT - 4);
    return;
  }
  for (let n = 0; n < 4; n++) asm.byte(HARMLESS[random(HARMLESS.length)]!);
  asm.byte(0xb8 + [0, 1, 2, 3, 6, 7][random(6)]!, ...word(random(4) === 0 ? slotAddress(scene) : random(2 ** 31)));
  if (random(2) === 0) asm.byte(0xbc, ...word(KERNEL_STACK - 4 * random(32)));
  const limit = slot === SLOTS - 1 ? page + CROSSING_AT : end - 7;
  for (let tries = 0; tries < 5; tries++) {
    const bytes = operation(scene, frame, asm.at);
    if (asm.at + bytes.length <= limit) asm.byte(...bytes);
  }
  if (slot === SLOTS - 1) {
    asm.at = page + CROSSING_AT;
    asm.byte(0xb8 + random(4), random(256), random(256));
    return;
  }
  const near = (): number[] => word(page + (1 + random(SLOTS - 1)) * SLOT - (asm.at + 5));
  switch (random(10)) {
    case 0: break; // on into the next slot
    case 1: asm.byte(0xb8, ...word(slotAddress(scene)), 0xff, 0xe0); break;
    case 2: asm.byte(0x68, ...word(slotAddress(scene)), 0xc3); break;
    case 3: asm.byte(0xe8, ...near()); break;
    case 4: asm.byte(0xcd, 0x30); break;
    case 5: asm.byte(0xe9, ...word(random(4096 * FRAMES) - random(0x1000))); break;
    default: asm.byte(0xe9, ...near());
  }
}

/** An address whose bytes may be patched: the head of a slot mostly, the end of a page, or anything. */
function patchable(scene: Scene): number {
  const { random } = scene;
  const page = pageAddress(scene);
  switch (random(8)) {
    case 0: return page + 4096 - 1 - random(3);
    case 1: return page + random(4096);
    case 2: return page + (1 + random(SLOTS - 1)) * SLOT + 5;
    default: return page + (1 + random(SLOTS - 1)) * SLOT + random(4);
  }
}

function operation(scene: Scene, frame: number, at: number): number[] {
  const { random } = scene;
  const harmless = (): number => (random(24) === 0 ? random(256) : HARMLESS[random(HARMLESS.length)]!);
  const target = patchable(scene);
  switch (random(24)) {
    case 0: case 1: { // the very next instruction, through another mapping of its frame
      const alias = [ARENA, WINDOWS, LARGE_WINDOW + ARENA][random(3)]! + frame * 4096 + ((at + 7) & 0xfff);
      return [0xc6, 0x05, ...word(alias), random(20) === 0 ? 0xcc : harmless(), harmless()];
    }
    case 2: return [0xc6, 0x05, ...word(target), random(10) === 0 ? 0xcc : harmless()];
    case 3: return [0x66, 0xc7, 0x05, ...word(target), harmless(), harmless()];
    case 4: return [0xc7, 0x05, ...word(target), harmless(), harmless(), harmless(), harmless()];
    case 5: { // a block of code over another, perhaps over this
      const count = 1 + random(40);
      const to = random(3) === 0 ? ARENA + frame * 4096 + ((at & 0xfc0) | random(32)) : target;
      return [0xbe, ...word(slotAddress(scene)), 0xbf, ...word(to), 0xb9, ...word(count), 0xf3, random(4) === 0 ? 0xa5 : 0xa4];
    }
    case 6: return [0xb8, harmless(), harmless(), harmless(), harmless(), ...[[0xa3], [0x87, 0x05], [0x00, 0x05], [0x30, 0x05]][random(4)]!, ...word(target)];
    case 7: return [0xbc, ...word(target + 4), ...[[0x68, harmless(), harmless(), harmless(), harmless()], [0x9c], [0x1e], [0x60], [0xe8, 0, 0, 0, 0], [0xc8, 4, 0, 0]][random(6)]!, 0xbc, ...word(KERNEL_STACK)];
    case 8: return [...[[0x0f, 0x01, 0x05], [0x0f, 0x01, 0x25], [0x8c, 0x1d], [0x0f, 0x94, 0x05], [0x0f, 0xab, 0x05], [0x0f, 0xc7, 0x0d], [0x0f, 0xb1, 0x0d]][random(7)]!, ...word(target)];
    case 9: return [0x66, 0xba, 0x21, 0, 0xbf, ...word(target), 0x6c]; // insb from the interrupt mask
    case 10: case 11: return editWindow(scene);
    case 12: return random(2) === 0 ? editDirectory(scene) : loadCr3(scene, random(2));
    case 13: return [0x0f, 0x20, 0xc0, 0x35, ...word(0x1_0000), 0x0f, 0x22, 0xc0]; // CR0.WP
    case 14: return scene.global === 0 ? [0xfa] : [0x0f, 0x20, 0xe0, 0x34, 0x80, 0x0f, 0x22, 0xe0]; // CR4.PGE
    case 15: return [0x68, ...word(flagsImage(random)), 0x9d];
    case 16: return [[0xfb], [0xfa], [0x9c, 0x58], [0xfb, 0xfa], [0xcc], [0x0f, 0x0b], [0xce], [0x0f, 0x31]][random(8)]!;
    case 17: return [[0x1e, 0x07], [0x66, 0xb8, USER_DATA, 0, 0x8e, 0xe0], [0x0e, 0x58], [0x16, 0x17], [0x8c, 0xd8], [0x06, 0x0f, 0xa1]][random(6)]!;
    case 18: case 19: return [...[[0xa1], [0xa3], [0x8b, 0x0d], [0x01, 0x05], [0xff, 0x35]][random(5)]!, ...word(WINDOWS + (DATA_PAGE + random(2)) * 4096 + random(64) * 4)];
    case 20: { // what reads the stack first, where there is none; an exception's frame goes below
      const pops = [[0x9d], [0xc3], [0xcf], [0x07], [0x61], [0x58], [0xc9], [0xca, 4, 0], [0x8f, 0x05, ...word(DATA)]][random(9)]!;
      return [0xbc, ...word(WINDOWS + HOLE * 4096 - random(3)), ...pops, 0xbc, ...word(KERNEL_STACK)];
    }
    case 21: return [0x68, ...word(flagsImage(random) & ~NT), 0x6a, 0x08, 0x68, ...word(slotAddress(scene)), 0xcf];
    case 22: return clearMarks(scene);
    default: return [harmless(), harmless()];
  }
}

function loadCr3({ pae }: Scene, space: number): number[] {
  return [0xb8, ...word(pae ? POINTERS[space]! : DIRECTORIES[space]![0]), 0x0f, 0x22, 0xd8];
}

/** INVLPG, a reload of CR3, or once in a while nothing. */
function flush({ random }: Scene, linear: number): number[] {
  if (random(12) === 0) return [];
  return random(4) === 0 ? [0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8] : [0x0f, 0x01, 0x3d, ...word(linear)];
}

const windowEntry = (scene: Scene, page: number): number => WINDOW_TABLES[scene.random(2)]! + page * entrySize(scene);

function editWindow(scene: Scene): number[] {
  const { random } = scene;
  const page = random(12);
  return [0xc7, 0x05, ...word(windowEntry(scene, page)), ...word((ARENA + random(FRAMES) * 4096) | randomFlags(scene)), ...flush(scene, WINDOWS + page * 4096)];
}

function editDirectory(scene: Scene): number[] {
  const { random } = scene;
  const large = 0x80 | 0x61 | (random(4) === 0 ? 0 : 2) | (random(4) === 0 ? 0 : 4);
  return [0xc7, 0x05, ...word(directoryEntry(scene, random(2), LARGE_WINDOW)), ...word(random(4) === 0 ? WINDOW_TABLES[0]! | 7 : large), 0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8];
}

/** The accessed and dirty bits of a page of code: a fetch or store sets them again. */
function clearMarks(scene: Scene): number[] {
  const page = scene.random(13);
  return [0x83, 0x25, ...word(windowEntry(scene, page)), 0x9f, ...flush(scene, WINDOWS + page * 4096)];
}
