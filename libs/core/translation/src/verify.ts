import { GS } from '@ringside/x86';
import { decodeGuest, usesGs, type GuestInstruction } from './guest-instruction.js';
import { ECX, ESP, host, HostCode, sideEntry } from './host-code.js';
import { LOADS_AS_TOLD, POPF_CLASS, READABLE_FIELDS, saved, WRITABLE_FIELDS } from './monitor-data.js';
import { emitAsk } from './ask-sequence.js';
import { emitReturn } from './return-sequence.js';
import { emitClearTaskSwitched, emitMoveToCr0 } from './task-switched-sequence.js';
import { isMoveToCr0 } from './treatment.js';
import {
  COMMITS, DYNAMIC_EIP, FAULT_IS_CALLOUT, GATE_CALLOUT, GATE_EXIT, MODE_ASK, MODE_CPL_SHIFT, MODE_IOPL, MOST_INSTRUCTIONS, SIDE_WORDS, SPILLED_SHIFT, type TranslatedInstruction, type TranslationRequest, type TranslationUnit, type UnitExit,
} from './unit.js';

/**
 * The verifier: whether a unit that came from somewhere is safe to run, judged by itself and not by how the translator builds units. Null if so, else what is wrong.
 *
 * It holds that the unit answers this request; that what is marked a copy is one, and of nothing privileged or sensitive; that added code is
 * made of the few instructions which change no flag, addresses only the listed fields of monitor data or the guest's own
 * operand, and has every register it uses saved before and put back behind; that branches stay inside or lead to the exits that
 * are listed; and that on every way through it guest EIP moves only by commits, one for each guest instruction.
 *
 * It does not prove that added code computes what the guest's instruction does: a wrong but harmless-looking unit (a saved register
 * put back from the wrong moment, a selector read for another) passes, and only recomputing the unit finds it.
 */
export function verifyUnit(request: TranslationRequest, unit: TranslationUnit): string | null {
  return new Verifier(request, unit).check();
}

const PAGE = 4096;
const NO_EIP = -1;
/** The gate of a store that asks is two bytes; the copy follows. */
const ASK_COPY_AT = 2;
const KNOWN_FLAGS = COMMITS | DYNAMIC_EIP | FAULT_IS_CALLOUT | (0xff << SPILLED_SHIFT);

/** Rows that added code may be made of. Relative jumps and gates are judged by where they lead. */
const ADDED = new Set([
  '88', '89', '8B', '8D', 'B9', 'C6/0', '0FB6', '0FB7', '90', '0F1F', '68', '50', '51', '52', '53', '55', '56', '57', '58', '59', '5A', '5B', '5D', '5E', '5F', 'FF/6',
  'E0', 'E1', 'E2', 'E3', 'E9', 'EB', 'CD', '9C', '9D', '8E', '0F0B',
]);
const WRITES_MEMORY = new Set(['88', '89', 'C6/0']);
const READS_MEMORY = new Set(['8B', '0FB6', '0FB7', 'FF/6']);
const isJcc = (code: string): boolean => /^0F8[0-9A-F]$/.test(code);

interface HostInstruction { readonly decoded: GuestInstruction; readonly at: number; readonly end: number; readonly eip: number; readonly flags: number }
interface Flow { dirty: number; saved: number }

class Verifier {
  private readonly host: HostInstruction[] = [];
  private readonly guest: GuestInstruction[] = [];
  private readonly exits = new Map<number, UnitExit>();

  constructor(private readonly request: TranslationRequest, private readonly unit: TranslationUnit) {}

  check(): string | null {
    return this.answersRequest() ?? this.readGuest() ?? this.readHost() ?? this.placeInstructions() ?? this.readExits() ?? this.judgeCode() ?? this.follow();
  }

  private answersRequest(): string | null {
    const { request, unit } = this;
    if (unit.eip >>> 0 !== request.eip >>> 0 || unit.mode !== request.mode || unit.layout !== request.layout) return 'another key';
    if (unit.guest.length === 0 || unit.guest.length > request.bytes.length || unit.guest.some((byte, n) => byte !== request.bytes[n])) return 'other guest bytes';
    if (unit.straddles !== (request.pageOffset + unit.guest.length > PAGE)) return 'page end not told';
    return null;
  }

