import { decodeGuest, type GuestInstruction } from './guest-instruction.js';
import { ECX, EDX, ESP, host, HostCode } from './host-code.js';
import { IF_IN_BYTE, LAYOUT_VERSION, LOADS_AS_TOLD, PENDING, POPF_CLASS, saved, SCRATCH, selectorField, TARGET, VIRTUAL_IF, VIRTUAL_IF_BYTE } from './monitor-data.js';
import { emitAsk } from './ask-sequence.js';
import { emitReturn } from './return-sequence.js';
import { emitClearTaskSwitched, emitMoveToCr0 } from './task-switched-sequence.js';
import { planFor, type Plan } from './treatment.js';
import {
  COMMITS, DYNAMIC_EIP, FAULT_IS_CALLOUT, GATE_CALLOUT, GATE_EXIT, MODE_ASK, MODE_CODE32, MODE_CPL_SHIFT, MODE_STACK32, MOST_INSTRUCTIONS,
  type TranslatedInstruction, type TranslationRefused, type TranslationRequest, type TranslationUnit, type Treatment, type UnitExit,
} from './unit.js';

const PAGE = 4096;
const { min } = Math;

/**
 * The translator: guest code in, a unit of host code out (architecture, "Binary translation"). A pure function.
 *
 * A unit is at most 12 guest instructions, or up to a transfer or callout; it never leaves its page. Every guest instruction has one host
 * instruction that commits it. Before that nothing guest-visible has changed but registers whose guest values are saved, so a
 * fault goes back to its beginning; behind it the guest's EIP is that of the next one.
 */
export function translate(request: TranslationRequest): TranslationUnit | TranslationRefused {
  if (request.layout !== LAYOUT_VERSION) return { refused: 'layout' };
  const { mode } = request;
  const ring = (mode >> MODE_CPL_SHIFT) & 3;
  if ((mode & (MODE_CODE32 | MODE_STACK32)) !== (MODE_CODE32 | MODE_STACK32) || (ring !== 0 && ring !== 3)) return { refused: 'mode' };
  const first = decodeGuest(request.bytes, 0, request.bytes.length);
  if (first === null) return { refused: 'more-bytes' };
  if ((mode & MODE_ASK) !== 0 && planFor(first, mode & ~MODE_ASK).kind !== 'ident') return { refused: 'mode' };
  return new UnitBuilder(request).build();
}

const SEGMENT_NUMBER: Record<string, number> = { ES: 0, CS: 1, SS: 2, DS: 3, FS: 4, GS: 5 };
const TREATMENTS: Record<Plan['kind'], Treatment> = {
  ident: 'ident', undefined: 'in-cache', callout: 'callout', jump: 'direct', conditional: 'direct', call: 'direct', 'call-indirect': 'indirect', 'jump-indirect': 'indirect', return: 'indirect',
  cli: 'in-cache', sti: 'in-cache', pushf: 'in-cache', popf: 'in-cache', 'push-selector': 'in-cache', 'read-selector': 'in-cache', 'load-selector': 'in-cache', 'pop-selector': 'in-cache', iret: 'in-cache', clts: 'in-cache', 'move-to-cr0': 'in-cache',
};
const UD2 = [0x0f, 0x0b];
const NOP = [0x90];
/** A gate is two bytes, a jump five: the rest of a direct exit. */
const NOP3 = [0x0f, 0x1f, 0x00];

class UnitBuilder {
  private readonly code = new HostCode();
  private readonly exits: UnitExit[] = [];
  private readonly instructions: TranslatedInstruction[] = [];
  private readonly inPage: number;

  constructor(private readonly request: TranslationRequest) {
    this.inPage = min(PAGE - request.pageOffset, request.bytes.length);
  }

  build(): TranslationUnit {
    const { request } = this;
    let at = 0;
    let open = true;
    while (open && this.instructions.length < MOST_INSTRUCTIONS) {
      const instruction = decodeGuest(request.bytes, at, at === 0 ? request.bytes.length : this.inPage);
      if (instruction === null) break;
      const from = this.code.at;
      const plan = planFor(instruction, request.mode);
      open = (request.mode & MODE_ASK) === 0 ? this.emit(plan, instruction, at) : this.ask(instruction);
      this.instructions.push({ at, length: instruction.bytes.length, from, to: this.code.at, ...this.treatmentOf(plan) });
      at += instruction.bytes.length;
      if (at > this.inPage) break;
    }
    if (open) this.exitTo(request.eip + at);
    return {
      eip: request.eip >>> 0, mode: request.mode, layout: request.layout, guest: request.bytes.slice(0, at), straddles: at > this.inPage,
      code: Uint8Array.from(this.code.bytes), instructions: this.instructions, exits: this.exits, sideTable: this.code.sideTable(),
    };
  }

