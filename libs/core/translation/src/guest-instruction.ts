import { CS, DS, ENTRIES, ES, FS, GS, Immediate, SS, type OpcodeRow } from '@ringside/x86';

const MOST_BYTES = 15;
const PREFIX_SEGMENT = new Map<number, number>([[0x26, ES], [0x2e, CS], [0x36, SS], [0x3e, DS], [0x64, FS], [0x65, GS]]);
const ESP = 4, EBP = 5;

/** One guest instruction as the translator and the verifier need it: its row of the opcode table, and where its parts lie. 32-bit code. */
export interface GuestInstruction {
  /** All bytes, prefixes included. */
  readonly bytes: Uint8Array;
  /** Null for an encoding that does not exist (#UD), or that is too long (#GP). */
  readonly row: OpcodeRow | null;
  readonly tooLong: boolean;
  readonly operand16: boolean;
  readonly address16: boolean;
  readonly lock: boolean;
  readonly repeated: boolean;
  /** Segment override, or -1. */
  readonly segment: number;
  /** -1 without one. */
  readonly modrm: number;
  /** ModRM, SIB and displacement. */
  readonly operand: Uint8Array;
  /** General registers that the memory operand's address is made of, as a bit mask. */
  readonly addressRegisters: number;
  /** ModRM names memory, or the operand is a moffs. */
  readonly memory: boolean;
  /** Sign-extended; far pointers: the offset. */
  readonly immediate: number;
}

/** Decode at `bytes[at]`; null when the bytes below `end` stop inside the instruction. */
export function decodeGuest(bytes: Uint8Array, at: number, end: number): GuestInstruction | null {
  const limit = end < at + MOST_BYTES ? end : at + MOST_BYTES;
  let cursor = at;
  let operand16 = false, address16 = false, lock = false, repeated = false, segment = -1;
  let short = false;
  const next = (): number => {
    if (cursor < limit) return bytes[cursor++]!;
    short = true;
    return 0;
  };
  let byte = next();
  for (; !short; byte = next()) {
    if (byte === 0x66) operand16 = true;
    else if (byte === 0x67) address16 = true;
    else if (byte === 0xf0) lock = true;
    else if (byte === 0xf2 || byte === 0xf3) repeated = true;
    else if (PREFIX_SEGMENT.has(byte)) segment = PREFIX_SEGMENT.get(byte)!;
    else break;
  }
  const opcode = byte === 0x0f && !short ? 0x100 | next() : byte;
  const group = short ? undefined : ENTRIES[opcode];
  let modrm = -1;
  let entry = group?.only;
  let memory = false;
  let addressRegisters = 0;
  let operandAt = cursor;
  let exists = group !== undefined;
  if (group?.modrm === true) {
    operandAt = cursor;
    modrm = next();
    entry = group.choose(modrm);
    exists = entry !== undefined;
    memory = modrm >> 6 !== 3 && entry?.registerOnly !== true;
    if (!memory && entry?.memoryOnly === true) exists = false;
    if (memory && exists) {
      const rm = modrm & 7;
      const mod = modrm >> 6;
      let size = mod === 1 ? 1 : mod === 2 ? (address16 ? 2 : 4) : 0;
      if (address16) {
        if (rm === 6 && mod === 0) size = 2;
      } else {
        let base = rm;
        if (rm === ESP) {
          const sib = next();
          base = sib & 7;
          if (((sib >> 3) & 7) !== ESP) addressRegisters |= 1 << ((sib >> 3) & 7);
        }
        if (base === EBP && mod === 0) size = 4;
        else addressRegisters |= 1 << base;
      }
      for (; size > 0; size--) next();
      if (address16) addressRegisters = (1 << 3) | (1 << 5) | (1 << 6) | (1 << 7);
    }
  }
  const operand = bytes.slice(operandAt, cursor);
  let immediate = 0;
  if (exists && entry !== undefined && !short) {
    const full = operand16 ? 2 : 4;
    const signed = (size: number): number => {
      let value = 0;
      for (let n = 0; n < size; n++) value |= next() << (8 * n);
      return size === 4 ? value : (value << (32 - 8 * size)) >> (32 - 8 * size);
    };
    switch (entry.immediate) {
      case Immediate.None: break;
      case Immediate.Byte: immediate = signed(1) & 0xff; break;
      case Immediate.SignedByte: case Immediate.RelativeByte: immediate = signed(1); break;
      case Immediate.Word: immediate = signed(2) & 0xffff; break;
      case Immediate.Full: case Immediate.RelativeFull: immediate = signed(full); break;
      case Immediate.Enter: immediate = signed(2) & 0xffff; next(); break;
      case Immediate.FarPointer: immediate = signed(full); next(); next(); break;
      case Immediate.Offset: immediate = signed(address16 ? 2 : 4); memory = true; break;
    }
  }
  const tooLong = short && limit === at + MOST_BYTES;
  if (short && !tooLong) return null;
  if (exists && lock && (entry?.lockable !== true || !memory)) exists = false;
  const row = exists && !tooLong ? entry?.row ?? null : null;
  return {
    bytes: bytes.slice(at, tooLong ? limit : cursor), row, tooLong, operand16, address16, lock, repeated, segment, modrm, operand, addressRegisters, memory, immediate,
  };
}

/** Whether it names memory through GS, which in translated code is the monitor's. */
export function usesGs({ row, segment, memory }: GuestInstruction): boolean {
  return segment === GS && (memory || row === null || row.operands.some((operand) => operand.startsWith('X')) || row.mnemonic === 'XLAT');
}