  /** The unit's instructions are the guest's, one behind the other. */
  private readGuest(): string | null {
    const { instructions, guest, straddles } = this.unit;
    if (instructions.length === 0 || instructions.length > MOST_INSTRUCTIONS || (straddles && instructions.length !== 1)) return 'number of instructions';
    let at = 0;
    for (const instruction of instructions) {
      const decoded = decodeGuest(guest, at, guest.length);
      if (instruction.at !== at || decoded === null || decoded.bytes.length !== instruction.length) return `guest instruction at ${at}`;
      this.guest.push(decoded);
      at += instruction.length;
    }
    return at === guest.length ? null : 'guest bytes left over';
  }

  /** The code is whole instructions, and the side table has one entry for each. */
  private readHost(): string | null {
    const { code, sideTable } = this.unit;
    let index = 0;
    for (let at = 0; at < code.length; index++) {
      if (sideTable[index * SIDE_WORDS] !== at) return `side table: no entry for ${at}`;
      const decoded = decodeGuest(code, at, code.length);
      if (decoded === null) return `code ends inside an instruction at ${at}`;
      const end = at + decoded.bytes.length;
      this.host.push({ decoded, at, end, eip: sideTable[index * SIDE_WORDS + 1]!, flags: sideTable[index * SIDE_WORDS + 2]! });
      at = end;
    }
    return sideTable.length === index * SIDE_WORDS ? null : 'side table: more entries than instructions';
  }

  private placeInstructions(): string | null {
    let at = 0;
    for (const { from, to } of this.unit.instructions) {
      if (from < at || to <= from || this.hostAt(from) === undefined || (to !== this.unit.code.length && this.hostAt(to) === undefined)) return `host code of an instruction at ${from}`;
      if (from !== at) return `code between instructions at ${at}`;
      at = to;
    }
    return null;
  }

  private readExits(): string | null {
    for (const exit of this.unit.exits) {
      const host = this.hostAt(exit.at);
      if (host === undefined || this.exits.has(exit.at)) return `exit at ${exit.at}`;
      this.exits.set(exit.at, exit);
      const { code } = this.unit;
      const gate = code[exit.at] === 0xcd ? code[exit.at + 1]! : -1;
      switch (exit.kind) {
        case 'direct': {
          const place = this.request.pageOffset + ((exit.target | 0) - (this.unit.eip | 0));
          if (gate !== GATE_EXIT || code[exit.at + 2] !== 0x0f || code[exit.at + 3] !== 0x1f || code[exit.at + 4] !== 0) return `exit at ${exit.at}: no room for a jump`;
          if (place < 0 || place >= PAGE) return `exit at ${exit.at}: leaves the page`;
          if (host.eip !== (exit.target | 0) || (host.flags & DYNAMIC_EIP) !== 0) return `exit at ${exit.at}: not where the side table says`;
          const filler = this.hostAt(exit.at + 2);
          if (filler?.eip !== host.eip || filler.flags !== 0) return `side table: the room behind the exit at ${exit.at}`;
          break;
        }
        case 'lookup':
          if (code[exit.at] !== 0xe9 || host.decoded.immediate !== 0) return `exit at ${exit.at}: no jump to the lookup stub`;
          break;
        case 'pending':
          if (gate !== GATE_EXIT) return `exit at ${exit.at}: no gate`;
          break;
        case 'callout':
          if (gate !== GATE_CALLOUT || host.eip !== ((this.unit.eip + exit.instruction) | 0) || !this.unit.instructions.some(({ at }) => at === exit.instruction)) return `exit at ${exit.at}: no callout`;
          break;
        default: { const unreachable: never = exit; return unreachable; }
      }
    }
    return null;
  }

  private judgeCode(): string | null {
    for (const host of this.host) {
      const index = this.unit.instructions.findIndex(({ from, to }) => host.at >= from && host.at < to);
      const instruction = this.unit.instructions[index];
      if (instruction !== undefined && this.isWhole(index)) {
        const wrong = host.at === instruction.from ? this.judgeWhole(instruction, this.guest[index]!) : null;
        if (wrong !== null) return wrong;
        continue;
      }
      if (this.asks && host.at <= ASK_COPY_AT) {
        const wrong = host.at === 0 ? this.judgeAsk() : null;
        if (wrong !== null) return wrong;
        continue;
      }
      const wrong = instruction?.treatment === 'ident' ? this.judgeCopy(host, instruction, this.guest[index]!) : this.judgeAdded(host, index);
      if (wrong !== null) return `${wrong} at ${host.at}`;
    }
    return null;
  }

