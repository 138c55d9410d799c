import type { SegmentName } from '@ringside/machine';
import { cpuidLeaf, I686_FEATURES, type BusAccess } from '@ringside/x86';
import { EAX, EBX, ECX, EDI, EDX, ESI } from '../deprivileged/guest-frame.js';
import { PAGE_BYTES } from '../monitor-space.js';
import { GuestFault, GuestMemory } from './guest-memory.js';
import { writeTaskSwitched } from './hypercalls/cpu-state.js';
import type { ParavirtExit } from './paravirt-exit.js';

const { min } = Math;

/** The longest instruction (SDM Vol. 2A 2.3.11). */
const MAX_INSTRUCTION_BYTES = 15;
const EFLAGS_DF = 1 << 10;
const CR0_TS = 8;
const MSR_TSC = 0x10, MSR_EFER = 0xc000_0080, EFER_NXE = 0x800;
/** Xen's leaves begin here. */
const XEN_CPUID_FIRST_LEAF = 0x4000_0000;

/**
 * Ports that belong to Xen, as with a privileged domain (ioports_deny_access): interrupt controllers, timer and its gate,
 * ELCR, and the serial port of the console. They read as all ones, and writes are ignored. Every other port is a cycle of
 * the device model.
 */
const XEN_PORTS: readonly (readonly [from: number, to: number])[] = [[0x20, 0x21], [0x40, 0x43], [0x61, 0x61], [0xa0, 0xa1], [0x3f8, 0x3ff], [0x4d0, 0x4d1]];

export type Emulation =
  | { readonly kind: 'done'; readonly length: number }
  | { readonly kind: 'refused' }
  | { readonly kind: 'page-fault'; readonly linear: number; readonly errorCode: number };

const REFUSED: Emulation = { kind: 'refused' };
const SEGMENT_PREFIXES: Readonly<Record<number, SegmentName>> = { 0x26: 'es', 0x2e: 'cs', 0x36: 'ss', 0x3e: 'ds', 0x64: 'fs', 0x65: 'gs' };

interface Prefixed { readonly bytes: Uint8Array; at: number; operand16: boolean; address16: boolean; rep: boolean; segment: SegmentName | null }

/**
 * Xen's emulate_privileged_op: a privileged instruction of the guest's kernel raised #GP. The few that have a meaning for a
 * domain are carried out; everything else stays #GP.
 */
export async function emulatePrivileged(exit: ParavirtExit): Promise<Emulation> {
  exit.transaction.charge('instruction-decode');
  const instruction = await fetch(exit);
  if (instruction === null) return REFUSED;
  const opcode = instruction.bytes[instruction.at++];
  if (opcode === undefined) return REFUSED;
  if (opcode === 0x0f) return emulateTwoByte(exit, instruction);
  switch (opcode) {
    case 0x6c: case 0x6d: case 0x6e: case 0x6f: return emulateString(exit, instruction, opcode);
    case 0xe4: case 0xe5: case 0xe6: case 0xe7: {
      const port = instruction.bytes[instruction.at++];
      return port === undefined ? REFUSED : emulatePort(exit, instruction, opcode, port);
    }
    case 0xec: case 0xed: case 0xee: case 0xef: return emulatePort(exit, instruction, opcode, exit.frame.general[EDX]! & 0xffff);
    // CLI and STI do nothing for a kernel with I/O privilege, as in Xen: the virtual IF is a byte in memory.
    case 0xfa: case 0xfb: return hasIopl(exit) ? done(instruction) : REFUSED;
    default: return REFUSED;
  }
}

/**
 * Forced emulation: `ud2; .ascii "xen"` before CPUID asks for the leaves that Xen shows, instead of the processor's. Returns
 * the length of both, or 0.
 */