  private treatmentOf(plan: Plan): { treatment: Treatment; why: string } {
    return (this.request.mode & MODE_ASK) === 0 ? { treatment: TREATMENTS[plan.kind], why: plan.why } : { treatment: 'callout', why: 'has met write traces often: the monitor is told before it stores' };
  }

  /** A store that traps: the gate, then the copy, where it goes on when ring -1 has answered. */
  private ask(instruction: GuestInstruction): false {
    const { eip } = this.request;
    emitAsk(this.code, instruction.bytes, eip);
    this.exits.push({ kind: 'callout', at: 0, instruction: 0 });
    this.exitTo((eip + instruction.bytes.length) | 0);
    return false;
  }

  /** Emit one instruction; false when the unit ends with it. */
  private emit(plan: Plan, instruction: GuestInstruction, at: number): boolean {
    const eip = (this.request.eip + at) | 0;
    const next = (eip + instruction.bytes.length) | 0;
    const { code } = this;
    switch (plan.kind) {
      case 'ident':
        code.commit(instruction.bytes, eip);
        return true;
      case 'undefined':
        code.commit(UD2, eip);
        return false;
      case 'callout':
        this.callout(eip);
        return false;
      case 'jump':
        code.commit(NOP, eip);
        this.exitTo(next + instruction.immediate);
        return false;
      case 'conditional':
        this.conditional(instruction, eip, next);
        return false;
      case 'call':
        code.commit(host.pushImmediate(next), eip);
        this.exitTo(next + instruction.immediate);
        return false;
      case 'call-indirect':
        this.computeTarget(instruction, eip);
        code.commit(host.pushImmediate(next), eip, [ECX]);
        this.lookup(0, DYNAMIC_EIP);
        return false;
      case 'jump-indirect':
        code.save(ECX, eip);
        code.emit(readOperand(instruction, ECX), eip);
        code.commit(host.store(TARGET, ECX), eip, [ECX]);
        this.lookup(0, DYNAMIC_EIP);
        return false;
      case 'return':
        code.save(ECX, eip);
        code.emit(host.topOfStack(), eip);
        code.emit(host.store(TARGET, ECX), eip, 0, [ECX]);
        code.commit(host.release(4 + (instruction.row!.operands.length > 1 ? instruction.immediate : 0)), eip, [ECX]);
        this.lookup(0, DYNAMIC_EIP);
        return false;
      case 'cli':
        code.commit(host.storeByte(VIRTUAL_IF_BYTE, 0), eip);
        return true;
      case 'sti':
        code.commit(host.storeByte(VIRTUAL_IF_BYTE, IF_IN_BYTE), eip);
        this.testPending(next, true);
        return true;
      case 'pushf':
        this.pushFlags(eip, next);
        return true;
      case 'popf':
        this.popFlags(eip, next);
        return true;
      case 'push-selector':
        code.commit(host.push(selectorField(SEGMENT_NUMBER[instruction.row!.operands[0]!]!)), eip);
        return true;
      case 'read-selector':
        this.readSelector(instruction, eip, next);
        return true;
      case 'load-selector':
      case 'pop-selector':
        this.loadSelector(plan.kind, instruction, eip, next);
        return true;
      case 'clts':
        emitClearTaskSwitched(code, eip);
        return true;
      case 'move-to-cr0':
        this.exits.push({ kind: 'callout', at: emitMoveToCr0(code, eip, next, instruction.modrm & 7), instruction: at });
        return true;
      case 'iret':
        this.exits.push({ kind: 'callout', at: emitReturn(code, eip), instruction: at });
        return false;
      default: { const unreachable: never = plan.kind; return unreachable; }
    }
  }

  private callout(eip: number): void {
    this.exits.push({ kind: 'callout', at: this.code.at, instruction: (eip - this.request.eip) | 0 });
    this.code.emit(host.gate(GATE_CALLOUT), eip);
  }

