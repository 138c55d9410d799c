/**
 * Guests made from a seed, with an oracle that says beforehand what their run must cost: a straight line of CPUID, IN, OUT, control-register
 * and MSR accesses, string I/O and faults, the tick off, ending in power off. Nothing here knows the processor or ring -1: the
 * prediction follows from the seed and the execution controls (as `vm show --json` prints them) alone.
 */

import { Code, elf, moveImmediate, pushesErrorCode, randomFrom, xenNotes } from './machine-code.js';

/** The fields of the execution controls that the oracle reads. Bitmaps as the SDM lays them out (Vol. 3C 25.6). */
export interface OracleControls {
  hltExiting: boolean;
  invlpgExiting: boolean;
  rdtscExiting: boolean;
  cr3LoadExiting: boolean;
  wbinvdExiting: boolean;
  pauseExiting: boolean;
  ioExiting: 'all' | 'none' | Uint8Array;
  msrExiting: 'all' | 'none' | Uint8Array;
  exceptionBitmap: number;
  cr0Mask: number;
  cr0ReadShadow: number;
  cr4Mask: number;
  cr4ReadShadow: number;
}

export interface SeededGuest {
  image: Uint8Array;
  /** Exits by reason name that a hardware-assisted run makes, but for EPT violations: see `regions`. */
  hardwareAssisted(controls: OracleControls): Record<string, number>;
  /** 2 MiB regions of guest-physical memory that the guest touches: with an EPT filled by 2 MiB pages, one violation each. */
  regions: number;
  /** Port cycles of a native run. */
  portCycles: number;
  operations: string[];
}

export interface SeededPvGuest {
  image: Uint8Array;
  /** Exits by reason name. */
  exits: Record<string, number>;
  operations: string[];
}

const LOAD_ADDRESS = 0x10_0000;
const PV_BASE = 0xc000_0000;

const EAX = 0, ECX = 1, EDX = 2;
/** The length that the fault handler skips: 0 for traps, whose return address is already behind. */
function expectFault(code: Code, skipAddress: number, length: number): void {
  code.emit(0xc7, 0x05);
  code.word(skipAddress);
  code.word(length);
}
/** Handlers that add `skip` to the return address; vectors 8, 10–14 and 17 push an error code. */
function emitHandlers(code: Code, skipAddress: number): { plain: number; withError: number } {
  const plain = code.here;
  code.emit(0x50, 0xa1);
  code.word(skipAddress);
  code.emit(0x01, 0x44, 0x24, 0x04, 0x58, 0xcf);
  const withError = code.here;
  code.emit(0x50, 0xa1);
  code.word(skipAddress);
  code.emit(0x01, 0x44, 0x24, 0x08, 0x58, 0x83, 0xc4, 0x04, 0xcf);
  return { plain, withError };
}

type Tally = Record<string, number>;
const count = (tally: Tally, key: string, by = 1): void => {
  tally[key] = (tally[key] ?? 0) + by;
};

/** Ports nobody is hurt by: POST codes, the UART's scratch register, and ports that no device claims. */
const QUIET_PORTS = [0x80, 0x3ff, 0x2f0, 0x5000, 0xc0de];
const SYSENTER_MSRS = [0x174, 0x175, 0x176];
const UNKNOWN_MSR = 0x0000_1fe3;
const CR0_TS = 1 << 3;
const CR4_TSD = 1 << 2;

interface Operation {
  name: string;
  emit: (code: Code, skip: number) => void;
  /** Exits in a hardware-assisted run; `guest` is the guest's own view of its control registers, which moves on with the run. */
  exits: (controls: OracleControls, tally: Tally, guest: { cr0: number }) => void;
  portCycles: number;
}

const bit = (bitmap: 'all' | 'none' | Uint8Array, index: number): boolean =>
  bitmap === 'all' || (bitmap !== 'none' && ((bitmap[index >> 3] ?? 0) & (1 << (index & 7))) !== 0);
const portExits = (controls: OracleControls, port: number, size: number): boolean => {
  for (let byte = 0; byte < size; byte++) if (bit(controls.ioExiting, (port + byte) & 0xffff)) return true;
  return false;
};
/** SDM Vol. 3C 25.6.9: read bitmaps for low and high MSRs, then write bitmaps, 1,024 bytes each. */
const msrExits = (controls: OracleControls, msr: number, write: boolean): boolean => {
  if (typeof controls.msrExiting === 'string') return controls.msrExiting === 'all';
  if (msr > 0x1fff) return true;
  return bit(controls.msrExiting, (write ? 2048 * 8 : 0) + msr);
};
const exceptionExits = (controls: OracleControls, vector: number, tally: Tally): void => {
  if ((controls.exceptionBitmap & (1 << vector)) !== 0) count(tally, 'exception-or-nmi');
};

