/**
 * Hostile guests: random code in ring 3 and then in ring 0, behind valid tables, with handlers that skip what faulted and go on. Nothing
 * is expected of such a guest but that the machine around it stands: no crash, no growth, no state that is not a number, and
 * the same counts however its run is cut into slices.
 *
 * The body is a row of 32-byte slots. Each gives ESP (and mostly one more register) a sensible value, then comes one random instruction, or
 * random bytes, then NOPs; a fault goes on at the next slot, and at the furthest slot yet if it led back or out of the body. Opcodes are drawn evenly
 * from both opcode maps, so that every row is reached over a few dozen seeds.
 */
import { Code, elf, pushesErrorCode, randomFrom, xenNotes } from './machine-code.js';

export interface HostileGuest {
  image: Uint8Array;
  /** Bodies in linear memory: [first byte, first byte behind]. */
  ring3: readonly [number, number];
  ring0: readonly [number, number];
  /** Least RAM it needs, in bytes. */
  memoryBytes: number;
}

/** Where its bodies run, if not in flat 32-bit code of rings 3 and 0. */
export interface HostileMode {
  /** Ring of the first body. */
  readonly ring?: 1 | 2;
  /** `narrow`: 16-bit code in segments of 4 GiB. `limited`: behind the limit of a code segment. `conforming`: ring 0's code segment is conforming, and the first body runs in it too. */
  readonly code?: 'narrow' | 'limited' | 'conforming';
  /** The first body's stack segment has 16 bits. */
  readonly stack?: 'narrow';
  /** `step`: EFLAGS.TF is set, and #DB returns at once. `breakpoints`: DR0–DR3 lie in the bodies and their data, too. */
  readonly debug?: 'step' | 'breakpoints';
  /** The timer ticks every few hundred instructions, at vector 32; a tick goes on at the next slot, as a fault does. */
  readonly ticks?: true;
}

const LOAD = 0x10_0000;
const SLOT = 32;
/** Slots in each body. */
const SLOTS = 256;
/** Written by everybody: data, stacks, and what the handlers remember. */
const DATA = 0x20_0000, DATA_BYTES = 0x1_0000;
const USER_STACK = DATA + 0x8000, KERNEL_STACK = DATA + 0xa000;
/** Where the handlers keep the address of the slot to go on at. Ring 3 cannot write it. */
const NEXT_SLOT = 0x21_1000, ENTRY_STACK = 0x21_2000;
const PAGE_DIRECTORY = 0x21_8000, PAGE_TABLE = 0x21_9000;
/** A page that translates to beyond RAM: the empty bus. */
const BUS_PAGE = 0x3f_f000, BUS_FRAME = 0xfe00_0000;
const MEMORY = 0x40_0000;
const CODE0 = 0x08, DATA0 = 0x10, CODE3 = 0x1b, DATA3 = 0x23, TSS = 0x28;

/** Flat 32-bit code in rings 3 and 0. */
const NO_MODE: HostileMode = {};

type Random = (below: number) => number;

/** Opcodes that end a run or its other half for good when they succeed: drawn at an eighth of their share. HLT, MOV to CR, LGDT, LIDT, LMSW, SYSEXIT. */
function isDrastic(opcode: readonly number[], modrm: number): boolean {
  if (opcode.length === 1) return opcode[0] === 0xf4;
  const [, second] = opcode;
  return second === 0x22 || second === 0x35 || (second === 0x01 && ((modrm >>> 3) & 7) >= 2);
}

const RELATIVE_BYTE = (byte: number): boolean => (byte >= 0x70 && byte < 0x80) || (byte >= 0xe0 && byte < 0xe4) || byte === 0xeb;

function randomAddress(random: Random): number {
  switch (random(12)) {
    case 0: return random(0x4000_0000) * 4 + random(4);
    case 1: return BUS_PAGE + random(0x1000);
    case 2: return DATA + DATA_BYTES - random(8);
    case 3: return LOAD + random(0x8000);
    default: return DATA + random(0x7000);
  }
}