  private judgeCopy(host: HostInstruction, { from, to, at, length }: TranslatedInstruction, guest: GuestInstruction): string | null {
    const { code } = this.unit;
    if (host.at !== from || host.end !== to || to - from !== length) return 'a copy of another length';
    for (let n = 0; n < length; n++) if (code[from + n] !== this.unit.guest[at + n]) return 'a copy that is none';
    return notToBeCopied(guest) ?? (host.flags !== COMMITS ? 'a copy that does not commit' : null);
  }

  private get asks(): boolean {
    return (this.unit.mode & MODE_ASK) !== 0;
  }

  /** A store that asks first: one instruction, which could be copied as well, behind its gate. */
  private judgeAsk(): string | null {
    const { unit } = this;
    const [guest] = this.guest;
    const wanted = new HostCode();
    emitAsk(wanted, guest!.bytes, unit.eip | 0);
    const side = wanted.sideTable();
    const same = this.guest.length === 1 && wanted.bytes.every((byte, n) => unit.code[n] === byte) && side.every((word, n) => unit.sideTable[n] === word)
      && this.exits.get(0)?.kind === 'callout';
    return same ? notToBeCopied(guest!) : 'a store that asks';
  }

  /** An instruction that is taken in one form only, byte for byte: IRET, the way out of ring 1, and what changes CR0.TS. Or it is left to ring -1 as a whole. */
  private isWhole(index: number): boolean {
    const guest = this.guest[index];
    const { treatment } = this.unit.instructions[index]!;
    return treatment === 'in-cache' && guest !== undefined && (guest.row?.mnemonic === 'IRET' || guest.row?.mnemonic === 'CLTS' || isMoveToCr0(guest));
  }

  private judgeWhole({ at, from, to }: TranslatedInstruction, guest: GuestInstruction): string | null {
    const { unit } = this;
    const what = guest.row!.mnemonic === 'IRET' ? `a return to an application at ${from}` : `a change of CR0 at ${from}`;
    const eip = (unit.eip + at) | 0;
    const wanted = new HostCode();
    let gate = -1;
    if (((unit.mode >> MODE_CPL_SHIFT) & 3) !== 0) return what;
    if (guest.row!.mnemonic === 'IRET') {
      if (guest.operand16 || (unit.mode & MODE_IOPL) !== 0) return what;
      gate = emitReturn(wanted, eip);
    } else {
      if (guest.lock) return what;
      if (guest.row!.mnemonic === 'CLTS') emitClearTaskSwitched(wanted, eip);
      else gate = emitMoveToCr0(wanted, eip, (eip + guest.bytes.length) | 0, guest.modrm & 7);
    }
    const side = wanted.sideTable();
    const first = sideEntry(unit.sideTable, from) * SIDE_WORDS;
    const same = to - from === wanted.bytes.length && wanted.bytes.every((byte, n) => unit.code[from + n] === byte)
      && side.every((word, n) => unit.sideTable[first + n] === (n % SIDE_WORDS === 0 ? word + from : word));
    return same && (gate < 0 || this.exits.get(from + gate)?.kind === 'callout') ? null : what;
  }

  /** `index`: the guest instruction that the code works for, or -1 behind the last. */
  private judgeAdded(host: HostInstruction, index: number): string | null {
    const { decoded, at, end } = host;
    const { row } = decoded;
    const guest = this.guest[index];
    if ((host.flags & ~KNOWN_FLAGS) !== 0 || ((host.flags & FAULT_IS_CALLOUT) !== 0 && row?.code !== '8E')) return 'side table: flags';
    if (row === null || (!ADDED.has(row.code) && !isJcc(row.code))) return 'an instruction that added code may not have';
    if (decoded.lock || decoded.repeated) return 'a prefix that added code may not have';
    const mnemonic = guest?.row?.mnemonic ?? '';
    switch (row.code) {
      case 'CD':
        return this.exits.has(at) ? null : 'a gate that is no exit';
      case 'E9':
        if (this.exits.has(at)) return null;
        break;
      case '9C': return mnemonic === 'PUSHF' ? null : 'PUSHF';
      case '9D': return mnemonic === 'POPF' && (host.flags & COMMITS) !== 0 ? null : 'POPF';
      case '8E': {
        const segment = (decoded.modrm >> 3) & 7;
        const loads = guest?.row?.code === '8E' ? (guest.modrm >> 3) & 7 : mnemonic === 'POP' ? POPPED[guest!.row!.code] : NO_EIP;
        return !decoded.memory && segment === loads && (host.flags & FAULT_IS_CALLOUT) !== 0 ? null : 'a segment load';
      }
      case '0F0B': return guest?.row == null || guest.row.needs !== null || guest.row.code === '8C' || guest.row.code === '8E' ? null : 'UD2';
      case '68': return mnemonic === 'CALL' && decoded.immediate === this.eipBehind(index) ? null : 'a return address that is not the guest’s';
      case 'B9': return decoded.immediate === host.eip ? null : 'a target that is not the guest’s';
      case '8D': return this.judgeAddress(decoded, guest);
      default:
    }
    if (row.operands[0]?.startsWith('J') === true) {
      const target = end + decoded.immediate;
      if (this.hostAt(target) === undefined) return 'a branch to nowhere';
      if (isJcc(row.code) || row.code <= 'E2') return (host.flags & COMMITS) !== 0 && sameCondition(row.opcode, guest) ? null : 'a branch on the guest’s state';
      return null;
    }
    if (row.code === '88' && !decoded.memory) return 'a byte register';
    return decoded.memory ? this.judgeMemory(host, guest, mnemonic) : null;
  }