function portOperation(random: (below: number) => number): Operation {
  const port = QUIET_PORTS[random(QUIET_PORTS.length)]!;
  const size = [1, 2, 4][random(3)]!;
  const write = random(2) === 1;
  const value = random(0x1_0000);
  const opcode = (write ? 0xee : 0xec) | (size === 1 ? 0 : 1);
  return {
    name: `${write ? 'out' : 'in'}${size * 8} ${port.toString(16)}`,
    emit: (code) => {
      moveImmediate(code, EDX, port);
      moveImmediate(code, EAX, value);
      if (size === 2) code.emit(0x66);
      code.emit(opcode);
    },
    exits: (controls, tally) => { if (portExits(controls, port, size)) count(tally, 'io-instruction'); },
    portCycles: 1,
  };
}

/** REP OUTSB from a buffer inside one page: one access. */
function stringOperation(random: (below: number) => number): Operation {
  const length = 1 + random(40);
  return {
    name: `rep outsb × ${length}`,
    emit: (code) => {
      moveImmediate(code, EDX, 0x80);
      moveImmediate(code, ECX, length);
      moveImmediate(code, 6, LOAD_ADDRESS);
      code.emit(0xfc, 0xf3, 0x6e);
    },
    exits: (controls, tally) => { if (portExits(controls, 0x80, 1)) count(tally, 'io-instruction'); },
    portCycles: 1,
  };
}

function cr0Operation(random: (below: number) => number): Operation {
  const set = random(2) === 1;
  // PE | ET | NE | MP kept as the entry state has them plus TS: the guest reads, changes one bit, writes.
  return {
    name: set ? 'set cr0.ts' : 'clts',
    emit: (code) => {
      if (set) code.emit(0x0f, 0x20, 0xc0, 0x83, 0xc8, CR0_TS, 0x0f, 0x22, 0xc0);
      else code.emit(0x0f, 0x06);
    },
    exits: (controls, tally, guest) => {
      // CLTS exits when both mask and shadow hold the bit; a MOV exits when the written bit differs from the shadow.
      const changes = set !== ((guest.cr0 & CR0_TS) !== 0);
      if ((controls.cr0Mask & CR0_TS) !== 0 && changes) count(tally, 'cr-access');
      guest.cr0 = set ? guest.cr0 | CR0_TS : guest.cr0 & ~CR0_TS;
    },
    portCycles: 0,
  };
}

function cr4Operation(): Operation {
  return {
    name: 'toggle cr4.tsd twice',
    emit: (code) => {
      for (let time = 0; time < 2; time++) code.emit(0x0f, 0x20, 0xe0, 0x83, 0xf0, CR4_TSD, 0x0f, 0x22, 0xe0);
    },
    exits: (controls, tally) => {
      if ((controls.cr4Mask & CR4_TSD) !== 0) count(tally, 'cr-access', 2);
    },
    portCycles: 0,
  };
}

function msrOperation(random: (below: number) => number): Operation {
  const unknown = random(4) === 0;
  const msr = unknown ? UNKNOWN_MSR : SYSENTER_MSRS[random(3)]!;
  const write = random(2) === 1;
  return {
    name: `${write ? 'wrmsr' : 'rdmsr'} ${msr.toString(16)}`,
    emit: (code, skip) => {
      expectFault(code, skip, 2);
      moveImmediate(code, ECX, msr);
      moveImmediate(code, EAX, random(0x7fff_ffff));
      moveImmediate(code, EDX, 0);
      code.emit(0x0f, write ? 0x30 : 0x32);
    },
    exits: (controls, tally) => {
      if (msrExits(controls, msr, write)) count(tally, write ? 'wrmsr' : 'rdmsr');
      else if (unknown) exceptionExits(controls, 13, tally);
    },
    portCycles: 0,
  };
}

