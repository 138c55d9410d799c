import type { Exit, SegmentName } from '@ringside/machine';
import { SHADOW_MOV_SS, SHADOW_STI, type InstructionAssist } from '@ringside/x86';
import { checkedSegment, emulateIret, emulateSysenter, emulateSysexit } from './emulate-transfer.js';
import type { DeprivilegedExit } from './deprivileged-exit.js';
import { generalProtection } from './deprivileged-exit.js';
import { EAX, ECX, EDX } from './guest-frame.js';
import { isControlRegister, readControlRegister, reloadPaging, writeControlRegister } from './virtual-control-registers.js';

const MSR_TSC = 0x10, MSR_EFER = 0xc000_0080, EFER_NXE = 0x800n;
const CR0_TS = 8;
const CR4_TSD = 4;
const TSS_IO_MAP_BASE = 102;
/** Access rights: the segment is unusable; S, code, expand-down. */
const UNUSABLE = 0x1_0000, EXPAND_DOWN_BITS = 0x1c, EXPAND_DOWN = 0x14;
const MEMORY_OPERAND = / (?:.*,)?[EM][a-z]?(?:,|$)/;
const SEGMENTS: readonly SegmentName[] = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'];

/** What became of the instruction: done (EIP goes behind it), jumped (it has set EIP itself), or nothing: it is the interpreter's. */
export type Emulation = 'done' | 'jumped' | 'refused';
type Emulator = (exit: DeprivilegedExit, instruction: InstructionAssist) => Emulation | Promise<Emulation>;

/** Only in ring 0: elsewhere the #GP is the guest's. */
const kernel = (emulate: (exit: DeprivilegedExit, instruction: InstructionAssist) => void | Promise<void>): Emulator => async (exit, instruction): Promise<Emulation> => {
  if (exit.virtualLevel !== 0) return 'refused';
  await emulate(exit, instruction);
  return 'done';
};

/** CLI and STI: by the virtual IOPL. */
const setInterruptFlag = (value: boolean): Emulator => (exit) => {
  const { vcpu, virtualLevel } = exit;
  if (virtualLevel > vcpu.iopl) return 'refused';
  // Interrupts are taken behind the next instruction, if they were off (SDM Vol. 2B, STI): STI; HLT must not lose a wake-up.
  if (value && !vcpu.interruptFlag) exit.boundary = { events: 0, shadow: SHADOW_STI, trap: null, repUnderWay: false, mark: 0 };
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

/** MOV and POP of a segment register. That of SS holds interrupts and traps back for one instruction (SDM Vol. 3A 6.8.3). */
async function load(exit: DeprivilegedExit, name: SegmentName, selector: number): Promise<Emulation> {
  if (!await checkedSegment(exit, name, selector)) return 'refused';
  if (name === 'ss') exit.boundary = { events: 0, shadow: SHADOW_MOV_SS, trap: 0, repUnderWay: false, mark: 0 };
  return 'done';
}

const popSegment = (name: SegmentName): Emulator => async (exit, { operandSize }): Promise<Emulation> => {
  if (operandSize !== 4 || !exit.flatStack) return 'refused';
  const [top] = await exit.stack(1);
  const outcome = await load(exit, name, top! & 0xffff);
  if (outcome === 'done') exit.frame.esp = (exit.frame.esp + operandSize) >>> 0;
  return outcome;
};

/**
 * What a kernel in ring 1 traps on often, by the opcode table's name: each instruction as ring 0 would have carried it out, on the state that the guest
 * believes in, in its plain cases. All else is the interpreter's (guest-interpreter.ts).
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
  'MOV Rd,Cd': (exit, { a, b }) => {
    if (exit.virtualLevel !== 0 || !isControlRegister(a)) return 'refused';
    exit.frame.general[b] = readControlRegister(exit, a);
    return 'done';
  },
  'MOV Cd,Rd': async (exit, { a, b }): Promise<Emulation> =>
    (exit.virtualLevel === 0 && isControlRegister(a) && await writeControlRegister(exit, a, exit.frame.general[b]!) ? 'done' : 'refused'),
  'INVLPG M': kernel(({ transaction }, { linear }) => transaction.add({ kind: 'flush-page', linear: linear! })),
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
  'IN AL,Ib': ports(1, false, true), 'IN eAX,Ib': ports('operand', false, true), 'IN AL,DX': ports(1, false, false), 'IN eAX,DX': ports('operand', false, false),
  'OUT Ib,AL': ports(1, true, true), 'OUT Ib,eAX': ports('operand', true, true), 'OUT DX,AL': ports(1, true, false), 'OUT DX,eAX': ports('operand', true, false),
  'MOV Sw,Ew': async (exit, instruction): Promise<Emulation> => {
    return load(exit, SEGMENTS[instruction.a]!, await word(exit, instruction));
  },
  'POP ES': popSegment('es'), 'POP SS': popSegment('ss'), 'POP DS': popSegment('ds'), 'POP FS': popSegment('fs'), 'POP GS': popSegment('gs'),
  'IRET v': async (exit, { operandSize }) => (operandSize === 4 ? emulateIret(exit) : 'refused'),
  'SYSENTER': emulateSysenter,
  'SYSEXIT': emulateSysexit,
};

/** Carry out the instruction that raised #GP, #NP or #SS, or that translated code left to ring -1. @throws GuestException: a fault of the guest's, which the interpreter raises exactly */
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