/** One slot's worth of trouble: at most `room` bytes. */
function randomInstruction(random: Random, room: number): number[] {
  const bytes: number[] = [];
  if (random(8) === 0) {
    const length = 1 + random(room);
    while (bytes.length < length) {
      const byte = random(256);
      // Short branches lead forward, or most guests would end in a loop of their own.
      bytes.push(bytes.length > 0 && RELATIVE_BYTE(bytes.at(-1)!) ? byte & 0x7f : byte);
    }
    return bytes;
  }
  const prefix = random(16);
  if (prefix < 6) bytes.push([0x66, 0x67, 0xf3, 0xf2, 0xf0, [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65][random(6)]!][prefix]!);
  let opcode: number[], modrm: number;
  do {
    opcode = random(2) === 0 ? [random(256)] : [0x0f, random(256)];
    modrm = random(256);
  } while (isDrastic(opcode, modrm) && random(8) > 0);
  // Rows that a whole ModRM byte selects would hardly ever come up.
  if (random(128) === 0) return [...bytes, 0x0f, 0x01, 0xc0 | random(64)];
  bytes.push(...opcode);
  if (RELATIVE_BYTE(opcode[0]!) && opcode.length === 1) bytes.push(random(0x80));
  else if (random(2) === 0) bytes.push((modrm & 0x38) | 0x05, ...word(randomAddress(random))); // [disp32]
  else bytes.push(modrm & (random(3) === 0 ? 0xff : 0x3f) | (random(3) === 0 ? 0xc0 : 0));
  while (bytes.length < room - 2 && random(3) > 0) bytes.push(random(256));
  return bytes.slice(0, room);
}

const oneInstruction = (random: Random, room: number): number[] => randomInstruction(random, Math.min(15, room));

const word = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];

function emitBody(code: Code, random: Random, stack: number, slotBytes: number, instruction: (random: Random, room: number) => number[], wide: readonly number[] = []): [number, number] {
  while (code.here % slotBytes !== 0) code.emit(0x90);
  const start = code.here;
  for (let slot = 0; slot < SLOTS; slot++) {
    const end = start + (slot + 1) * slotBytes;
    code.emit(...wide, 0xbc);
    code.word(stack + random(0x100) * 4);
    if (random(4) > 0) {
      // A pointer, a small count, or anything.
      code.emit(...wide, [0xb8, 0xb9, 0xba, 0xbb, 0xbd, 0xbe, 0xbf][random(7)]!);
      code.word([randomAddress(random), random(64), random(0x1_0000) * 0x1_0001][random(3)]! >>> 0);
    }
    code.emit(...instruction(random, end - code.here));
    while (code.here < end) code.emit(0x90);
  }
  return [start, code.here];
}

/** Handlers run on a stack frame [EIP, CS, EFLAGS, …] after an error code is gone, and trust no register and no data segment but SS. */
function emitSkip(code: Code, slotBytes: number, nextSlot: number, body: () => [start: number, end: number], patches: { at: number; bound: () => number }[], finish: () => number, kept = 0): { plain: number; withError: number } {
  const withError = code.here;
  code.emit(0x83, 0xc4, 0x04); // add esp, 4
  const plain = code.here;
  const bound = (value: () => number): void => {
    patches.push({ at: code.here, bound: value });
    code.word(0);
  };
  code.emit(0x50, 0xfc); // push eax; cld
  code.emit(0x8b, 0x44, 0x24, 0x04); // mov eax, [esp+4]: where it stopped
  code.emit(0x3d); bound(() => body()[0]); // cmp eax, start of the body
  code.emit(0x72, 0x14); // jb behind
  code.emit(0x3d); bound(() => body()[1]); // cmp eax, its end
  code.emit(0x73, 0x0d); // jae behind
  code.emit(0x83, 0xc8, slotBytes - 1, 0x40); // or eax, slot - 1; inc eax: the next slot
  code.emit(0x36, 0x3b, 0x05); code.word(nextSlot); // cmp eax, ss:[next slot]
  code.emit(0x77, 0x09); // ja ahead
  // behind: out of the body, or back where it has been
  code.emit(0x36, 0xa1); code.word(nextSlot); // mov eax, ss:[next slot]
  code.emit(0x83, 0xc0, slotBytes); // add eax, slot
  code.emit(0x36, 0xa3); code.word(nextSlot); // ahead: mov ss:[next slot], eax
  code.emit(0x3d); bound(() => body()[1]);
  code.emit(0x72, 0x05); // jb go on
  code.emit(0xe9);
  const jump = code.here;
  patches.push({ at: jump, bound: () => finish() - (jump + 4) });
  code.word(0);
  code.emit(0x89, 0x44, 0x24, 0x04); // mov [esp+4], eax
  code.emit(0x81, 0x64, 0x24, 0x0c); code.word((~0x0001_4100 | kept) >>> 0); // and dword [esp+12], ~(RF | NT | TF)
  code.emit(0x58, 0xcf); // pop eax; iret
  return { plain, withError };
}