function faultOperation(random: (below: number) => number): Operation {
  const kind = random(3);
  const [name, vector] = ([['ud2', 6], ['div by zero', 0], ['int3', 3]] as const)[kind]!;
  return {
    name,
    emit: (code, skip) => {
      expectFault(code, skip, kind === 2 ? 0 : 2);
      if (kind === 0) code.emit(0x0f, 0x0b);
      if (kind === 1) {
        code.emit(0x31, 0xc9); // xor ecx, ecx
        code.emit(0xf7, 0xf1); // div ecx
      }
      if (kind === 2) code.emit(0xcc);
    },
    exits: (controls, tally) => exceptionExits(controls, vector, tally),
    portCycles: 0,
  };
}

const simple = (name: string, bytes: number[], reason: string, when: (controls: OracleControls) => boolean): Operation => ({
  name, emit: (code) => code.emit(...bytes), exits: (controls, tally) => { if (when(controls)) count(tally, reason); }, portCycles: 0,
});

function hardwareOperation(random: (below: number) => number): Operation {
  switch (random(11)) {
    case 0: case 1: return portOperation(random);
    case 2: return stringOperation(random);
    case 3: return cr0Operation(random);
    case 4: return cr4Operation();
    case 5: return msrOperation(random);
    case 6: return faultOperation(random);
    case 7: return simple('cpuid', [0x31, 0xc0, 0x0f, 0xa2], 'cpuid', () => true);
    case 8: return simple('rdtsc', [0x0f, 0x31], 'rdtsc', (controls) => controls.rdtscExiting);
    case 9: return simple('mov cr3', [0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8], 'cr-access', (controls) => controls.cr3LoadExiting);
    default: return [
      simple('wbinvd', [0x0f, 0x09], 'wbinvd', (controls) => controls.wbinvdExiting),
      simple('pause', [0xf3, 0x90], 'pause', (controls) => controls.pauseExiting),
      simple('invlpg', [0x0f, 0x01, 0x38], 'invlpg', (controls) => controls.invlpgExiting),
    ][random(3)]!;
  }
}

/** A Multiboot guest for `native` and `hardware-assisted`. */
export function seededGuest(seed: number, length = 120): SeededGuest {
  const random = randomFrom(seed);
  const operations = Array.from({ length }, () => hardwareOperation(random));
  const code = new Code(LOAD_ADDRESS);
  // Multiboot v1 header, no flags: the ELF headers say where to load.
  code.word(0x1bad_b002);
  code.word(0);
  code.word(-0x1bad_b002);
  const entry = code.here;
  const jump = code.here;
  code.emit(0xe9);
  code.word(0);
  code.align(8);
  const gdt = code.here;
  for (const low of [0, 0x0000_ffff, 0x0000_ffff]) {
    const index = (code.here - gdt) / 8;
    code.word(low);
    code.word(index === 0 ? 0 : index === 1 ? 0x00cf_9b00 : 0x00cf_9300);
  }
  const gdtr = code.here;
  code.half(23);
  code.word(gdt);
  code.align(8);
  const idt = code.here;
  for (let vector = 0; vector < 32; vector++) {
    code.word(0);
    code.word(0);
  }
  const idtr = code.here;
  code.half(32 * 8 - 1);
  code.word(idt);
  code.align(4);
  const skip = code.here;
  code.word(0);
  const handlers = emitHandlers(code, skip);
  for (let vector = 0; vector < 32; vector++) {
    const handler = pushesErrorCode(vector) ? handlers.withError : handlers.plain;
    code.patchWord(idt + vector * 8, (8 << 16) | (handler & 0xffff));
    code.patchWord(idt + vector * 8 + 4, (handler & 0xffff_0000) | 0x8e00);
  }
  const start = code.here;
  code.patchWord(jump + 1, start - (jump + 5));
  code.emit(0xbc); // mov esp
  const stack = code.here;
  code.word(0);
  code.emit(0x0f, 0x01, 0x15); // lgdt
  code.word(gdtr);
  code.emit(0xea); // jmp 8:next
  code.word(code.here + 6);
  code.half(8);
  code.emit(0x66, 0xb8, 0x10, 0x00, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0); // ds es ss = 0x10
  code.emit(0x0f, 0x01, 0x1d); // lidt
  code.word(idtr);
  for (const operation of operations) operation.emit(code, skip);
  // Power off: ACPI PM1a control, SLP_EN with sleep type 0.
  moveImmediate(code, EDX, 0x604);
  moveImmediate(code, EAX, 0x2000);
  code.emit(0x66, 0xef, 0xfa, 0xf4); // out dx, ax; cli; hlt
  code.align(16);
  for (let index = 0; index < 64; index++) code.word(0);
  code.patchWord(stack, code.here);
  return {
    image: elf(code.finish(), entry, LOAD_ADDRESS, LOAD_ADDRESS, null),
    hardwareAssisted: (controls) => {
      const tally: Tally = {};
      const guest = { cr0: controls.cr0ReadShadow };
      for (const operation of operations) operation.exits(controls, tally, guest);
      if (portExits(controls, 0x604, 2)) count(tally, 'io-instruction');
      return tally;
    },
    // Everything lies in the first 2 MiB: 0x100000–0x1fffff.
    regions: 1,
    portCycles: operations.reduce((sum, operation) => sum + operation.portCycles, 0) + 1,
    operations: operations.map((operation) => operation.name),
  };
}