  /** LEA: on ESP only to release what the guest's instruction pops; else PUSHF's and POPF's arithmetic, as it is. */
  private judgeAddress(decoded: GuestInstruction, guest: GuestInstruction | undefined): string | null {
    if (((decoded.modrm >> 3) & 7) !== ESP) {
      const own = guest?.row?.mnemonic === 'PUSHF' ? host.addEdxLessIf() : guest?.row?.mnemonic === 'POPF' ? host.decrement() : [];
      return sameBytes(decoded.bytes, own) ? null : 'an address computed for nothing';
    }
    const pops = guest?.row?.mnemonic === 'RET' ? 4 + (guest.row.operands.length > 1 ? guest.immediate : 0) : guest?.row?.mnemonic === 'POP' ? 4 : NO_EIP;
    const { operand } = decoded;
    const displacement = operand.length === 6 && operand[0] === 0xa4 && operand[1] === 0x24 ? word(operand, 2) : NO_EIP;
    return displacement === pops ? null : 'ESP moved by something else';
  }

  private judgeMemory(host: HostInstruction, guest: GuestInstruction | undefined, mnemonic: string): string | null {
    const { decoded } = host;
    const { code } = decoded.row!;
    const writes = WRITES_MEMORY.has(code);
    if (code === '0F1F') return null;
    if (!writes && !READS_MEMORY.has(code)) return 'a memory operand';
    if (decoded.segment === GS) {
      if (decoded.address16) return 'an address in monitor data';
      const [modrm = 0] = decoded.operand;
      const offset = decoded.operand.length === 5 ? word(decoded.operand, 1) : NO_EIP;
      if ((modrm & 0xc7) !== 5) return !writes && code === '0FB6' && (modrm & 0xc7) === 0x81 && offset === (mnemonic === 'POPF' ? POPF_CLASS : mnemonic === 'POP' || mnemonic === 'MOV' ? LOADS_AS_TOLD : NO_EIP) ? null : 'an address in monitor data';
      const bytes = code === '88' || code === 'C6/0' || code === '0FB6' ? 1 : code === '0FB7' ? 2 : 4;
      const room = WRITABLE_FIELDS.get(offset) ?? (writes ? 0 : READABLE_FIELDS.get(offset) ?? 0);
      if (bytes > room) return writes ? 'a write to a field of monitor data that is not listed' : 'a read of a field of monitor data that is not listed';
      if (code === '88' && mnemonic !== 'POPF') return 'a value of the virtual IF';
      if (code === 'C6/0') return (mnemonic === 'STI' && decoded.immediate === 2) || (mnemonic === 'CLI' && decoded.immediate === 0) ? null : 'a value of the virtual IF';
      return null;
    }
    // The guest's memory: its own operand, or the top of its stack.
    const ownOperand = guest !== undefined && guest.memory && sameAddress(guest, decoded);
    if (writes) return ownOperand && guest.row?.code === '8C' && decoded.operand16 && (host.flags & COMMITS) !== 0 ? null : 'a write to the guest’s memory';
    if (code === '0FB7') return ownOperand && guest.row?.code === '8E' ? null : 'a read of the guest’s memory';
    if (code !== '8B') return 'a read of the guest’s memory';
    if (ownOperand && (mnemonic === 'CALL' || mnemonic === 'JMP')) return null;
    const top = decoded.segment < 0 && !decoded.address16 && decoded.operand.length === 2 && (decoded.operand[0]! & 0xc7) === 0x04 && decoded.operand[1] === 0x24;
    return top && (mnemonic === 'RET' || mnemonic === 'POPF' || mnemonic === 'POP') ? null : 'a read of the guest’s memory';
  }

