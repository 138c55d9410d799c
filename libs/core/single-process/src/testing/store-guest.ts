import { Assembler, randomFrom, type Random } from './assembler.js';

/**
 * Kernels of a few stores of every kind, in loops, whose targets move: for a while to page tables in use, then to ordinary memory, to both at once, across the end of a table, and back. Page-table
 * entries that nothing uses are stored to mostly, and some that map the page of data. Loops enter the code at different places, some rewrite a store's own
 * code, a timer ticks, and some step through it all. It ends in CLI; HLT.
 */
export interface StoreGuest { image: Uint8Array; memoryMiB: number }

const LOAD = 0x10_0000, GDT = 0x11_0000, IDT = 0x11_0800, DIRECTORY = 0x11_3000, TABLE = 0x11_4000, DATA = 0x11_6000, VARIABLES = 0x11_8000, STACK = 0x11_a000, CODE = 0x12_0000, IMAGE_END = 0x13_0000;
const LEFT = VARIABLES, COUNT = VARIABLES + 4;
const BLOCKS = 12, ROUNDS = 90, BLOCK_BYTES = 0x100;
/** Entries of pages that the guest has no use for. */
const UNUSED_ENTRIES = TABLE + 0x800;

const word = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];

export function storeGuest(seed: number): StoreGuest {
  const random = randomFrom(seed * 29 + 7);
  const asm = new Assembler(LOAD, IMAGE_END);
  asm.put(GDT, 0, 0, 0xffff, 0xcf9b00, 0xffff, 0xcf9300);
  for (let page = 0; page < 512; page++) asm.put(TABLE + page * 4, (page << 12) | 3);
  asm.put(DIRECTORY, TABLE | 3);
  boot(asm, random);
  for (let block = 0; block < BLOCKS; block++) {
    asm.at = CODE + block * BLOCK_BYTES;
    for (let n = 1 + random(3); n > 0; n--) {
      const start = asm.at;
      asm.byte(...store(random, start));
      if (random(3) === 0) asm.byte([0x40, 0x43, 0x90, 0xf8][random(4)]!);
    }
    asm.byte(0xc3);
  }
  return { image: asm.bytes, memoryMiB: 4 };
}

function boot(asm: Assembler, random: Random): void {
  asm.byte(0xe9);
  const jump = asm.at;
  asm.word(0);
  const gdtr = asm.at, idtr = asm.at + 6;
  asm.byte(0x17, 0, ...word(GDT), 0xff, 7, ...word(IDT));
  const timer = asm.at;
  asm.byte(0x50, 0xb0, 0x20, 0xe6, 0x20, 0xff, 0x05, ...word(COUNT), 0x58, 0xcf);
  const trap = asm.at; // single steps: the first 60 of them
  asm.byte(0xff, 0x05, ...word(COUNT), 0x81, 0x3d, ...word(COUNT), ...word(60), 0x72, 8, 0x81, 0x64, 0x24, 8, ...word(~0x100), 0xcf);
  for (const [vector, address] of [[0x20, timer], [1, trap]] as const) asm.put(IDT + vector * 8, 0x8_0000 | (address & 0xffff), (address & 0xffff_0000) | 0x8e00);
  asm.put(jump, asm.at - jump - 4);
  asm.byte(0xbc, ...word(STACK), 0x0f, 0x01, 0x15, ...word(gdtr), 0x0f, 0x01, 0x1d, ...word(idtr), 0xea, ...word(asm.at + 5 + 14 + 7), 8, 0);
  asm.byte(0x66, 0xb8, 0x10, 0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0);
  for (const [port, value] of [[0x20, 0x11], [0x21, 0x20], [0x21, 4], [0x21, 1], [0x21, 0xfe], [0x43, 0x34], [0x40, 2 + random(4)], [0x40, 0]] as const) asm.byte(0xb0, value, 0xe6, port);
  asm.eax(DIRECTORY);
  asm.byte(0x0f, 0x22, 0xd8);
  asm.eax(0x8001_0011);
  asm.byte(0x0f, 0x22, 0xc0, 0xfb);
  for (let round = 0; round < ROUNDS; round++) {
    if (random(24) === 0) asm.byte(0x68, ...word(0x302), 0x9d);
    // Some turns with one target each.
    asm.store(LEFT, 1 + random(14));
    const loop = asm.at;
    asm.byte(0xbe, ...word(target(random)), 0xbf, ...word(target(random)), 0xbd, ...word(target(random)));
    for (let n = 1 + random(2); n > 0; n--) {
      const place = CODE + random(BLOCKS) * BLOCK_BYTES;
      asm.byte(0xb9, ...word(1 + random(3)), 0xe8, ...word(place - (asm.at + 10)));
    }
    asm.byte(0xff, 0x0d, ...word(LEFT), 0x0f, 0x85, ...word(loop - (asm.at + 12)));
  }
  asm.byte(0xfa, 0xf4);
  if (asm.at > GDT) throw new Error('the rounds are too long');
}

/** Where a store goes: an entry that nothing uses, the data page's, memory, or across the end of the table. */
function target(random: Random): number {
  switch (random(8)) {
    case 0: case 1: case 2: return UNUSED_ENTRIES + random(0x780);
    case 3: return TABLE + 0x1000 - 1 - random(12);
    case 4: return UNUSED_ENTRIES + 4 * random(0x100);
    default: return DATA + 16 + random(0xf00);
  }
}

function store(random: Random, at: number): number[] {
  switch (random(15)) {
    case 0: case 1: return [0x89, [0x06, 0x07, 0x5e, 0x4f][random(4)]!].flatMap((byte, n) => n === 1 && byte > 0x3f ? [byte, random(8)] : [byte]); // mov [esi], eax and such
    case 2: return [0xc7, 0x06, ...word(random(2 ** 31))];
    case 3: return [0x66, 0x89, 0x0f];
    case 4: return [0x88, 0x45, random(4)];
    case 5: return [0xc6, 0x07, random(256)];
    case 6: return [[0xab], [0xaa], [0xa5], [0xa4]][random(4)]!;
    case 7: return [0xf3, [0xab, 0xa5, 0xaa][random(3)]!];
    case 8: return [0x01, 0x06];
    case 9: return [0x87, 0x17];
    case 10: return [0x0f, 0xb1, 0x16];
    case 11: return [0xf0, 0x0f, 0xc7, 0x0e];
    case 12: return [0x0f, 0xba, 0x2f, random(32)];
    case 13: return [0xff, 0x36, 0x8f, 0x07]; // push [esi]; pop [edi]
    default: return [0xc7, 0x05, ...word(at + 6), ...word(random(2 ** 31)), 0x89, 0x06]; // its own immediate
  }
}
