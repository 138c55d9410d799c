import { SingleProcess, specOf } from '@ringside/single-process';
import type { VmSpec } from '@ringside/machine';
import { layOutProgram, BOOT, DIRECTORY, GDT, GDT_LIMIT, IDT, IDT_LIMIT, KERNEL_CODE, KERNEL_DATA, KERNEL_STACK, STUB, TASK, USER_CODE, USER_DATA } from './program.js';

/**
 * The loops inside a whole machine, on any path: a kernel of a few instructions switches paging on, starts the program in ring 3 or in ring 0, and powers
 * off at its first system call. Ring 3 runs directly on every path; ring 0 is translated code under binary translation.
 */
export type ProgramRing = 0 | 3;

const MEMORY_MIB = 32;
/** The boot loader's part: far above what the program uses. */
const LOADED = 0x1f0_0000;

export interface GuestRun { readonly instructions: number; readonly seconds: number; readonly status: number }

export async function runGuest(path: Partial<VmSpec>, ring: ProgramRing, elf: Uint8Array, args: readonly string[], now: () => number): Promise<GuestRun> {
  const whole = await SingleProcess.create({ spec: specOf({ ...path, memoryMiB: MEMORY_MIB }), image: loadedPart() });
  const { processor } = whole.machine;
  const { entry, stack } = layOutProgram(processor, elf, args);
  processor.writePhysical('guest', BOOT, bootCode(ring, entry, stack));
  // mov dx, 0x604; mov ax, 0x2000; out dx, ax: power off
  processor.writePhysical('guest', STUB, Uint8Array.of(0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x20, 0x66, 0xef, 0xf4));
  const begun = now();
  await whole.machine.run();
  const seconds = now() - begun;
  if (whole.machine.state !== 'shutdown') throw new Error(`the program stopped: ${whole.machine.state}, ${whole.machine.why}`);
  return { instructions: processor.retired, seconds, status: processor.getRegister('ebx') };
}

const word = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];

/** A Multiboot file without ELF (Multiboot 3.1.2) that jumps to BOOT. */
function loadedPart(): Uint8Array {
  const magic = 0x1bad_b002, addresses = 0x1_0000;
  const header = [magic, addresses, -(magic + addresses), LOADED, LOADED, 0, 0, LOADED + 32].flatMap(word);
  return Uint8Array.from([...header, 0xb8, ...word(BOOT), 0xff, 0xe0]);
}

function bootCode(ring: ProgramRing, entry: number, stack: number): Uint8Array {
  const tables = BOOT + 0x80;
  const code = [
    0xbc, ...word(KERNEL_STACK), 0x0f, 0x01, 0x15, ...word(tables), 0x0f, 0x01, 0x1d, ...word(tables + 6), // mov esp; lgdt; lidt
    0x66, 0xb8, KERNEL_DATA, 0, 0x8e, 0xd0, 0x66, 0xb8, USER_DATA, 0, 0x8e, 0xd8, 0x8e, 0xc0, // ss; ds, es
    0x66, 0xb8, TASK, 0, 0x0f, 0x00, 0xd8, // ltr
    0xb8, ...word(DIRECTORY), 0x0f, 0x22, 0xd8, 0xb8, ...word(0x8001_0011), 0x0f, 0x22, 0xc0, // cr3, cr0
  ];
  if (ring === 3) code.push(0x6a, USER_DATA, 0x68, ...word(stack), 0x68, ...word(0x202), 0x6a, USER_CODE);
  else code.push(0xbc, ...word(stack), 0x6a, 2, 0x6a, KERNEL_CODE);
  code.push(0x68, ...word(entry), 0xcf);
  if (code.length > 0x80) throw new Error('the boot code is too long');
  return Uint8Array.from([...code, ...new Array<number>(0x80 - code.length).fill(0x90), GDT_LIMIT, 0, ...word(GDT), IDT_LIMIT & 0xff, IDT_LIMIT >> 8, ...word(IDT)]);
}