  /** Leave for a known guest EIP: chained inside the page, by the lookup table beyond it (where what lies there depends on the page tables). */
  private exitTo(eip: number): void {
    const target = eip | 0;
    const place = this.request.pageOffset + (target - (this.request.eip | 0));
    if (place >= 0 && place < PAGE) {
      this.exits.push({ kind: 'direct', at: this.code.at, target: target >>> 0 });
      this.code.emit(host.gate(GATE_EXIT), target);
      this.code.emit(NOP3, target);
      return;
    }
    this.code.save(ECX, target);
    this.code.emit(host.moveImmediate(target), target);
    this.code.emit(host.store(TARGET, ECX), target, 0, [ECX]);
    this.lookup(target, 0);
  }

  /** To the lookup stub, which takes its target from ECX and TARGET, and puts ECX back. */
  private lookup(eip: number, flags: number): void {
    this.exits.push({ kind: 'lookup', at: this.code.at });
    this.code.emit([0xe9, 0, 0, 0, 0], eip, flags, [ECX]);
  }

  /** Jcc as a near jump, LOOP and JECXZ as they are, over the exit of the way not taken. */
  private conditional(instruction: GuestInstruction, eip: number, next: number): void {
    const { code } = this;
    const { opcode } = instruction.row!;
    const short = opcode >= 0xe0 && opcode <= 0xe3;
    if (short) code.commit([...(instruction.address16 ? [0x67] : []), opcode, 0], eip);
    else code.commit([0x0f, 0x80 | (opcode & 15), 0, 0, 0, 0], eip);
    const behind = code.at;
    this.exitTo(next);
    if (short) code.patch8(behind - 1, code.at - behind);
    else code.patch32(behind - 4, code.at - behind);
    this.exitTo(next + instruction.immediate);
  }

  /** ECX saved, the target in ECX and TARGET. */
  private computeTarget(instruction: GuestInstruction, eip: number): void {
    this.code.save(ECX, eip);
    this.code.emit(readOperand(instruction, ECX), eip);
    this.code.emit(host.store(TARGET, ECX), eip, 0, [ECX]);
  }

  /** Behind an instruction that set the virtual IF: leave if an interrupt waits. */
  private testPending(next: number, shadow: boolean): void {
    const { code } = this;
    code.save(ECX, next);
    code.emit(host.load(ECX, PENDING), next);
    const restore = host.load(ECX, saved(ECX));
    const gate = host.gate(GATE_EXIT);
    code.emit(host.jecxz(restore.length + gate.length), next, 0, [ECX]);
    code.emit(restore, next, 0, [ECX]);
    this.exits.push({ kind: 'pending', at: code.at, shadow });
    code.emit(gate, next);
    code.restore(ECX, next, 0, [ECX]);
  }

  /** PUSHFD sees the real IF, always 1 here, so the image is taken back, corrected and pushed again. */
  private pushFlags(eip: number, next: number): void {
    const { code } = this;
    code.save(ECX, eip);
    code.save(EDX, eip);
    code.save(ESP, eip);
    code.emit([0x9c], eip);
    code.emit([0x58 + ECX], eip, 0, [ESP]);
    code.emit(host.load(EDX, VIRTUAL_IF), eip, 0, [ECX, ESP]);
    code.emit(host.addEdxLessIf(), eip, 0, [ECX, EDX, ESP]);
    code.commit([0x50 + ECX], eip, [ECX, EDX, ESP]);
    code.restore(EDX, next, 0, [ECX, EDX]);
    code.restore(ECX, next, 0, [ECX]);
  }

  /** The virtual IF from the image by way of a table, then POPFD itself, which leaves the real IF alone. */
  private popFlags(eip: number, next: number): void {
    const { code } = this;
    code.save(ECX, eip);
    code.emit(host.topOfStack(), eip);
    code.emit(host.store(SCRATCH, ECX), eip, 0, [ECX]);
    code.emit(host.loadByte(SCRATCH + 1), eip, 0, [ECX]);
    code.emit(host.loadByteAt(POPF_CLASS), eip, 0, [ECX]);
    const branch = code.at;
    code.emit(host.jecxz(0), eip, 0, [ECX]);
    const behind = code.at;
    code.emit(host.decrement(), eip, 0, [ECX]);
    code.emit(host.storeCl(VIRTUAL_IF_BYTE), eip, 0, [ECX]);
    code.restore(ECX, eip, 0, [ECX]);
    code.commit([0x9d], eip);
    this.testPending(next, false);
    this.slowWay(branch, behind, eip, next);
  }

