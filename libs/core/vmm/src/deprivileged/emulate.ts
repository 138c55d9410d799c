import type { Exit, SegmentName } from '@ringside/machine';
import type { InstructionAssist } from '@ringside/x86';
import { PAGE_BYTES } from '../monitor-space.js';
import { checkedSegment, emulateFarJump, emulateFarReturn, emulateIret, emulateSysenter, emulateSysexit } from './emulate-transfer.js';
import type { DeprivilegedExit } from './deprivileged-exit.js';
import { generalProtection } from './deprivileged-exit.js';
import { loadLdt, loadTable, loadTaskRegister } from './descriptor-tables.js';
import { EAX, ECX, EDI, EDX, ESI } from './guest-frame.js';
import { GuestException } from './linear-memory.js';
import { isControlRegister, readControlRegister, reloadPaging, writeControlRegister } from './virtual-control-registers.js';

const { floor, max, min } = Math;
const INVALID_OPCODE = 6;
const EFLAGS_DF = 1 << 10;
const MSR_TSC = 0x10, MSR_EFER = 0xc000_0080, EFER_NXE = 0x800n;
const CR0_TS = 8;
const CR4_TSD = 4;
const TSS_IO_MAP_BASE = 102;
/** Access rights: the segment is unusable; S, code, expand-down. */
const UNUSABLE = 0x1_0000, EXPAND_DOWN_BITS = 0x1c, EXPAND_DOWN = 0x14;
const MEMORY_OPERAND = / (?:.*,)?[EM][a-z]?(?:,|$)/;
const SEGMENTS: readonly SegmentName[] = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'];

/** What became of the instruction: done (EIP goes behind it), jumped (it has set EIP itself), iterations of a REP done, or not one that ring -1 emulates. */
export type Emulation = 'done' | 'jumped' | { readonly iterations: number; readonly finished: boolean } | 'refused';
type Emulator = (exit: DeprivilegedExit, instruction: InstructionAssist) => Emulation | Promise<Emulation>;

/** Only in ring 0: elsewhere the #GP is the guest's. */
const kernel = (emulate: (exit: DeprivilegedExit, instruction: InstructionAssist) => void | Promise<void>): Emulator => async (exit, instruction): Promise<Emulation> => {
  if (exit.virtualLevel !== 0) return 'refused';
  await emulate(exit, instruction);
  return 'done';
};

/** CLI and STI: by the virtual IOPL. */
const setInterruptFlag = (value: boolean): Emulator => ({ vcpu, virtualLevel, transaction }) => {
  if (virtualLevel > vcpu.iopl) return 'refused';
  // Interrupts are taken behind the next instruction, if they were off (SDM Vol. 2B, STI): STI; HLT must not lose a wake-up.
  if (value && !vcpu.interruptFlag) vcpu.shadowAt = transaction.exit.retired + 1;
  vcpu.interruptFlag = value;
  return 'done';
};

const ports = (size: 1 | 2 | 4 | 'operand', write: boolean, immediate: boolean): Emulator => async (exit, instruction): Promise<Emulation> => {
  const { frame } = exit;
  const bytes = size === 'operand' ? instruction.operandSize : size;
  const port = immediate ? instruction.immediate & 0xff : frame.general[EDX]! & 0xffff;
  await requirePort(exit, port, bytes);
  const value = Uint8Array.from({ length: 4 }, (_, byte) => (frame.general[EAX]! >>> (byte * 8)) & 0xff);
  const data = await portCycle(exit, port, bytes, write, 1, write ? value.slice(0, bytes) : new Uint8Array(0));
  if (!write) {
    value.set(data.subarray(0, bytes));
    frame.general[EAX] = new DataView(value.buffer).getUint32(0, true);
  }
  return 'done';
};

async function portCycle(exit: DeprivilegedExit, address: number, size: 1 | 2 | 4, write: boolean, count: number, data: Uint8Array): Promise<Uint8Array> {
  // INTR is looked at when the instruction is done, with the flags as they are then.
  const reply = await exit.machine.cycle(exit.transaction, 'port', { space: 'port', address, size, write, count, data }, false);
  return reply.data;
}