export async function emulateForced(exit: ParavirtExit): Promise<number> {
  const bytes = await code(exit);
  if (!FORCED_CPUID.every((byte, index) => bytes[index] === byte)) return 0;
  const { general } = exit.frame;
  const leaf = xenCpuid(general[EAX]!);
  general[EAX] = leaf.eax;
  general[EBX] = leaf.ebx;
  general[ECX] = leaf.ecx;
  general[EDX] = leaf.edx;
  return FORCED_CPUID.length;
}
const FORCED_CPUID: readonly number[] = [0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2];

/** Features that a deprivileged kernel cannot use are hidden: PSE, PGE, SEP. Then Xen's own leaves. */
function xenCpuid(leaf: number): { eax: number; ebx: number; ecx: number; edx: number } {
  switch (leaf) {
    case 1: {
      const own = cpuidLeaf(I686_FEATURES, leaf);
      return { ...own, ecx: own.ecx | (1 << 31), edx: own.edx & ~((1 << 3) | (1 << 11) | (1 << 13) | (1 << 17)) };
    }
    case XEN_CPUID_FIRST_LEAF: return { eax: XEN_CPUID_FIRST_LEAF + 2, ebx: 0x566e_6558, ecx: 0x6558_4d4d, edx: 0x4d4d_566e }; // "XenV" "MMXe" "nVMM"
    case XEN_CPUID_FIRST_LEAF + 1: return { eax: (4 << 16) | 17, ebx: 0, ecx: 0, edx: 0 };
    case XEN_CPUID_FIRST_LEAF + 2: return { eax: 1, ebx: 0x4000_0000, ecx: 0, edx: 0 };
    default: return cpuidLeaf(I686_FEATURES, leaf);
  }
}

// ---- Instruction bytes ----------------------------------------------------------------------------------------------------

/** The bytes at CS:EIP, as many as are mapped, at most 15. */
async function code({ frame, memory }: ParavirtExit): Promise<Uint8Array> {
  const linear = (frame.segment('cs').base + frame.eip) >>> 0;
  try {
    return await memory.read(linear, MAX_INSTRUCTION_BYTES);
  } catch (error) {
    if (!(error instanceof GuestFault)) throw error;
  }
  try {
    return await memory.read(linear, min(MAX_INSTRUCTION_BYTES, PAGE_BYTES - (linear % PAGE_BYTES)));
  } catch (error) {
    if (!(error instanceof GuestFault)) throw error;
    return new Uint8Array(0);
  }
}

async function fetch(exit: ParavirtExit): Promise<Prefixed | null> {
  // 16-bit code segments have their own defaults, which no kernel uses: D/B must be set.
  if ((exit.frame.segment('cs').rights & (1 << 14)) === 0) return null;
  const prefixed: Prefixed = { bytes: await code(exit), at: 0, operand16: false, address16: false, rep: false, segment: null };
  for (;;) {
    const byte = prefixed.bytes[prefixed.at];
    if (byte === undefined) return null;
    if (byte === 0x66) prefixed.operand16 = true;
    else if (byte === 0x67) prefixed.address16 = true;
    else if (byte === 0xf2 || byte === 0xf3) prefixed.rep = true;
    else if (SEGMENT_PREFIXES[byte] !== undefined) prefixed.segment = SEGMENT_PREFIXES[byte];
    else return prefixed;
    prefixed.at++;
  }
}

function done(instruction: Prefixed): Emulation {
  return { kind: 'done', length: instruction.at };
}

/** Whether the guest runs its kernel: only that may do what ring 0 does. */
function inKernel({ domain, frame }: ParavirtExit): boolean {
  return domain.guestRing(frame) === 1;
}

// ---- Ports ------------------------------------------------------------------------------------------------------------------

function hasIopl({ domain, frame }: ParavirtExit): boolean {
  return (domain.guestRing(frame) === 3 ? 3 : 1) <= domain.iopl;
}

