import { Assembler, randomFrom, type Random } from './assembler.js';

/**
 * Guests that edit the page tables they run on: random entries, read and written through in ring 0 and ring 3, in both formats, with CR0.WP on
 * and off, large pages, two address spaces that share tables, and page tables mapped into the very region that they translate. After
 * each edit the guest flushes what it must, so that no stale TLB entry is ever used and every run is defined; or now and then it forgets.
 */
export interface PageTableGuest { image: Uint8Array; memoryMiB: number }

const LOAD = 0x10_0000, CODE_END = 0x13_0000, USER_STACK = 0x13_8000, KERNEL_STACK = 0x13_c000, NEXT = 0x13_e000;
const GDT = 0x14_0000, IDT = 0x14_0800, TSS = 0x14_1000, POINTERS = [0x14_2000, 0x14_2020];
/** Per address space: the directory of the identity map and, under PAE, that of the region; with 32-bit paging the first is both. */
const DIRECTORIES = [[0x14_3000, 0x14_4000], [0x14_5000, 0x14_6000]] as const;
const IDENTITY_TABLES = [0x14_7000, 0x14_8000], TABLES = [0x14_9000, 0x14_a000, 0x14_b000];
const DATA = 0x16_0000, DATA_PAGES = 8, IMAGE_END = 0x16_8000;
const REGION = 0x4000_0000, REGION_PAGES = 16;
const BUS_FRAME = 0xfe000;
const OPERATIONS = 90;

export type Flushes = 'always' | 'now and then';

interface Scene { readonly asm: Assembler; readonly random: Random; readonly flushes: Flushes; readonly pae: boolean; readonly executeDisable: boolean; space: number; ring: 0 | 3 }

export function pageTableGuest(seed: number, flushes: Flushes = 'always'): PageTableGuest {
  const random = randomFrom(seed * 7 + 3);
  const asm = new Assembler(LOAD, IMAGE_END);
  const scene: Scene = { asm, random, flushes, pae: seed % 2 === 1, executeDisable: seed % 4 === 3, space: 0, ring: 0 };
  tables(scene);
  start(scene, seed % 3 !== 0);
  for (let count = 0; count < OPERATIONS && asm.at < CODE_END - 0x200; count++) operation(scene);
  if (scene.ring === 3) toRing0(scene);
  asm.byte(0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x20, 0x66, 0xef, 0xf4);
  return { image: asm.bytes, memoryMiB: 4 };
}

/** A table entry of either format at `address`. */
function entry({ asm, pae }: Scene, address: number, low: number, high = 0): void {
  asm.put(address, low);
  if (pae) asm.put(address + 4, high);
}

function tables(scene: Scene): void {
  const { asm, random, pae } = scene;
  asm.put(GDT, 0, 0, 0xffff, 0xcf9b00, 0xffff, 0xcf9300, 0xffff, 0xcffb00, 0xffff, 0xcff300, (TSS & 0xffff) << 16 | 0x67, 0x8900 | (TSS >>> 16));
  asm.put(TSS + 4, KERNEL_STACK, 0x10);
  const size = pae ? 8 : 4;
  for (let page = 0; page < 1024; page++) {
    const table = pae ? IDENTITY_TABLES[page >> 9]! : IDENTITY_TABLES[0]!;
    entry(scene, table + (pae ? page & 0x1ff : page) * size, page * 4096 | 7);
  }
  for (const [space, [identity, region]] of DIRECTORIES.entries()) {
    if (pae) asm.put(POINTERS[space]!, identity | 1, 0, region | 1, 0, 0, 0, 0, 0);
    for (let half = 0; half < (pae ? 2 : 1); half++) entry(scene, identity + half * size, IDENTITY_TABLES[half]! | 7);
    asm.put(directoryEntry(scene, space), TABLES[space]! | 7);
  }
  for (const table of TABLES) for (let page = 0; page < REGION_PAGES; page++) entry(scene, table + page * size, ...randomEntry(scene));
  for (let at = DATA; at < IMAGE_END; at += 4) asm.put(at, random(2 ** 31));
}

const directoryEntry = ({ pae }: Scene, space: number): number => (pae ? DIRECTORIES[space]![1] : DIRECTORIES[space]![0] + 0x100 * 4);