/** IOPL, or the I/O map of the guest's TSS (SDM Vol. 1 19.5). @throws GuestException */
async function requirePort({ vcpu, virtualLevel, memory }: DeprivilegedExit, port: number, size: number): Promise<void> {
  if (virtualLevel <= vcpu.iopl) return;
  if (vcpu.tr.limit < TSS_IO_MAP_BASE + 1) throw generalProtection();
  const [low, high] = await memory.read((vcpu.tr.base + TSS_IO_MAP_BASE) >>> 0, 2, false);
  const at = (low! | (high! << 8)) + (port >>> 3);
  if (at + 1 > vcpu.tr.limit) throw generalProtection();
  const [first, second] = await memory.read((vcpu.tr.base + at) >>> 0, 2, false);
  if (((first! | (second! << 8)) & (((1 << size) - 1) << (port & 7))) !== 0) throw generalProtection();
}

/** INS and OUTS, with REP as many elements as lie in one page. */
const stringPorts = (byteSize: boolean, write: boolean): Emulator => async (exit, instruction): Promise<Emulation> => {
  const { frame, memory } = exit;
  const { general } = frame;
  if (instruction.address16) return 'refused';
  const size = byteSize ? 1 : instruction.operandSize;
  const port = general[EDX]! & 0xffff;
  await requirePort(exit, port, size);
  const wanted = instruction.repeated ? general[ECX]! : 1;
  if (wanted === 0) return 'done';
  const index = write ? ESI : EDI;
  const segment = frame.segment(write ? SEGMENTS[instruction.segment] ?? 'ds' : 'es');
  const user = frame.cpl === 3;
  const linear = (segment.base + general[index]!) >>> 0;
  const backwards = (frame.eflags & EFLAGS_DF) !== 0;
  const count = backwards ? 1 : max(1, min(wanted, floor((PAGE_BYTES - (linear % PAGE_BYTES)) / size)));
  if ((segment.rights & 0x1_0000) !== 0 || general[index]! + count * size - 1 > segment.limit) throw generalProtection();
  if (write) await portCycle(exit, port, size, true, count, await memory.read(linear, count * size, user));
  else {
    // Nothing may be read from the device unless it can be stored.
    for (let at = 0; at < count * size; at += size) await memory.translate((linear + at) >>> 0, { write: true, user, fetch: false });
    await memory.write(linear, await portCycle(exit, port, size, false, count, new Uint8Array(0)), user);
  }
  general[index] = general[index]! + (backwards ? -size : count * size);
  if (!instruction.repeated) return 'done';
  general[ECX] = wanted - count;
  return { iterations: count, finished: wanted === count };
};

const loadDescriptorTable = (table: 'gdtr' | 'idtr'): Emulator => kernel(async (exit, { linear, operandSize }) => {
  const bytes = await exit.memory.read(linear!, 6, false);
  const view = new DataView(bytes.buffer);
  const base = view.getUint32(2, true);
  exit.vcpu[table] = { base: operandSize === 2 ? base & 0xff_ffff : base, limit: view.getUint16(0, true) };
  if (table === 'gdtr') await loadTable(exit, 'gdt');
});

/** A 16-bit operand in a register or in memory. */
async function word({ frame, memory }: DeprivilegedExit, { b, linear }: InstructionAssist): Promise<number> {
  if (linear === null) return frame.general[b]! & 0xffff;
  const bytes = await memory.read(linear, 2, frame.cpl === 3);
  return bytes[0]! | (bytes[1]! << 8);
}

const timeStamp = ({ timeStamp: stamp, now }: Exit): bigint => BigInt(stamp ?? now);

function readMsr({ vcpu, transaction }: DeprivilegedExit, msr: number): bigint {
  if (msr === MSR_TSC) return timeStamp(transaction.exit);
  const value = vcpu.msrs.get(msr);
  if (value === undefined) throw generalProtection();
  return value;
}