  /** Along every way: guest EIP moves only by commits, and registers that the code uses are saved before and put back. */
  private follow(): string | null {
    const seen = new Map<number, Flow>();
    const work: { at: number; flow: Flow }[] = [{ at: 0, flow: { dirty: 0, saved: 0 } }];
    if (this.host[0]!.eip !== (this.unit.eip | 0)) return 'side table: the unit does not begin at its EIP';
    for (let item = work.pop(); item !== undefined; item = work.pop()) {
      const host = this.hostAt(item.at);
      if (host === undefined) return `execution leaves the unit at ${item.at}`;
      const known = seen.get(item.at);
      const flow = known === undefined ? item.flow : { dirty: known.dirty | item.flow.dirty, saved: known.saved & item.flow.saved };
      if (known !== undefined && known.dirty === flow.dirty && known.saved === flow.saved) continue;
      seen.set(item.at, flow);
      const spilled = (host.flags >>> SPILLED_SHIFT) & 0xff;
      if ((flow.dirty & ~spilled) !== 0) return `side table: a register in use is not told at ${host.at}`;
      if ((spilled & ~flow.saved) !== 0) return `side table: a register was not saved at ${host.at}`;
      const wrong = this.successors(host, flow, work);
      if (wrong !== null) return wrong;
    }
    return null;
  }

  private successors(host: HostInstruction, flow: Flow, work: { at: number; flow: Flow }[]): string | null {
    const exit = this.exits.get(host.at);
    const { row } = host.decoded;
    if (exit !== undefined && (host.flags & COMMITS) !== 0) return `an exit commits at ${host.at}`;
    if (exit?.kind === 'lookup') return flow.dirty === 1 << ECX ? null : `registers at the lookup at ${host.at}`;
    if (exit !== undefined && flow.dirty !== 0) return `registers at the exit at ${host.at}`;
    if (exit !== undefined && exit.kind !== 'pending' && !(this.asks && host.at === 0)) return null;
    if (row?.mnemonic === 'UD2' || row?.code === 'CF') return null;
    const after = this.effects(host, flow);
    if (typeof after === 'string') return after;
    const relative = row !== null && row.operands[0]?.startsWith('J') === true;
    const ways = !relative ? [host.end] : row.mnemonic === 'JMP' ? [host.end + host.decoded.immediate] : [host.end, host.end + host.decoded.immediate];
    for (const [way, at] of ways.entries()) {
      const next = this.hostAt(at);
      if (next === undefined) return `execution leaves the unit at ${host.at}`;
      const wrong = this.moves(host, next, way);
      if (wrong !== null) return `side table: ${wrong} at ${host.at}`;
      work.push({ at, flow: { ...after } });
    }
    return null;
  }

  /** Guest EIP from one host instruction to the next. `way` 1 is a branch taken. */
  private moves(host: HostInstruction, next: HostInstruction, way: number): string | null {
    const dynamic = (next.flags & DYNAMIC_EIP) !== 0;
    if ((host.flags & COMMITS) === 0) return next.eip === host.eip && dynamic === ((host.flags & DYNAMIC_EIP) !== 0) ? null : 'EIP moves without a commit';
    if ((host.flags & DYNAMIC_EIP) !== 0) return 'a commit behind a commit';
    const index = this.unit.instructions.findIndex(({ from, to }) => host.at >= from && host.at < to);
    const instruction = this.unit.instructions[index];
    const guest = this.guest[index];
    if (instruction === undefined || guest === undefined || host.eip !== ((this.unit.eip + instruction.at) | 0)) return 'a commit of another instruction';
    const behind = this.eipBehind(index);
    const mnemonic = guest.row?.mnemonic ?? '';
    if (mnemonic === 'RET' || ((mnemonic === 'CALL' || mnemonic === 'JMP') && guest.modrm >= 0)) return dynamic ? null : 'a computed EIP is not told';
    if (dynamic) return 'EIP is not computed';
    const relative = guest.row?.operands[0]?.startsWith('J') === true;
    const taken = relative && (mnemonic === 'CALL' || mnemonic === 'JMP' || way === 1);
    return next.eip === (taken ? (behind + guest.immediate) | 0 : behind) ? null : 'EIP moves elsewhere';
  }