/** [low, high]: a page of data, a page table (for the kernel alone), or the empty bus. */
function randomEntry({ random, pae, executeDisable }: Scene): [number, number] {
  const kind = random(10);
  const table = kind === 0;
  const frame = table ? TABLES[random(TABLES.length)]! >>> 12 : kind === 1 ? BUS_FRAME : (DATA >>> 12) + random(DATA_PAGES);
  const flags = (random(8) === 0 ? 0 : 1) | (random(3) === 0 ? 0 : 2) | (table || random(3) === 0 ? 0 : 4) | (random(2) << 5) | (random(2) << 6);
  const high = !pae ? 0 : random(12) === 0 ? 0x100 : random(4) === 0 && executeDisable ? 0x8000_0000 : 0;
  return [((frame << 12) | flags) >>> 0, high];
}

function start(scene: Scene, writeProtect: boolean): void {
  const { asm, pae, executeDisable } = scene;
  asm.byte(0xe9);
  const jump = asm.at;
  asm.word(0);
  const pageFault = asm.at;
  asm.byte(0x59, 0x0f, 0x20, 0xd2, 0xa1); // pop ecx; mov edx, cr2; mov eax, [NEXT]; mov [esp], eax; iret
  asm.word(NEXT);
  asm.byte(0x89, 0x04, 0x24, 0xcf);
  const leaveRing3 = asm.at;
  asm.byte(0x58, 0xbc); // pop eax; mov esp, KERNEL_STACK; jmp eax
  asm.word(KERNEL_STACK);
  asm.byte(0xff, 0xe0);
  asm.put(IDT + 14 * 8, 0x8_0000 | (pageFault & 0xffff), (pageFault & 0xffff_0000) | 0x8e00);
  asm.put(IDT + 0x30 * 8, 0x8_0000 | (leaveRing3 & 0xffff), (leaveRing3 & 0xffff_0000) | 0xee00);
  const gdtr = asm.at + 2, idtr = asm.at + 10;
  asm.put(gdtr - 2, 0x2f << 16);
  asm.bytes.set([0x2f, 0, GDT & 0xff, (GDT >>> 8) & 0xff, GDT >>> 16, 0], gdtr - LOAD);
  asm.bytes.set([0xff, 7, IDT & 0xff, (IDT >>> 8) & 0xff, IDT >>> 16, 0], idtr - LOAD);
  asm.at = idtr + 8;
  asm.put(jump, asm.at - jump - 4);
  asm.byte(0xbc);
  asm.word(KERNEL_STACK);
  asm.byte(0x0f, 0x01, 0x15);
  asm.word(gdtr);
  asm.byte(0x0f, 0x01, 0x1d);
  asm.word(idtr);
  asm.byte(0xea);
  asm.word(asm.at + 6);
  asm.byte(0x08, 0);
  asm.byte(0x66, 0xb8, 0x10, 0x00, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0); // mov ax, 0x10; mov ds, es, ss
  asm.byte(0x66, 0xb8, 0x28, 0x00, 0x0f, 0x00, 0xd8); // mov ax, 0x28; ltr ax
  if (executeDisable) {
    asm.byte(0xb9);
    asm.word(0xc000_0080);
    asm.eax(0x800);
    asm.byte(0x31, 0xd2, 0x0f, 0x30); // xor edx, edx; wrmsr
  }
  asm.eax(pae ? 0x20 : 0x10);
  asm.byte(0x0f, 0x22, 0xe0);
  loadCr3(scene);
  setCr0(scene, writeProtect);
}

function loadCr3({ asm, pae, space }: Scene): void {
  asm.eax(pae ? POINTERS[space]! : DIRECTORIES[space]![0]);
  asm.byte(0x0f, 0x22, 0xd8);
}

function setCr0({ asm }: Scene, writeProtect: boolean): void {
  asm.eax(writeProtect ? 0x8001_0011 : 0x8000_0011);
  asm.byte(0x0f, 0x22, 0xc0);
}

function toRing0(scene: Scene): void {
  scene.asm.byte(0xcd, 0x30);
  scene.ring = 0;
}