function writeMsr(exit: DeprivilegedExit, msr: number, value: bigint): void {
  if (msr === MSR_TSC) {
    // The instruction has retired by the time that the effect is applied; natively the TSC was set while it began.
    exit.transaction.add({ kind: 'msr', msr, value: value + 1n });
    return;
  }
  if (!exit.vcpu.msrs.has(msr) || (msr === MSR_EFER && (value & ~EFER_NXE) !== 0n)) throw generalProtection();
  exit.vcpu.msrs.set(msr, value);
  if (msr === MSR_EFER) reloadPaging(exit);
}

function setPair(general: Uint32Array, value: bigint): void {
  general[EAX] = Number(value & 0xffff_ffffn);
  general[EDX] = Number(value >> 32n);
}

const debugNumber = ({ vcpu }: DeprivilegedExit, register: number): number => {
  if (register !== 4 && register !== 5) return register;
  if ((vcpu.cr4 & 8) !== 0) throw new GuestException(INVALID_OPCODE, null);
  return register + 2;
};

const popSegment = (name: SegmentName): Emulator => async (exit, { operandSize }): Promise<Emulation> => {
  const [top] = await exit.stack(1);
  await checkedSegment(exit, name, top! & 0xffff);
  exit.frame.esp = (exit.frame.esp + operandSize) >>> 0;
  return 'done';
};

const loadFarPointer = (name: SegmentName): Emulator => async (exit, { a, linear, operandSize }): Promise<Emulation> => {
  const bytes = await exit.memory.read(linear!, operandSize + 2, exit.frame.cpl === 3);
  const view = new DataView(bytes.buffer);
  await checkedSegment(exit, name, view.getUint16(operandSize, true));
  const { general } = exit.frame;
  general[a] = operandSize === 4 ? view.getUint32(0, true) : (general[a]! & 0xffff_0000) | view.getUint16(0, true);
  return 'done';
};

/**
 * What a kernel in ring 1 traps on, by the opcode table's name: each instruction as ring 0 would have carried it out, on the state that the guest
 * believes in. Sensitive instructions that do not trap are not here: nobody hears of them.
 */