/** guest_io_okay: IOPL, or the guest's own I/O bitmap. */
async function portAllowed(exit: ParavirtExit, port: number, size: number): Promise<boolean> {
  if (hasIopl(exit)) return true;
  const { linear, ports } = exit.domain.ioBitmap;
  if (ports <= port + size) return false;
  try {
    const bytes = await exit.kernelMemory.read(linear + (port >>> 3), 2);
    const mask = bytes[0]! | (bytes[1]! << 8);
    return (mask & (((1 << size) - 1) << (port & 7))) === 0;
  } catch (error) {
    if (!(error instanceof GuestFault)) throw error;
    return false;
  }
}

/** Carry out an access to `count` elements; what Xen keeps to itself reads as all ones. */
async function accessPort({ domain, transaction }: ParavirtExit, access: BusAccess): Promise<Uint8Array> {
  const last = access.address + access.size - 1;
  if (XEN_PORTS.some(([from, to]) => access.address <= to && from <= last)) return new Uint8Array(access.write ? 0 : access.size * access.count).fill(0xff);
  const reply = await transaction.cycle('port', access);
  domain.noteBoard(transaction, reply);
  return reply.data;
}

function operandSize(instruction: Prefixed, opcode: number): 1 | 2 | 4 {
  return (opcode & 1) === 0 ? 1 : instruction.operand16 ? 2 : 4;
}

/** IN and OUT with AL, AX or EAX. Bit 1 of the opcode: OUT. */
async function emulatePort(exit: ParavirtExit, instruction: Prefixed, opcode: number, port: number): Promise<Emulation> {
  const size = operandSize(instruction, opcode);
  if (!(await portAllowed(exit, port, size))) return REFUSED;
  const { general } = exit.frame;
  const write = (opcode & 2) !== 0;
  const value = Uint8Array.from({ length: 4 }, (_, byte) => (general[EAX]! >>> (byte * 8)) & 0xff);
  const data = await accessPort(exit, { space: 'port', address: port, size, write, count: 1, data: write ? value.slice(0, size) : new Uint8Array(0) });
  if (!write) {
    value.set(data.subarray(0, size));
    general[EAX] = new DataView(value.buffer).getUint32(0, true);
  }
  return done(instruction);
}

/** INS and OUTS, with REP as many elements as lie in one page: the instruction is executed again for the rest. */
async function emulateString(exit: ParavirtExit, instruction: Prefixed, opcode: number): Promise<Emulation> {
  const { frame, domain, transaction } = exit;
  const { general } = frame;
  const memory = new GuestMemory(domain.paging, transaction, 'current', frame.cpl);
  if (instruction.address16) return REFUSED;
  const size = operandSize(instruction, opcode);
  const port = general[EDX]! & 0xffff;
  if (!(await portAllowed(exit, port, size))) return REFUSED;
  const write = (opcode & 2) !== 0;
  const wanted = instruction.rep ? general[ECX]! : 1;
  if (wanted === 0) return done(instruction);
  const index = write ? ESI : EDI;
  const segment = frame.segment(write ? instruction.segment ?? 'ds' : 'es');
  const offset = general[index]!;
  const backwards = (frame.eflags & EFLAGS_DF) !== 0;
  const linear = (segment.base + offset) >>> 0;
  const count = backwards ? 1 : Math.max(1, min(wanted, Math.floor((PAGE_BYTES - (linear % PAGE_BYTES)) / size)));
  if ((segment.rights & 0x1_0000) !== 0 || offset + count * size - 1 > segment.limit) return REFUSED;
  try {
    if (write) {
      await accessPort(exit, { space: 'port', address: port, size, write, count, data: await memory.read(linear, count * size) });
    } else {
      // Nothing may be read from the device unless it can be stored.
      memory.probe(linear, count * size);
      memory.write(linear, await accessPort(exit, { space: 'port', address: port, size, write, count, data: new Uint8Array(0) }));
    }
  } catch (error) {
    if (!(error instanceof GuestFault)) throw error;
    const present = domain.paging.walk(error.linear) !== null ? 1 : 0;
    return { kind: 'page-fault', linear: error.linear, errorCode: present | (write ? 0 : 2) | (domain.guestRing(frame) === 3 ? 4 : 0) };
  }
  general[index] = backwards ? offset - size : offset + count * size;
  if (!instruction.rep) return done(instruction);
  general[ECX] = wanted - count;
  return wanted === count ? done(instruction) : { kind: 'done', length: 0 };
}

