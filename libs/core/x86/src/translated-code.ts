import { codePage, JUMP_MASK, reserveSlots, watchCode } from './code-cache.js';
import type { Cpu } from './cpu.js';
import { decode, MORE } from './decoder.js';
import { ExitReason } from './exit-reason.js';
import { leave } from './fault.js';
import { endRun } from './fetch.js';
import { IF, IOPL } from './flags.js';
import { MONITOR_FORMS } from './hot-forms.js';
import { isRunEnd, MONITOR_DATA_OPERATIONS, OP_TRANSLATION_GATE } from './operations.js';
import { INDEX_ADDRESS16, INDEX_OVERRIDE, INDEX_SEGMENT_SHIFT, META_OPERAND16, SLOT_B, SLOT_BASE, SLOT_DISPLACEMENT, SLOT_IMMEDIATE, SLOT_INDEX, SLOT_META, SLOT_OP, SLOT_WORDS } from './slot-layout.js';
import { CPL, CS, CS_SPACE, EFLAGS_SYSTEM, EIP, GS, SEGMENTS, SEGMENT_SELECTOR, SEGMENT_WORDS, SS, ZERO } from './state.js';
import type { ProcessorEvent } from './step.js';

/**
 * Execution from monitor space. While CS_SPACE is 1, EIP is an offset in monitor space and instructions are fetched there, past CS and paging;
 * everything else of CS (level, limit, type) stays the guest's. Data accesses are the guest's but for those under a GS override,
 * which go to monitor data.
 *
 * Not every host instruction completes a guest instruction. One that does is marked, and only it counts as retired, takes budget and is an
 * observable moment; `executed` counts all.
 */

/** A host instruction completes a guest instruction. */
export const MARK_COMMITS = 1;
/** The guest stands inside an instruction here: no interrupt is taken. */
export const MARK_INSIDE = 2;

/** What the processor needs of whoever keeps the translations. */
export interface TranslatedCode {
  /** Monitor data, which a GS override addresses: byte offset in monitor space, and size. */
  readonly dataOffset: number;
  readonly dataBytes: number;
  /** Marks of the host instruction that begins at each byte of monitor space. */
  readonly marks: Uint8Array;
  /** The virtual EFLAGS.IF. */
  readonly interruptFlag: boolean;
  /** The virtual EFLAGS.IOPL. */
  readonly iopl: number;
  /** The virtual CR0.TS. */
  readonly taskSwitched: boolean;
  /** Whether applications run as they are; else ring 3 is translated too. */
  readonly runsDirectly: boolean;
  /** The INTR line: an interrupt waits. */
  setPending(pending: boolean): void;
  /** Make EIP (the guest's) lead into translated code; false if there is none for it. May raise a fault or leave: the fetch's. */
  enter(cpu: Cpu): boolean;
  /** An INT n of an application goes through a gate of the monitor's IDT that leads into translated code: `returnEip` is pushed, `length` is its length. */
  enterGate(cpu: Cpu, event: ProcessorEvent, returnEip: number, length: number): void;
  /** Translated code stands at a gate. `go-on`: look at the state again; `told`: what stands behind it will leave for ring -1; `exit`: `cpu.exit` says what ring -1 is asked. */
  gate(cpu: Cpu): 'go-on' | 'told' | 'exit';
  /** Give up translated code: EIP and all registers are the guest's, as before its instruction (or behind it, once that has committed). */
  recover(cpu: Cpu): void;
  /** As `recover`, at a fault: true if it is for ring -1 to execute the guest's instruction (`cpu.exit` says so). */
  recoverFault(cpu: Cpu): boolean;
  /** A store of translated code has met a write trace, and leaves for it. */
  traced(cpu: Cpu): void;
  /** Guest code that was translated has been written: host page (byte offset in memory / 4096), bytes from, to. */
  sourceWritten(cpu: Cpu, hostPage: number, from: number, to: number): void;
  /** The guest's linear addresses may lead elsewhere now: those of the page that holds `linear`, or all (null). */
  mappingChanged(cpu: Cpu, linear: number | null): void;
  /** The processor stands in translated code, and is about to go on. */
  resume(cpu: Cpu): void;
}