const EMULATORS: Readonly<Record<string, Emulator>> = {
  'CLI': setInterruptFlag(false),
  'STI': setInterruptFlag(true),
  'HLT': kernel(({ vcpu, transaction }) => {
    vcpu.halted = true;
    transaction.add({ kind: 'activity', activity: 'halted' });
  }),
  'CLTS': kernel(({ vcpu, machine, transaction }) => {
    vcpu.cr0 = (vcpu.cr0 & ~CR0_TS) >>> 0;
    machine.settleControlRegisters(transaction);
  }),
  'LMSW Ew': kernel(async (exit, instruction) => {
    const { vcpu, machine, transaction } = exit;
    const source = await word(exit, instruction);
    vcpu.cr0 = ((vcpu.cr0 & ~0xe) | (source & 0xf)) >>> 0;
    machine.settleControlRegisters(transaction);
  }),
  'MOV Rd,Cd': kernel((exit, { a, b }) => {
    if (!isControlRegister(a)) throw new GuestException(INVALID_OPCODE, null);
    exit.frame.general[b] = readControlRegister(exit, a);
  }),
  'MOV Cd,Rd': kernel(async (exit, { a, b }) => {
    if (!isControlRegister(a)) throw new GuestException(INVALID_OPCODE, null);
    await writeControlRegister(exit, a, exit.frame.general[b]!);
  }),
  'MOV Rd,Dd': kernel((exit, { a, b }) => { exit.frame.general[b] = exit.vcpu.debug[debugNumber(exit, a)]!; }),
  'MOV Dd,Rd': kernel((exit, { a, b }) => { exit.vcpu.debug[debugNumber(exit, a)] = exit.frame.general[b]!; }),
  'INVLPG M': kernel(({ transaction }, { linear }) => transaction.add({ kind: 'flush-page', linear: linear! })),
  'INVD': kernel(() => undefined),
  'WBINVD': kernel(() => undefined),
  'RDMSR': kernel((exit) => setPair(exit.frame.general, readMsr(exit, exit.frame.general[ECX]!))),
  'WRMSR': kernel((exit) => {
    const { general } = exit.frame;
    writeMsr(exit, general[ECX]!, (BigInt(general[EDX]!) << 32n) | BigInt(general[EAX]!));
  }),
  'RDTSC': (exit) => {
    if ((exit.vcpu.cr4 & CR4_TSD) !== 0 && exit.virtualLevel !== 0) return 'refused';
    setPair(exit.frame.general, timeStamp(exit.transaction.exit));
    return 'done';
  },
  'LGDT Mt': loadDescriptorTable('gdtr'),
  'LIDT Mt': loadDescriptorTable('idtr'),
  'LLDT Ew': kernel(async (exit, instruction) => loadLdt(exit, await word(exit, instruction))),
  'LTR Ew': kernel(async (exit, instruction) => loadTaskRegister(exit, await word(exit, instruction))),
  'IN AL,Ib': ports(1, false, true), 'IN eAX,Ib': ports('operand', false, true), 'IN AL,DX': ports(1, false, false), 'IN eAX,DX': ports('operand', false, false),
  'OUT Ib,AL': ports(1, true, true), 'OUT Ib,eAX': ports('operand', true, true), 'OUT DX,AL': ports(1, true, false), 'OUT DX,eAX': ports('operand', true, false),
  'INS Yb,DX': stringPorts(true, false), 'INS Yv,DX': stringPorts(false, false), 'OUTS DX,Xb': stringPorts(true, true), 'OUTS DX,Xv': stringPorts(false, true),
  'MOV Sw,Ew': async (exit, instruction): Promise<Emulation> => {
    await checkedSegment(exit, SEGMENTS[instruction.a]!, await word(exit, instruction));
    return 'done';
  },
  'POP ES': popSegment('es'), 'POP SS': popSegment('ss'), 'POP DS': popSegment('ds'), 'POP FS': popSegment('fs'), 'POP GS': popSegment('gs'),
  'LES Gv,Mp': loadFarPointer('es'), 'LSS Gv,Mp': loadFarPointer('ss'), 'LDS Gv,Mp': loadFarPointer('ds'), 'LFS Gv,Mp': loadFarPointer('fs'), 'LGS Gv,Mp': loadFarPointer('gs'),
  'IRET v': async (exit, { operandSize }) => (operandSize === 4 ? emulateIret(exit) : 'refused'),
  'RETF v': async (exit, { operandSize }) => (operandSize === 4 ? emulateFarReturn(exit, 0) : 'refused'),
  'RETF v,Iw': async (exit, { operandSize, immediate }) => (operandSize === 4 ? emulateFarReturn(exit, immediate & 0xffff) : 'refused'),
  'SYSENTER': emulateSysenter,
  'SYSEXIT': emulateSysexit,
  'JMPF Ap': (exit, { a, immediate }) => emulateFarJump(exit, a & 0xffff, immediate >>> 0),
  'JMPF Mp': async (exit, { linear, operandSize }) => {
    const view = new DataView((await exit.memory.read(linear!, operandSize + 2, exit.frame.cpl === 3)).buffer);
    return emulateFarJump(exit, view.getUint16(operandSize, true), operandSize === 4 ? view.getUint32(0, true) : view.getUint16(0, true));
  },
};

/** Instructions that ring -1 emulates, for `compare --list` and the reader. */
export const EMULATED_INSTRUCTIONS: readonly string[] = Object.keys(EMULATORS);

/** Carry out the instruction that raised #GP, #NP or #SS. @throws GuestException: the fault that ring 0 meets */
export async function emulate(exit: DeprivilegedExit, instruction: InstructionAssist): Promise<Emulation> {
  const emulator = EMULATORS[instruction.name];
  return emulator === undefined || !reachesOperand(exit, instruction) ? 'refused' : emulator(exit, instruction);
}

/** Whether the fault can be anything but that of the memory operand's own segment, unusable or too short: then it stays the guest's as it is. */
function reachesOperand({ frame }: DeprivilegedExit, { name, linear, segment }: InstructionAssist): boolean {
  if (linear === null || !MEMORY_OPERAND.test(name)) return true;
  const { rights, base, limit } = frame.segment(SEGMENTS[segment] ?? 'ds');
  return (rights & UNUSABLE) === 0 && ((rights & EXPAND_DOWN_BITS) === EXPAND_DOWN || ((linear - base) >>> 0) <= limit);
}