// ---- Two-byte opcodes ---------------------------------------------------------------------------------------------------------

async function emulateTwoByte(exit: ParavirtExit, instruction: Prefixed): Promise<Emulation> {
  const { frame, transaction } = exit;
  const { general } = frame;
  const opcode = instruction.bytes[instruction.at++];
  if (opcode === undefined || !inKernel(exit)) return REFUSED;
  switch (opcode) {
    case 0x06: // CLTS
      writeTaskSwitched(exit, false);
      return done(instruction);
    case 0x08: case 0x09: // INVD, WBINVD: there are no caches
      return done(instruction);
    case 0x20: case 0x21: case 0x22: case 0x23: {
      const modrm = instruction.bytes[instruction.at++];
      if (modrm === undefined) return REFUSED;
      const register = (modrm >> 3) & 7;
      const general3 = modrm & 7;
      const okay = opcode === 0x20 ? readControl(exit, register, general3)
        : opcode === 0x22 ? await writeControl(exit, register, general[general3]!)
        : moveDebug(exit, register, general3, opcode === 0x23);
      return okay ? done(instruction) : REFUSED;
    }
    case 0x30: // WRMSR: what a domain may not change is ignored, what does not exist is #GP
      return general[ECX] === MSR_TSC || general[ECX] === MSR_EFER ? done(instruction) : REFUSED;
    case 0x31:
      setPair(general, transaction.exit.now);
      return done(instruction);
    case 0x32:
      if (general[ECX] === MSR_TSC) setPair(general, transaction.exit.now);
      else if (general[ECX] === MSR_EFER) setPair(general, EFER_NXE);
      else return REFUSED;
      return done(instruction);
    case 0xa2: {
      const leaf = cpuidLeaf(I686_FEATURES, general[EAX]!);
      general.set([leaf.eax, leaf.ecx, leaf.edx, leaf.ebx]);
      return done(instruction);
    }
    default: return REFUSED;
  }
}

function setPair(general: Uint32Array, value: number): void {
  general[EAX] = value % 0x1_0000_0000;
  general[EDX] = Math.floor(value / 0x1_0000_0000);
}

/** CR3 names a machine frame: the frame number with its upper bits turned down to the low end (xen_pfn_to_cr3). */
function readControl({ domain, frame, transaction }: ParavirtExit, register: number, into: number): boolean {
  switch (register) {
    case 0: frame.general[into] = frame.cr0; return true;
    case 2: frame.general[into] = domain.cr2; return true;
    case 3: frame.general[into] = (domain.paging.root << 12) | (domain.paging.root >>> 20); return true;
    case 4: frame.general[into] = transaction.exit.registers!.cr4; return true;
    default: return false;
  }
}

async function writeControl(exit: ParavirtExit, register: number, value: number): Promise<boolean> {
  const { domain, frame, transaction } = exit;
  switch (register) {
    case 0: // Of CR0 only TS is the guest's.
      if (((value ^ frame.cr0) & ~CR0_TS) !== 0) return false;
      writeTaskSwitched(exit, (value & CR0_TS) !== 0);
      return true;
    case 2:
      domain.cr2 = value;
      domain.events.setCr2(transaction, value);
      return true;
    case 3: return await domain.paging.setRoot(transaction, (value >>> 12) | (value << 20)) === 0;
    case 4: return value === transaction.exit.registers!.cr4;
    default: return false;
  }
}

function moveDebug({ domain, frame }: ParavirtExit, register: number, general: number, write: boolean): boolean {
  if (register === 4 || register === 5) return false;
  if (write) domain.debugRegisters[register] = frame.general[general]!;
  else frame.general[general] = domain.debugRegisters[register]!;
  return true;
}