interface PvOperation { name: string; emit: (code: Code, skip: number, page: number) => void; exit: 'hypercall' | 'deprivileged-exception' | null }

function hypercall(code: Code, page: number, number: number): void {
  moveImmediate(code, EAX, page + 32 * number);
  code.emit(0xff, 0xd0); // call eax
}

function pvOperation(random: (below: number) => number): PvOperation {
  const port = QUIET_PORTS[random(QUIET_PORTS.length)]!;
  const set = random(2);
  switch (random(7)) {
    case 0: return { name: 'fpu_taskswitch', exit: 'hypercall', emit: (code, _skip, page) => { moveImmediate(code, 3, set); hypercall(code, page, 5); } };
    case 1: return { name: 'xen_version', exit: 'hypercall', emit: (code, _skip, page) => { moveImmediate(code, 3, 0); hypercall(code, page, 17); } };
    case 2: return {
      name: `in8 ${port.toString(16)}`, exit: 'deprivileged-exception',
      emit: (code, skip) => { expectFault(code, skip, 1); moveImmediate(code, EDX, port); code.emit(0xec); },
    };
    case 3: return { name: 'clts', exit: 'deprivileged-exception', emit: (code, skip) => { expectFault(code, skip, 2); code.emit(0x0f, 0x06); } };
    case 4: return { name: 'ud2', exit: 'deprivileged-exception', emit: (code, skip) => { expectFault(code, skip, 2); code.emit(0x0f, 0x0b); } };
    case 5: return { name: 'div by zero', exit: 'deprivileged-exception', emit: (code, skip) => { expectFault(code, skip, 2); code.emit(0x31, 0xc9, 0xf7, 0xf1); } };
    default: return { name: 'cpuid', exit: null, emit: (code) => code.emit(0x31, 0xc0, 0x0f, 0xa2) };
  }
}

/** The same in its paravirtualized form: a 32-bit PAE guest of the Xen PV ABI whose privileged work is hypercalls, or traps. */
export function seededPvGuest(seed: number, length = 120): SeededPvGuest {
  const random = randomFrom(seed);
  const operations = Array.from({ length }, () => pvOperation(random));
  const base = PV_BASE + LOAD_ADDRESS;
  const code = new Code(base);
  const page = base; // the hypercall page comes first, page-aligned
  for (let index = 0; index < 4096; index++) code.emit(0);
  const skip = code.here;
  code.word(0);
  const handlers = emitHandlers(code, skip);
  code.align(4);
  const traps = code.here;
  for (const vector of [0, 3, 6, 13]) {
    code.emit(vector, 3);
    code.half(0xe019);
    code.word(pushesErrorCode(vector) ? handlers.withError : handlers.plain);
  }
  code.word(0);
  code.word(0);
  const shutdown = code.here;
  code.word(0); // SHUTDOWN_poweroff
  const entry = code.here;
  moveImmediate(code, 3, traps);
  hypercall(code, page, 0); // set_trap_table
  for (const operation of operations) operation.emit(code, skip, page);
  moveImmediate(code, 3, 2); // SCHEDOP_shutdown
  moveImmediate(code, ECX, shutdown);
  hypercall(code, page, 29);
  code.emit(0xeb, 0xfe);
  const exits: Tally = { hypercall: 2 };
  for (const operation of operations) if (operation.exit !== null) count(exits, operation.exit);
  const notes = xenNotes([
    [6, 'linux'], // GUEST_OS
    [5, 'xen-3.0'], // XEN_VERSION
    [8, 'generic'], // LOADER
    [9, 'yes'], // PAE_MODE
    [1, entry], [2, page], [3, PV_BASE], [4, 0],
  ]);
  return { image: elf(code.finish(), entry, base, LOAD_ADDRESS, notes), exits, operations: operations.map((operation) => operation.name) };
}