/** Code that is not translated: ring -1 executes the instruction at EIP, which may raise what its fetch raises. */
export function leaveForInterpretation(cpu: Cpu): never {
  const { exit } = cpu;
  exit.instructionLength = exit.guestLinear = exit.guestPhysical = 0;
  exit.access = exit.event = exit.walk = exit.instruction = null;
  leave(cpu, ExitReason.Callout);
}

const LONGEST_RUN = 48;
const MOST_EXTRAS = 15;
const EXTRA_SHIFT = 28;
/** The index word's register number. */
const INDEX_REGISTER = 15;
const LEGACY_PREFIXES = new Set([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3]);
const INT3 = 0xcc, INT = 0xcd;

/** Slot of the host instruction at `eip` of monitor space. */
export function findTranslatedSlot(cpu: Cpu, eip: number): number {
  const host = cpu.monitorBase + (eip >>> 0);
  if (eip >>> 0 >= cpu.monitorBytes) throw new RangeError(`translated code at ${eip >>> 0}, beyond monitor space`);
  const page = codePage(cpu, host >>> 12, cpu.mode);
  let slot = page[eip & 0xfff]!;
  if (slot === 0) slot = decodeRun(cpu, host, eip & 0xfff);
  const { translatedJumps } = cpu.code;
  const entry = ((eip ^ (eip >>> 10)) & JUMP_MASK) * 2;
  translatedJumps[entry] = eip;
  translatedJumps[entry + 1] = slot;
  return slot;
}

/**
 * As for the guest's code, but: the meta word counts the commits left in the run in bits 0–7 and the other instructions in bits 28–31; a run ends behind its
 * last commit, so that a spent budget leaves the guest between two instructions; it ends at each branch, so that nothing has to be given back when that is taken; and an end-of-run slot always follows, so that a slot commits
 * exactly if its count of commits is not its successor's.
 */
function decodeRun(cpu: Cpu, host: number, offset: number): number {
  reserveSlots(cpu, (LONGEST_RUN + 1) * SLOT_WORDS);
  const { code } = cpu;
  const page = codePage(cpu, host >>> 12, cpu.mode);
  const { slots } = code;
  const first = code.top;
  const marks = cpu.translatedCode!.marks;
  const pageEnd = (host | 0xfff) + 1;
  let slot = first;
  let at = host;
  let next = offset;
  let extras = 0;
  let counted = false;
  for (let count = 0, open = true; count < LONGEST_RUN && open && extras < MOST_EXTRAS && next < 4096; count++) {
    if (count > 0 && page[next]! > 0) break;
    const length = decode(cpu, cpu.u8, at, pageEnd, slot, next, cpu.mode);
    if (length === MORE) break;
    const counts = (marks[at - cpu.monitorBase]! & MARK_COMMITS) !== 0;
    if (!counts && counted) break;
    counted = counts;
    redirect(cpu, slot, at);
    if (!counts) extras++;
    page[next] = slot;
    open = !isRunEnd(slots[slot + SLOT_OP]!) && !isBranch(cpu.u8, at);
    slot += SLOT_WORDS;
    at += length;
    next += length;
  }
  if (slot === first) throw new RangeError(`translated code at ${host - cpu.monitorBase} crosses a page`);
  endRun(slots, slot, next);
  code.top = slot + SLOT_WORDS;
  let commits = 0;
  extras = 0;
  for (let back = slot - SLOT_WORDS; back >= first; back -= SLOT_WORDS) {
    const place = (host & ~0xfff) + ((slots[back + SLOT_META]! >>> 12) & 0xfff) - cpu.monitorBase;
    if ((marks[place]! & MARK_COMMITS) !== 0) commits++;
    else extras++;
    slots[back + SLOT_META]! |= commits | (extras << EXTRA_SHIFT);
  }
  watchCode(cpu, host >>> 12, offset, next);
  return first;
}