/** A Multiboot guest: ring 3 first, then ring 0, then power off (port 0x604). */
export function hostileGuest(seed: number, mode: HostileMode = NO_MODE): HostileGuest {
  const random = randomFrom(seed);
  const code = new Code(LOAD);
  const wide = mode.code === 'narrow' ? [0x66] : [];
  const patches: { at: number; bound: () => number }[] = [];
  let ring3: [number, number] = [0, 0], ring0: [number, number] = [0, 0];
  code.word(0x1bad_b002);
  code.word(0);
  code.word(-0x1bad_b002);
  const entry = code.here;
  code.emit(0xe9);
  const jump = code.here;
  code.word(0);

  code.align(8);
  const gdt = code.here;
  // Every descriptor is accessed already: the table's page is read-only.
  for (const high of [0, 0x00cf_9b00, 0x00cf_9300, 0x00cf_fb00, 0x00cf_f300]) {
    code.word(high === 0 ? 0 : 0x0000_ffff);
    code.word(high);
  }
  const tssDescriptor = code.here;
  code.word(0);
  code.word(0);
  // Something to load: conforming code, read-only, expand-down, not present, 16-bit; and a call gate into ring 0's body.
  for (const [low, high] of [[0xffff, 0x00cf_9f00], [0xffff, 0x00cf_f100], [0x0fff, 0x00c0_f700], [0xffff, 0x00cf_7300], [0xffff, 0x0000_f320]] as const) {
    code.word(low);
    code.word(high);
  }
  const callGate = code.here;
  code.word(0);
  code.word(0);
  const firstCode = code.here - gdt, firstData = firstCode + 8, secondCode = firstCode + 16;
  const dpl = mode.ring ?? 3;
  const patchLimit = [firstCode, secondCode].map((selector) => gdt + selector);
  // The bodies' own segments: code and stack of the first, code of the second.
  const size = mode.code === 'narrow' ? 0x008f : 0x00cf;
  for (const high of mode === NO_MODE ? [] : [
    mode.code === 'conforming' ? 0x00cf_9f00 : (size << 16) | 0x9b00 | (dpl << 13), ((mode.stack === 'narrow' ? 0x008f : 0x00cf) << 16) | 0x9300 | (dpl << 13), mode.code === 'conforming' ? 0x00cf_9f00 : (size << 16) | 0x9b00,
  ]) {
    code.word(0xffff);
    code.word(high);
  }
  const gdtLimit = code.here - gdt - 1;
  const gdtr = code.here;
  code.half(gdtLimit);
  code.word(gdt);
  code.align(8);
  const idt = code.here;
  for (let vector = 0; vector < 256; vector++) {
    code.word(0);
    code.word(0);
  }
  const idtr = code.here;
  code.half(256 * 8 - 1);
  code.word(idt);
  code.align(4);
  const tss = code.here;
  for (let index = 0; index < 26; index++) code.word(index === 1 ? ENTRY_STACK + 0x800 : index === 2 ? DATA0 : index === 25 ? 0x68_0000 : 0);
  for (let index = 0; index < 32; index++) code.word(random(2) === 0 ? 0 : 0xffff_ffff); // ports 0–0x3ff
  code.emit(0xff);
  code.align(4);
  code.patchWord(tssDescriptor, ((tss & 0xffff) << 16) | (0x68 + 128));
  code.patchWord(tssDescriptor + 4, (tss & 0xff00_0000) | 0x8900 | ((tss >>> 16) & 0xff));

  // Behind the last slot of ring 3, a fault goes on at ring 0's start; behind ring 0's, the power goes off.
  let powerOff = 0, enterRing0 = 0;
  const kept = mode.debug === 'step' ? 0x100 : 0;
  const user = emitSkip(code, SLOT, NEXT_SLOT, () => ring3, patches, () => enterRing0, kept);
  const kernel = emitSkip(code, SLOT, NEXT_SLOT, () => ring0, patches, () => powerOff, kept);
  // Which of the two handlers: by the CPL that was interrupted, in the saved CS.
  const dispatch = (at: number, userHandler: number, kernelHandler: number): number => {
    const here = code.here;
    code.emit(0xf6, 0x44, 0x24, at, 0x03, 0x0f, 0x85); // test byte [esp+at], 3; jnz user
    code.word(userHandler - (code.here + 4));
    code.emit(0xe9);
    code.word(kernelHandler - (code.here + 4));
    return here;
  };
  const plain = dispatch(4, user.plain, kernel.plain), withError = dispatch(8, user.withError, kernel.withError);
  for (let vector = 0; vector < 256; vector++) {
    const handler = pushesErrorCode(vector) ? withError : plain;
    // Ring 3 may call a third of them, and as many are trap gates.
    const rights = 0x8e00 | (vector % 3 === 0 ? 0x6000 : 0) | (vector % 5 === 0 ? 0x100 : 0);
    code.patchWord(idt + vector * 8, (CODE0 << 16) | (handler & 0xffff));
    code.patchWord(idt + vector * 8 + 4, (handler & 0xffff_0000) | rights);
  }

  if (mode.debug !== undefined) {
    const handler = code.here;
    code.emit(0x81, 0x4c, 0x24, 0x08); // or dword [esp+8], RF: past the instruction breakpoint
    code.word(0x1_0000);
    code.emit(0xcf);
    code.patchWord(idt + 8, (CODE0 << 16) | (handler & 0xffff));
    code.patchWord(idt + 12, (handler & 0xffff_0000) | 0x8e00);
  }
  powerOff = code.here;
  code.emit(0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x20, 0x66, 0xef, 0xfa, 0xf4, 0xeb, 0xfe); // mov dx, 0x604; mov ax, 0x2000; out dx, ax; cli; hlt; jmp $
  const loadData = [0x66, 0xb8, DATA0, 0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0]; // ds, es, ss
  enterRing0 = code.here;
  code.emit(...loadData, 0xbc);
  code.word(KERNEL_STACK);
  code.emit(0xc7, 0x05);
  code.word(NEXT_SLOT);
  patches.push({ at: code.here, bound: () => ring0[0] });
  code.word(0);
  if (mode === NO_MODE) {
    code.emit(0xe9);
    const toRing0 = code.here;
    patches.push({ at: toRing0, bound: () => ring0[0] - (toRing0 + 4) });
    code.word(0);
  } else {
    if (kept !== 0) {
      code.emit(0x9c, 0x81, 0x0c, 0x24); // pushf; or dword [esp], TF; popf
      code.word(kept);
      code.emit(0x9d);
    }
    code.emit(0xea);
    patches.push({ at: code.here, bound: () => ring0[0] });
    code.word(0);
    code.half(secondCode);
  }

  code.patchWord(jump, code.here - (jump + 4));
  code.emit(0xbc);
  code.word(ENTRY_STACK);
  code.emit(0x0f, 0x01, 0x15);
  code.word(gdtr);
  code.emit(0xea);
  code.word(code.here + 6);
  code.half(CODE0);
  code.emit(...loadData, 0x0f, 0x01, 0x1d);
  code.word(idtr);
  code.emit(0x66, 0xb8, TSS, 0, 0x0f, 0x00, 0xd8); // ltr
  code.emit(0xfc, 0xbf); // cld; page table: from 1 MiB to its own end one to one, nothing else
  code.word(PAGE_TABLE + (LOAD >>> 12) * 4);
  code.emit(0xb8);
  code.word(LOAD | 0x007); // present, writable, user
  code.emit(0xb9);
  code.word((PAGE_TABLE + 0x1000 - LOAD) >>> 12);
  code.emit(0xab, 0x05); // stosd; add eax, 0x1000
  code.word(0x1000);
  code.emit(0xe2, 0xf8); // loop
  const setWord = (address: number, value: number): void => {
    code.emit(0xc7, 0x05);
    code.word(address);
    code.word(value);
  };
  const entryOf = (address: number): number => PAGE_TABLE + (address >>> 12) * 4;
  // Text and tables: read-only, for ring 0 too (CR0.WP). The handlers' data and the page tables: out of ring 3's reach.
  code.emit(0xbf); // mov edi, entry of the first text page
  code.word(entryOf(LOAD));
  code.emit(0xb9); // mov ecx, pages of text
  patches.push({ at: code.here, bound: () => Math.ceil((ring0[1] - LOAD) / 0x1000) });
  code.word(0);
  code.emit(0x83, 0x27, 0xfd, 0x83, 0xc7, 0x04, 0xe2, 0xf8); // and dword [edi], ~2; add edi, 4; loop
  for (let page = NEXT_SLOT & ~0xfff; page < PAGE_TABLE + 0x1000; page += 0x1000) setWord(entryOf(page), page | 3);
  setWord(entryOf(PAGE_DIRECTORY), PAGE_DIRECTORY | 1);
  setWord(entryOf(PAGE_TABLE), PAGE_TABLE | 1);
  setWord(entryOf(BUS_PAGE), BUS_FRAME | 7);
  setWord(PAGE_DIRECTORY, PAGE_TABLE | 7);
  code.emit(0xb8);
  code.word(PAGE_DIRECTORY);
  code.emit(0x0f, 0x22, 0xd8, 0x0f, 0x20, 0xc0, 0x0d); // mov cr3, eax; mov eax, cr0; or eax, PG | WP
  code.word(0x8001_0000);
  code.emit(0x0f, 0x22, 0xc0);
  setWord(NEXT_SLOT, 0);
  patches.push({ at: code.here - 4, bound: () => ring3[0] });
  if (mode.ticks === true) {
    // 8259A: edges, cascade, vectors 32 and 40, automatic end of interrupt, IRQ 0 alone. 8254: counter 0, mode 2.
    const divisor = 1 + random(3);
    for (const [port, value] of [[0x20, 0x11], [0xa0, 0x11], [0x21, 32], [0xa1, 40], [0x21, 4], [0xa1, 2], [0x21, 3], [0xa1, 3], [0x21, 0xfe], [0xa1, 0xff], [0x43, 0x34], [0x40, divisor], [0x40, 0]] as const) {
      code.emit(0xb0, value, 0xe6, port); // mov al, value; out port, al
    }
  }
  if (mode.debug === 'breakpoints') {
    for (let n = 0; n < 4; n++) {
      const inCode = n < 2;
      code.emit(0xb8); // mov eax, address; mov drN, eax
      const offset = inCode ? random(SLOTS * SLOT) : random(0x7000);
      patches.push({ at: code.here, bound: () => (n === 0 ? ring3[0] : n === 1 ? ring0[0] : DATA) + offset });
      code.word(0);
      code.emit(0x0f, 0x23, 0xc0 | (n << 3));
    }
    code.emit(0xb8); // DR0, DR1: instructions; DR2, DR3: data of 4 bytes, written, or read and written
    code.word(0x0000_04ff | (0xd << 24) | ((random(2) === 0 ? 0xd : 0xf) << 28));
    code.emit(0x0f, 0x23, 0xf8);
  }
  // IRET to ring 3, IF set so that a tick, where there is one, preempts it.
  code.emit(0x6a, mode === NO_MODE ? DATA3 : firstData | dpl, 0x68);
  code.word(USER_STACK);
  code.emit(0x68);
  code.word(0x202 | kept | (random(4) << 12));
  code.emit(0x6a, mode === NO_MODE ? CODE3 : firstCode | dpl, 0x68);
  patches.push({ at: code.here, bound: () => ring3[0] });
  code.word(0);
  code.emit(0x66, 0xb8, mode === NO_MODE ? DATA3 : firstData | dpl, 0, 0x8e, 0xd8, 0x8e, 0xc0, 0xcf);

  while (code.here % 0x1000 !== 0) code.emit(0x90);
  ring3 = emitBody(code, random, USER_STACK, SLOT, oneInstruction, wide);
  code.emit(0x0f, 0x0b); // off the end: a fault at the last address
  // Ring 3 ends: its last slot faults into the handler, which finds nothing left and enters ring 0.
  while (code.here % 0x1000 !== 0) code.emit(0xcc);
  ring0 = emitBody(code, random, KERNEL_STACK, SLOT, oneInstruction, wide);
  if (mode.code === 'limited') {
    for (const [n, end] of [ring3[1] + 2, ring0[1]].entries()) {
      const pages = (end - 1) >>> 12;
      code.patchWord(patchLimit[n]!, pages & 0xffff);
      code.patchWord(patchLimit[n]! + 4, 0x00c0_9b00 | (pages & 0xf_0000) | (n === 0 ? dpl << 13 : 0));
    }
  }
  code.emit(...wide, 0xe9);
  code.word(powerOff - (code.here + 4));
  code.patchWord(callGate, (CODE0 << 16) | (ring0[0] & 0xffff));
  code.patchWord(callGate + 4, (ring0[0] & 0xffff_0000) | 0xec00);
  for (const { at, bound } of patches) code.patchWord(at, bound());
  return { image: elf(code.finish(), entry, LOAD, LOAD, null), ring3, ring0, memoryBytes: MEMORY };
}

