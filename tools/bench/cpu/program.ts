import type { Processor } from '@ringside/x86';

/** Where everything lies: all below `FIRST_FREE` is mapped to itself, for the kernel alone. */
const PAGE = 4096;
export const GDT = 0x1000, IDT = 0x2000, TSS = 0x3000, STUB = 0x4000, BOOT = 0x4800, KERNEL_STACK = 0x6000, DIRECTORY = 0x7000;
export const GDT_LIMIT = 0x2f, IDT_LIMIT = 0x7ff;
const TABLES = 0x8000, FIRST_FREE = 0x40000;
const USER_STACK = 0xbfff_f000;
export const USER_CODE = 0x1b, USER_DATA = 0x23, KERNEL_CODE = 0x08, KERNEL_DATA = 0x10, TASK = 0x28;
const SYSTEM_CALL = 0x80;
const PRESENT_WRITABLE_USER = 7;

/** Physical memory, before anything runs. */
type Memory = Pick<Processor, 'readPhysical' | 'writePhysical'>;

/** Put a static 32-bit program into memory as a ring 3 program of a guest with paging; its first `int 0x80` leads to a HLT at STUB. */
export function layOutProgram(processor: Memory, elf: Uint8Array, args: readonly string[]): { entry: number; stack: number } {
  const memory = new Words(processor);
  // Flat segments for levels 0 and 3, a TSS with the level 0 stack, one gate that user code may call, and a HLT behind it.
  memory.write(GDT + 8, 0x0000ffff, 0x00cf9b00, 0x0000ffff, 0x00cf9300, 0x0000ffff, 0x00cffb00, 0x0000ffff, 0x00cff300, (TSS << 16) | 0x67, 0x00008900 | (TSS >>> 16));
  memory.write(IDT + SYSTEM_CALL * 8, (KERNEL_CODE << 16) | STUB, 0x0000ee00);
  memory.write(TSS + 4, KERNEL_STACK, 0x10);
  processor.writePhysical('guest', STUB, Uint8Array.of(0xf4));
  let free = FIRST_FREE;
  let tables = TABLES;
  const map = (linear: number): number => {
    const entry = DIRECTORY + (linear >>> 22) * 4;
    if (memory.read(entry) === 0) {
      memory.write(entry, tables | PRESENT_WRITABLE_USER);
      tables += PAGE;
    }
    const slot = (memory.read(entry) & ~0xfff) + ((linear >>> 12) & 0x3ff) * 4;
    if (memory.read(slot) === 0) {
      memory.write(slot, free | PRESENT_WRITABLE_USER);
      free += PAGE;
    }
    return memory.read(slot) & ~0xfff;
  };
  for (let page = 0; page < FIRST_FREE; page += PAGE) {
    const entry = DIRECTORY;
    if (memory.read(entry) === 0) {
      memory.write(entry, tables | PRESENT_WRITABLE_USER);
      tables += PAGE;
    }
    memory.write((memory.read(entry) & ~0xfff) + (page >>> 12) * 4, page | 3);
  }
  const view = new DataView(elf.buffer, elf.byteOffset, elf.byteLength);
  const headers = view.getUint32(28, true);
  for (let n = 0; n < view.getUint16(44, true); n++) {
    const at = headers + n * view.getUint16(42, true);
    if (view.getUint32(at, true) !== 1) continue; // PT_LOAD
    const [offset, linear, , inFile, inMemory] = [4, 8, 12, 16, 20].map((field) => view.getUint32(at + field, true)) as [number, number, number, number, number];
    for (let byte = 0; byte < inMemory;) {
      const frame = map(linear + byte);
      const within = (linear + byte) & 0xfff;
      const length = Math.min(PAGE - within, inMemory - byte);
      if (byte < inFile) processor.writePhysical('guest', frame + within, elf.subarray(offset + byte, offset + Math.min(byte + length, inFile)));
      byte += length;
    }
  }
  for (let page = 1; page <= 16; page++) map(USER_STACK - page * PAGE);
  const stack = pushArguments(processor, map(USER_STACK - PAGE), args);
  return { entry: view.getUint32(24, true), stack };
}

/** argc and argv as the System V ABI lays them on the stack; `frame` is the top stack page. Returns ESP. */
function pushArguments(processor: Memory, frame: number, args: readonly string[]): number {
  const page = new Uint8Array(PAGE);
  const view = new DataView(page.buffer);
  let text = PAGE;
  const pointers = args.map((argument) => {
    const bytes = new TextEncoder().encode(`${argument}\0`);
    text -= bytes.length;
    page.set(bytes, text);
    return USER_STACK - PAGE + text;
  });
  const at = (text & ~15) - 4 * (args.length + 3);
  [args.length, ...pointers, 0, 0].forEach((word, n) => view.setUint32(at + n * 4, word, true));
  processor.writePhysical('guest', frame, page);
  return USER_STACK - PAGE + at;
}

class Words {
  constructor(private readonly processor: Memory) {}
  read(at: number): number {
    return new DataView(this.processor.readPhysical('guest', at, 4).buffer).getInt32(0, true);
  }
  write(at: number, ...words: number[]): void {
    this.processor.writePhysical('guest', at, new Uint8Array(Int32Array.from(words).buffer));
  }
}