/** Gates, and GS overrides, mean something else here than in the guest's code. */
function redirect(cpu: Cpu, slot: number, at: number): void {
  const { slots } = cpu.code;
  const { u8 } = cpu;
  let cursor = at;
  while (LEGACY_PREFIXES.has(u8[cursor]!)) cursor++;
  const opcode = u8[cursor]!;
  if (opcode === INT || opcode === INT3) {
    slots[slot + SLOT_OP] = OP_TRANSLATION_GATE;
    return;
  }
  const index = slots[slot + SLOT_INDEX]!;
  if ((index & INDEX_OVERRIDE) === 0 || ((index >> INDEX_SEGMENT_SHIFT) & 7) !== GS) return;
  const byte = opcode === 0x0f ? u8[cursor + 1]! : opcode;
  const hex = byte.toString(16).toUpperCase().padStart(2, '0');
  const code = opcode === 0x0f ? `0F${hex}` : byte === 0xff || byte === 0xc6 ? `${hex}/${(u8[cursor + 1]! >> 3) & 7}` : hex;
  // A prefix on an instruction that names no memory means nothing. Copies of those that do are the verifier's to refuse.
  const isSti = code === 'C6/0' && slots[slot + SLOT_IMMEDIATE] !== 0 && (cpu.translatedCode!.marks[at - cpu.monitorBase]! & MARK_COMMITS) !== 0;
  const operation = MONITOR_DATA_OPERATIONS.get(isSti ? 'STI' : code);
  if (operation !== undefined && slots[slot + SLOT_B]! < 0) slots[slot + SLOT_OP] = isField(cpu, slot) ? MONITOR_FORMS[code] ?? operation : operation;
}

/** A dword of monitor data by its offset alone: the run loop reaches it without a call. */
function isField(cpu: Cpu, slot: number): boolean {
  const { slots } = cpu.code;
  const offset = slots[slot + SLOT_DISPLACEMENT]!;
  return slots[slot + SLOT_BASE] === ZERO && (slots[slot + SLOT_INDEX]! & (INDEX_REGISTER | INDEX_ADDRESS16)) === ZERO && (slots[slot + SLOT_META]! & META_OPERAND16) === 0
    && (offset & 3) === 0 && offset >>> 0 <= cpu.translatedCode!.dataBytes - 4;
}

function isBranch(u8: Uint8Array, at: number): boolean {
  let cursor = at;
  while (LEGACY_PREFIXES.has(u8[cursor]!)) cursor++;
  const opcode = u8[cursor]!;
  return (opcode >= 0x70 && opcode <= 0x7f) || (opcode >= 0xe0 && opcode <= 0xe3) || (opcode === 0x0f && (u8[cursor + 1]! & 0xf0) === 0x80);
}

const IOPL_SHIFT = 12;
const keptRegisters = new Int32Array(EIP + 1);

/** Call `observer` while the registers are what the guest sees: its EIP and general registers, the virtual IF and IOPL, CS and SS with ring 0 for ring 1. */
export function observeGuest(cpu: Cpu, translated: TranslatedCode, observer: (cpu: Cpu) => void): void {
  const { i32 } = cpu;
  const space = i32[CS_SPACE]!;
  const system = i32[EFLAGS_SYSTEM]!;
  const cs = SEGMENTS + CS * SEGMENT_WORDS + SEGMENT_SELECTOR;
  const ss = SEGMENTS + SS * SEGMENT_WORDS + SEGMENT_SELECTOR;
  const codeSelector = i32[cs]!;
  const stackSelector = i32[ss]!;
  keptRegisters.set(i32.subarray(0, EIP + 1));
  if (space !== 0) translated.recover(cpu);
  i32[EFLAGS_SYSTEM] = (system & ~(IF | IOPL)) | (translated.interruptFlag ? IF : 0) | (translated.iopl << IOPL_SHIFT);
  if (i32[CPL] === 1) {
    i32[cs] = codeSelector & ~3;
    i32[ss] = stackSelector & ~3;
  }
  observer(cpu);
  i32.set(keptRegisters, 0);
  i32[CS_SPACE] = space;
  i32[EFLAGS_SYSTEM] = system;
  i32[cs] = codeSelector;
  i32[ss] = stackSelector;
}