  /** What executing it does to the registers that are saved, and those that hold something else than the guest's value. */
  private effects(host: HostInstruction, flow: Flow): Flow | string {
    const { decoded } = host;
    const commits = (host.flags & COMMITS) !== 0;
    const copy = (this.asks && commits) || this.unit.instructions.some(({ from, to, treatment }) => treatment === 'ident' && host.at >= from && host.at < to);
    if (copy) return flow.dirty === 0 ? { dirty: 0, saved: 0 } : `registers in use at the copy at ${host.at}`;
    const written = writtenRegisters(decoded);
    const register = decoded.modrm < 0 ? -1 : (decoded.modrm >> 3) & 7;
    const field = decoded.segment === GS && decoded.operand.length === 5 ? word(decoded.operand, 1) : NO_EIP;
    if (decoded.row?.code === '89' && field >= saved(0) && field <= saved(7)) {
      if (field !== saved(register)) return `a register saved in another's place at ${host.at}`;
      return (flow.dirty & (1 << register)) === 0 ? { dirty: flow.dirty, saved: flow.saved | (1 << register) } : `a register saved that is in use at ${host.at}`;
    }
    if (commits) {
      // What a committing instruction writes are the guest's own registers; ESP is the guest's from here on.
      const changed = written | (1 << ESP);
      return { dirty: flow.dirty & ~changed, saved: flow.saved & ~changed };
    }
    if (decoded.row?.code === '8B' && field === saved(register)) {
      return (flow.saved & (1 << register)) !== 0 ? { dirty: flow.dirty & ~(1 << register), saved: flow.saved } : `a register put back that was not saved at ${host.at}`;
    }
    if ((written & ~flow.saved) !== 0) return `a register used that was not saved at ${host.at}`;
    return { dirty: flow.dirty | written, saved: flow.saved };
  }

  private eipBehind(index: number): number {
    const instruction = this.unit.instructions[index];
    return instruction === undefined ? NO_EIP : (this.unit.eip + instruction.at + instruction.length) | 0;
  }

  private hostAt(at: number): HostInstruction | undefined {
    const index = sideEntry(this.unit.sideTable, at);
    return index < 0 ? undefined : this.host[index];
  }
}

/** Why an instruction may not be copied, or null. */
function notToBeCopied(guest: GuestInstruction): string | null {
  const { row } = guest;
  if (row === null || row.needs !== null) return 'a copy of no instruction';
  if (row.attributes.has('cpl0') || row.attributes.has('iopl')) return 'a copy of a privileged instruction';
  if (row.attributes.has('sensitive')) return 'a copy of a sensitive instruction';
  if (usesGs(guest)) return 'a copy that addresses monitor data';
  return row.attributes.has('ends') && !row.mnemonic.startsWith('UD') ? 'a copy of a transfer' : null;
}

/** Segment register that a POP names. */
const POPPED: Record<string, number> = { '07': 0, '1F': 3, '0FA1': 4, '0FA9': 5 };

/** General registers that an instruction of added code writes, as a bit mask. */
function writtenRegisters({ row, modrm, memory }: GuestInstruction): number {
  const reg = 1 << ((modrm >> 3) & 7);
  switch (row?.code) {
    case '8B': case '8D': case '0FB6': case '0FB7': return reg;
    case '89': return memory ? 0 : 1 << (modrm & 7);
    case 'B9': return 1 << ECX;
    case '9C': case '9D': case '68': case 'FF/6': return 1 << ESP;
    case 'E0': case 'E1': case 'E2': return 1 << ECX;
    default:
      if (row?.mnemonic === 'POP') return (1 << ESP) | (1 << (row.opcode & 7));
      return row?.mnemonic === 'PUSH' ? 1 << ESP : 0;
  }
}

/** Jcc and LOOP: the guest's own condition, in whichever of its encodings. */
function sameCondition(opcode: number, guest: GuestInstruction | undefined): boolean {
  const own = guest?.row?.opcode ?? 0;
  return opcode >= 0x180 ? (own & 0xf0) === (own >= 0x100 ? 0x80 : 0x70) && (own & 15) === (opcode & 15) : own === opcode;
}

/** Whether two instructions name the same memory: same segment, same address. */
function sameAddress(one: GuestInstruction, other: GuestInstruction): boolean {
  if (one.segment !== other.segment || one.address16 !== other.address16 || one.operand.length !== other.operand.length) return false;
  return one.operand.every((byte, n) => n === 0 ? (byte & 0xc7) === (other.operand[0]! & 0xc7) : byte === other.operand[n]);
}

function sameBytes(one: Uint8Array, other: readonly number[]): boolean {
  return one.length === other.length && other.every((byte, n) => one[n] === byte);
}

function word(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}