  private readSelector(instruction: GuestInstruction, eip: number, next: number): void {
    const { code } = this;
    const field = selectorField((instruction.modrm >> 3) & 7);
    if (!instruction.memory) {
      const register = instruction.modrm & 7;
      code.commit(instruction.operand16 ? host.load16(register, field) : host.load(register, field), eip);
      return;
    }
    const scratch = freeRegister(instruction);
    code.save(scratch, eip);
    code.emit(host.load(scratch, field), eip);
    code.commit([...prefixesOf(instruction), 0x66, 0x89, ...withRegister(instruction, scratch)], eip, [scratch]);
    code.restore(scratch, next, 0, [scratch]);
  }

  /** MOV and POP to ES, DS, FS, GS: the load itself is real, from the monitor's tables, where a descriptor stands only once ring -1 has checked it. */
  private loadSelector(kind: 'load-selector' | 'pop-selector', instruction: GuestInstruction, eip: number, next: number): void {
    const { code } = this;
    const pop = kind === 'pop-selector';
    const segment = pop ? SEGMENT_NUMBER[instruction.row!.operands[0]!]! : (instruction.modrm >> 3) & 7;
    code.save(ECX, eip);
    if (pop) code.emit(host.topOfStack(), eip);
    else if (instruction.memory) code.emit([...prefixesOf(instruction), 0x0f, 0xb7, ...withRegister(instruction, ECX)], eip);
    else code.emit([0x8b, 0xc0 | (ECX << 3) | (instruction.modrm & 7)], eip);
    code.emit(host.store(SCRATCH, ECX), eip, 0, [ECX]);
    code.emit(host.loadByte(SCRATCH), eip, 0, [ECX]);
    code.emit(host.loadByteAt(LOADS_AS_TOLD), eip, 0, [ECX]);
    const branch = code.at;
    code.emit(host.jecxz(0), eip, 0, [ECX]);
    const behind = code.at;
    code.emit(host.loadWord(SCRATCH), eip, 0, [ECX]);
    code.emit([0x8e, 0xc0 | (segment << 3) | ECX], eip, FAULT_IS_CALLOUT, [ECX]);
    if (pop) {
      code.emit(host.store(selectorField(segment), ECX), eip, 0, [ECX]);
      code.emit(host.release(4), eip, COMMITS, [ECX]);
    } else code.emit(host.store(selectorField(segment), ECX), eip, COMMITS, [ECX]);
    code.restore(ECX, next, 0, [ECX]);
    this.slowWay(branch, behind, eip, next);
  }

  /** A callout out of line: restore ECX and leave. It must be in JECXZ's reach, so it stands here, jumped over. */
  private slowWay(branch: number, behind: number, eip: number, next: number): void {
    const { code } = this;
    code.emit([0xeb, host.load(ECX, saved(ECX)).length + host.gate(GATE_CALLOUT).length], next);
    code.patch8(branch + 1, code.at - behind);
    code.restore(ECX, eip, 0, [ECX]);
    this.callout(eip);
  }
}

/** MOV r32 from the instruction's E operand, with its own prefixes. */
function readOperand(instruction: GuestInstruction, register: number): number[] {
  return [...prefixesOf(instruction), 0x8b, ...withRegister(instruction, register)];
}

function withRegister(instruction: GuestInstruction, register: number): number[] {
  const [modrm = 0, ...rest] = instruction.operand;
  return [(modrm & 0xc7) | (register << 3), ...rest];
}

const SEGMENT_PREFIXES = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];
function prefixesOf({ memory, segment, address16 }: GuestInstruction): number[] {
  return memory ? [...(segment >= 0 ? [SEGMENT_PREFIXES[segment]!] : []), ...(address16 ? [0x67] : [])] : [];
}

/** ECX, or another register when the operand's address needs that. */
function freeRegister({ addressRegisters }: GuestInstruction): number {
  return [ECX, EDX, 0].find((register) => (addressRegisters & (1 << register)) === 0)!;
}