export interface HostilePvGuest {
  image: Uint8Array;
  /** The body, in linear memory. */
  body: readonly [number, number];
}

const PV_BASE = 0xc000_0000;
/** Room for a hypercall and its five arguments. */
const PV_SLOT = 64;
const PV_DATA = 0x1_0000;
/** Xen's flat ring 1 code segment (public/arch-x86/xen-x86_32.h). */
const FLAT_RING1_CS = 0xe019;
/** With random arguments these end the domain: set_trap_table, stack_switch, set_callbacks, iret, sched_op_compat, sched_op. Drawn at a sixteenth of their share. */
const FATAL_HYPERCALLS = new Set([0, 3, 4, 6, 23, 29]);
const SET_TRAP_TABLE = 0, SCHED_OP = 29, SHUTDOWN = 2;

/**
 * The same against the PV ABI: random instructions and random hypercalls, numbers and arguments alike, from the guest kernel; ends in
 * SCHEDOP_shutdown. The body may crash its own domain, block for ever, or give its memory away: whatever it does must end in a named state.
 */
export function hostilePvGuest(seed: number, kernelCs = FLAT_RING1_CS): HostilePvGuest {
  const random = randomFrom(seed ^ 0x5eed_0000);
  const origin = PV_BASE + LOAD;
  const code = new Code(origin);
  for (let index = 0; index < 1024; index++) code.word(0); // the hypercall page
  const patches: { at: number; bound: () => number }[] = [];
  const nextSlot = code.here;
  code.word(0);
  const shutdownReason = code.here;
  code.word(0);
  let body: [number, number] = [0, 0], powerOff = 0;
  const handlers = emitSkip(code, PV_SLOT, nextSlot, () => body, patches, () => powerOff);
  const hypercall = (number: number): void => {
    code.emit(0xb8);
    code.word(origin + 32 * number);
    code.emit(0xff, 0xd0); // call eax
  };
  powerOff = code.here;
  code.emit(0xbb);
  code.word(SHUTDOWN);
  code.emit(0xb9);
  code.word(shutdownReason);
  hypercall(SCHED_OP);
  code.emit(0xeb, 0xfe);
  code.align(4);
  const traps = code.here;
  for (let vector = 0; vector < 32; vector++) {
    if (vector === 2 || vector === 15) continue;
    code.emit(vector, vector % 3 === 0 ? 3 : 0);
    code.half(kernelCs);
    code.word(pushesErrorCode(vector) ? handlers.withError : handlers.plain);
  }
  code.word(0);
  code.word(0);
  while (code.here % 0x1000 !== 0) code.emit(0);
  const data = code.here;
  for (let index = 0; index < 512; index++) code.word(random(2) === 0 ? 0 : random(0x1_0000));
  for (let index = 512; index < PV_DATA / 4; index++) code.word(0);
  const entry = code.here;
  code.emit(0xfc, 0xbc);
  code.word(data + PV_DATA - 0x100);
  code.emit(0xc7, 0x05);
  code.word(nextSlot);
  patches.push({ at: code.here, bound: () => body[0] });
  code.word(0);
  code.emit(0xbb);
  code.word(traps);
  hypercall(SET_TRAP_TABLE);
  const address = (): number => (random(8) === 0 ? random(0x4000_0000) * 4 : data + random(PV_DATA / 2));
  const argument = (): number => [address(), address(), random(16), random(0x1000), random(0x1_0000) * 0x1_0001][random(5)]! >>> 0;
  const instruction = (source: Random, room: number): number[] => {
    if (source(2) === 0) return randomInstruction(source, Math.min(15, room));
    let number = 0;
    do number = source(source(4) === 0 ? 0x100 : 40); while (FATAL_HYPERCALLS.has(number) && source(16) > 0);
    const bytes = [0xb8, ...word(number)];
    for (const register of [0xbb, 0xb9, 0xba, 0xbe, 0xbf]) bytes.push(register, ...word(argument()));
    return [...bytes, 0xcd, 0x82];
  };
  body = emitBody(code, random, data + 0x9000, PV_SLOT, instruction);
  code.emit(0xe9);
  code.word(powerOff - (code.here + 4));
  for (const { at, bound } of patches) code.patchWord(at, bound());
  const notes = xenNotes([[6, 'linux'], [5, 'xen-3.0'], [8, 'generic'], [9, 'yes'], [1, entry], [2, origin], [3, PV_BASE], [4, 0]]);
  return { image: elf(code.finish(), entry, origin, LOAD, notes), body };
}
