import { ENTRIES, Immediate, type DecodeEntry } from './decode-table.js';

/** Instructions as text, from the same table as they are executed: Intel syntax, lower case. */

export interface DisassembledInstruction {
  /** Of the first byte, as given. */
  address: number;
  bytes: Uint8Array;
  text: string;
}

const REGISTERS32 = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi'];
const REGISTERS16 = ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di'];
const REGISTERS8 = ['al', 'cl', 'dl', 'bl', 'ah', 'ch', 'dh', 'bh'];
const SEGMENTS = ['es', 'cs', 'ss', 'ds', 'fs', 'gs', '?', '?'];
const ADDRESS16 = ['bx+si', 'bx+di', 'bp+si', 'bp+di', 'si', 'di', 'bp', 'bx'];
const PREFIX_SEGMENT = new Map([[0x26, 'es'], [0x2e, 'cs'], [0x36, 'ss'], [0x3e, 'ds'], [0x64, 'fs'], [0x65, 'gs']]);
const SIZE_NAME: Record<string, string> = { b: 'byte ptr ', w: 'word ptr ', d: 'dword ptr ', q: 'qword ptr ', t: 'fword ptr ' };
/** Names by operand size: 16, 32. */
const SIZED_NAMES: Record<string, readonly [string, string]> = { CBW: ['cbw', 'cwde'], CWD: ['cwd', 'cdq'], PUSHA: ['pusha', 'pushad'], POPA: ['popa', 'popad'], PUSHF: ['pushf', 'pushfd'], POPF: ['popf', 'popfd'], IRET: ['iret', 'iretd'] };

const hex = (value: number): string => {
  const unsigned = value >>> 0;
  return unsigned < 10 ? String(unsigned) : `0x${unsigned.toString(16)}`;
};
const signed = (value: number): string => (value < 0 ? `-${hex(-value)}` : `+${hex(value)}`);

class Reader {
  at = 0;
  constructor(readonly bytes: Uint8Array, readonly end: number) {}
  take(size: number): number {
    if (this.at + size > this.end) throw SHORT;
    let value = 0;
    for (let n = 0; n < size; n++) value |= this.bytes[this.at + n]! << (8 * n);
    this.at += size;
    return value;
  }
  takeSigned(size: number): number {
    const value = this.take(size);
    return size === 4 ? value : (value << (32 - 8 * size)) >> (32 - 8 * size);
  }
}
const SHORT = Object.freeze({ short: true });

/** Up to `count` instructions; bytes that are none are shown as `(bad)`, one at a time. */
export function disassembleBytes(bytes: Uint8Array, address: number, count: number, code32 = true): DisassembledInstruction[] {
  const lines: DisassembledInstruction[] = [];
  let at = 0;
  while (lines.length < count && at < bytes.length) {
    const rest = bytes.subarray(at, at + 15);
    const reader = new Reader(rest, rest.length);
    let text: string;
    try {
      text = instruction(reader, (address + at) >>> 0, code32);
    } catch (thrown) {
      if (thrown !== SHORT) throw thrown;
      if (rest.length < 15) break;
      text = '(bad)';
    }
    const length = text === '(bad)' ? 1 : reader.at;
    lines.push({ address: (address + at) >>> 0, bytes: rest.slice(0, length), text });
    at += length;
  }
  return lines;
}

interface Operand { text: string; memory: boolean }

function instruction(reader: Reader, address: number, code32: boolean): string {
  let operand32 = code32;
  let address32 = code32;
  let segment = '';
  let lock = false;
  let repeat = 0;
  let byte = reader.take(1);
  for (;; byte = reader.take(1)) {
    if (byte === 0x66) operand32 = !code32;
    else if (byte === 0x67) address32 = !code32;
    else if (byte === 0xf0) lock = true;
    else if (byte === 0xf2 || byte === 0xf3) repeat = byte;
    else if (PREFIX_SEGMENT.has(byte)) segment = PREFIX_SEGMENT.get(byte)!;
    else break;
  }
  const opcode = byte === 0x0f ? 0x100 | reader.take(1) : byte;
  const group = ENTRIES[opcode];
  if (group === undefined) return '(bad)';
  const modrm = group.modrm ? reader.take(1) : 0;
  const entry = group.modrm ? group.choose(modrm) : group.only;
  if (entry === undefined) return '(bad)';
  const inRegister = modrm >> 6 === 3 || entry.registerOnly;
  if (group.modrm && inRegister && entry.memoryOnly) return '(bad)';
  const where = group.modrm && !inRegister ? memory(reader, modrm, address32, segment) : '';
  const { row } = entry;
  const immediate = readImmediate(reader, entry, operand32, address32);
  const next = address + reader.at;
  const operands = row.operands.filter((operand) => operand !== 'v').map((operand) => show(operand, entry, modrm, opcode, operand32, inRegister, where, segment, immediate, next)).filter((operand) => operand.text !== '');
  if (lock && (!entry.lockable || operands[0]?.memory !== true)) return '(bad)';
  let name = SIZED_NAMES[row.mnemonic]?.[operand32 ? 1 : 0] ?? row.mnemonic.toLowerCase();
  if (row.attributes.has('string')) {
    name += row.operands.some((operand) => /^[XY]b$/.test(operand)) ? 'b' : operand32 ? 'd' : 'w';
    const override = segment !== '' && row.operands.some((operand) => operand.startsWith('X')) ? `${segment}: ` : '';
    const compares = row.mnemonic === 'CMPS' || row.mnemonic === 'SCAS';
    return `${repeat === 0xf2 ? 'repne ' : repeat === 0xf3 ? (compares ? 'repe ' : 'rep ') : ''}${override}${name}`;
  }
  if (row.code === '90' && repeat === 0xf3) return 'pause';
  if (/^(?:CALLF|JMPF|RETF)$/.test(row.mnemonic)) name = row.mnemonic === 'RETF' ? 'retf' : `${row.mnemonic.slice(0, -1).toLowerCase()} far`;
  return `${lock ? 'lock ' : ''}${name}${operands.length > 0 ? ` ${operands.map((operand) => operand.text).join(', ')}` : ''}`;
}