function toRing3(scene: Scene): void {
  const { asm } = scene;
  asm.byte(0x6a, 0x23, 0x68);
  asm.word(USER_STACK);
  asm.byte(0x6a, 0x02, 0x6a, 0x1b, 0x68);
  asm.word(asm.at + 5);
  asm.byte(0xcf);
  asm.byte(0x31, 0xc0, 0xb0, 0x23, 0x8e, 0xd8, 0x8e, 0xc0); // xor eax, eax; mov al, 0x23; mov ds, eax; mov es, eax
  scene.ring = 3;
}

function operation(scene: Scene): void {
  const { random } = scene;
  if (scene.ring === 3) {
    if (random(4) === 0) toRing0(scene);
    else access(scene);
    return;
  }
  switch (random(8)) {
    case 0: return toRing3(scene);
    case 1:
    case 2: return editTable(scene);
    case 3: return editDirectory(scene);
    case 4:
      scene.space ^= random(2);
      loadCr3(scene);
      if (random(3) === 0) setCr0(scene, random(2) === 0);
      return;
    default:
      access(scene);
      // The access may have written to a table through its alias.
      if (!forgets(scene)) loadCr3(scene);
  }
}

function editTable(scene: Scene): void {
  const { asm, random, pae } = scene;
  const page = random(REGION_PAGES);
  const address = TABLES[random(TABLES.length)]! + page * (pae ? 8 : 4);
  const [low, high] = randomEntry(scene);
  const forgotten = forgets(scene);
  if (forgotten) access(scene, page);
  if (pae) asm.store(address + 4, high);
  asm.store(address, low);
  if (forgotten) {
    access(scene, page);
    return;
  }
  asm.byte(0x0f, 0x01, 0x3d); // invlpg [page]
  asm.word(REGION + page * 4096);
}

function editDirectory(scene: Scene): void {
  const { asm, random, pae } = scene;
  const rights = (random(6) === 0 ? 0 : 1) | (random(4) === 0 ? 0 : 2) | (random(4) === 0 ? 0 : 4);
  const large = ((random(2) * (pae ? 0x20_0000 : 0)) | 0x80 | (random(2) << 6) | rights) >>> 0;
  asm.store(directoryEntry(scene, random(2)), random(4) === 0 ? large : TABLES[random(TABLES.length)]! | rights | (random(2) << 5));
  if (!forgets(scene)) loadCr3(scene);
}

const forgets = ({ flushes, random }: Scene): boolean => flushes === 'now and then' && random(2) === 0;

/** One instruction that reads or writes the region, perhaps across two pages; a fault goes on behind it. */
function access(scene: Scene, page = scene.random(REGION_PAGES - 1)): void {
  const { asm, random } = scene;
  const address = REGION + page * 4096 + (random(5) === 0 ? 4096 - 1 - random(6) : random(64) * 4);
  asm.byte(0xc7, 0x05);
  asm.word(NEXT);
  const next = asm.at;
  asm.word(0);
  switch (random(scene.ring === 3 ? 9 : 7)) {
    case 0: memory(asm, [0xa1], address); break;
    case 1: memory(asm, [0xa3], address); break;
    case 2: memory(asm, [0xa2], address); break;
    case 3: memory(asm, [0x87, 0x0d], address); break; // xchg [address], ecx
    case 4: memory(asm, [0x01, 0x05], address); break; // add [address], eax
    case 5: memory(asm, [0x0f, 0xc7, 0x0d], address); break; // cmpxchg8b [address]
    case 6: memory(asm, [0xff, 0x35], address); asm.byte(0x59); break; // push [address]; pop ecx
    case 7: block(asm, address, 0xab, random(1500)); break; // rep stosd
    default: block(asm, address, 0xa5, random(1500)); break; // rep movsd
  }
  asm.put(next, asm.at);
}

function memory(asm: Assembler, opcode: readonly number[], address: number): void {
  asm.byte(...opcode);
  asm.word(address);
}

function block(asm: Assembler, address: number, opcode: number, count: number): void {
  asm.byte(0xbe);
  asm.word(DATA + (count & 0xfff));
  asm.byte(0xbf);
  asm.word(address & ~3);
  asm.byte(0xb9);
  asm.word(count);
  asm.byte(0xf3, opcode);
}