function memory(reader: Reader, modrm: number, address32: boolean, segment: string): string {
  const mod = modrm >> 6;
  const rm = modrm & 7;
  const parts: string[] = [];
  let size = mod === 1 ? 1 : mod === 2 ? (address32 ? 4 : 2) : 0;
  if (address32) {
    let base = rm;
    let scaled = '';
    if (rm === 4) {
      const sib = reader.take(1);
      base = sib & 7;
      const index = (sib >> 3) & 7;
      if (index !== 4) scaled = `${REGISTERS32[index]!}${sib >> 6 === 0 ? '' : `*${1 << (sib >> 6)}`}`;
    }
    if (base === 5 && mod === 0) size = 4;
    else parts.push(REGISTERS32[base]!);
    if (scaled !== '') parts.push(scaled);
  } else if (rm === 6 && mod === 0) size = 2;
  else parts.push(ADDRESS16[rm]!);
  const displacement = size === 0 ? 0 : reader.takeSigned(size);
  const sum = parts.join('+');
  const text = size === 0 ? sum : sum === '' ? hex(address32 ? displacement : displacement & 0xffff) : `${sum}${signed(displacement)}`;
  return `${segment === '' ? '' : `${segment}:`}[${text}]`;
}

function readImmediate(reader: Reader, entry: DecodeEntry, operand32: boolean, address32: boolean): readonly [number, number] {
  const full = operand32 ? 4 : 2;
  switch (entry.immediate) {
    case Immediate.None: return [0, 0];
    case Immediate.Byte: return [reader.take(1), 0];
    case Immediate.SignedByte: return [reader.takeSigned(1), 0];
    case Immediate.Word: return [reader.take(2), 0];
    case Immediate.Full: return [reader.take(full), 0];
    case Immediate.Enter: return [reader.take(2), reader.take(1)];
    case Immediate.FarPointer: return [reader.take(full), reader.take(2)];
    case Immediate.Offset: return [reader.take(address32 ? 4 : 2), 0];
    case Immediate.RelativeByte: return [reader.takeSigned(1), 0];
    case Immediate.RelativeFull: return [reader.takeSigned(full), 0];
  }
}

function show(
  operand: string, entry: DecodeEntry, modrm: number, opcode: number, operand32: boolean, inRegister: boolean, where: string, segment: string, immediate: readonly [number, number], next: number,
): Operand {
  const register = (text: string): Operand => ({ text, memory: false });
  const size = operand.slice(1);
  const general = size === 'b' ? REGISTERS8 : size === 'w' || (size === 'v' && !operand32) ? REGISTERS16 : REGISTERS32;
  switch (operand) {
    case 'eAX': return register(operand32 ? 'eax' : 'ax');
    case 'AL': case 'CL': case 'DX': case 'ES': case 'CS': case 'SS': case 'DS': case 'FS': case 'GS': return register(operand.toLowerCase());
    case '1': return register('1');
    default:
  }
  switch (operand[0]) {
    case 'G': return register(general[(modrm >> 3) & 7]!);
    case 'Z': return register(general[opcode & 7]!);
    case 'R': return register(REGISTERS32[modrm & 7]!);
    case 'S': return register(SEGMENTS[(modrm >> 3) & 7]!);
    case 'C': return register(`cr${(modrm >> 3) & 7}`);
    case 'D': return register(`dr${(modrm >> 3) & 7}`);
    case 'E': {
      if (inRegister) return register(general[modrm & 7]!);
      const name = SIZE_NAME[size === 'v' ? (operand32 ? 'd' : 'w') : size] ?? '';
      return { text: name + where, memory: true };
    }
    case 'M': return { text: (SIZE_NAME[size === 'p' ? (operand32 ? 't' : 'd') : size] ?? '') + where, memory: true };
    case 'O': return { text: `${SIZE_NAME[size === 'b' ? 'b' : operand32 ? 'd' : 'w']!}${segment === '' ? '' : `${segment}:`}[${hex(immediate[0])}]`, memory: true };
    case 'A': return register(`${hex(immediate[1])}:${hex(immediate[0])}`);
    case 'J': return register(hex(operand32 ? next + immediate[0] : (next + immediate[0]) & 0xffff));
    case 'I': {
      if (entry.immediate === Immediate.Enter) return register(hex(operand === 'Iw' ? immediate[0] : immediate[1]));
      const wide = entry.immediate === Immediate.SignedByte && !operand32 ? immediate[0] & 0xffff : immediate[0];
      return register(hex(entry.immediate === Immediate.SignedByte && immediate[0] < 0 ? wide : entry.immediate === Immediate.Full && !operand32 ? wide & 0xffff : wide));
    }
    default: return register('');
  }
}

