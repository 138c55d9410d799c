import { RAM_BASE } from '../cpu.js';
import { ExitReason } from '../exit-reason.js';
import { NO_CONTROLS } from '../execution-controls.js';
import { Processor } from '../processor.js';
import { ACTIVITY, CR0, CR4, DR0, DR6, DR7, GDTR_BASE, GDTR_LIMIT, IDTR_BASE, IDTR_LIMIT, INTERRUPT_SHADOW, RIGHTS_UNUSABLE, TRAP_DUE } from '../state.js';
import { EventType, StepResult } from '../step.js';
import { ARENA_BASE, ARENA_BYTES, ARENA_PAGES, createArena, GDT, IDT, isIncidental, LDT_SELECTOR, TSS_SELECTOR } from './arena.js';
import { GENERAL_REGISTER_NAMES, INITIAL_CR2, SELECTOR_NAMES, SHUTDOWN, TIMEOUT, type ArenaPatch, type OracleCase, type OracleResult } from './case.js';

/** HLT completed: no oracle case ends so. */
export const HALTED = 0x102;
/** The processor left for a mode that is not built. */
export const UNSUPPORTED = 0x103;
/** It left for another reason, added to this. */
export const OTHER_EXIT = 0x1000;

const { max } = Math;
const RAM_BYTES = 0x80_0000;
const PAGE = 0x1000;
const INITIAL_DR6 = 0xffff_0ff0 | 0;
/** More instructions than any case retires, and more returns from `step`. */
const BUDGET = 100_000, RETURNS = 200_000;
const RF = 0x1_0000, TS = 8;

interface LoadedSegment {
  selector: number;
  base: number;
  limit: number;
  rights: number;
}

/** Runs oracle cases on our processor, one after the other in the same one. */
export class CaseRunner {
  readonly processor = new Processor({ ramBytes: RAM_BYTES });
  private readonly template = createArena();
  /** The arena as the case found it. */
  private readonly before = createArena();
  private readonly beforeWords = new Int32Array(this.before.buffer);
  private readonly dirty = new Uint8Array(ARENA_PAGES);
  constructor(private readonly stepSize = BUDGET) {
    this.processor.writePhysical('guest', ARENA_BASE, this.template);
  }

  run(oracleCase: OracleCase): OracleResult {
    this.lay(oracleCase);
    this.load(oracleCase);
    const vector = this.runToEnd();
    return this.collect(vector);
  }

  /** Puts the template and the case's patches into memory. */
  private lay({ patches }: OracleCase): void {
    const { processor, template, before, dirty } = this;
    for (let page = 0; page < ARENA_PAGES; page++) if (dirty[page]) before.set(template.subarray(page * PAGE, (page + 1) * PAGE), page * PAGE);
    for (const { offset, bytes } of patches) {
      before.set(bytes, offset);
      for (let page = offset >>> 12; page <= (offset + bytes.length - 1) >>> 12; page++) dirty[page] = 1;
    }
    for (let page = 0; page < ARENA_PAGES; page++) if (dirty[page]) processor.writePhysical('guest', ARENA_BASE + page * PAGE, before.subarray(page * PAGE, (page + 1) * PAGE));
  }

  /** Reads a descriptor as a segment load does, and marks it accessed. */
  private segment(selector: number): LoadedSegment {
    if ((selector & 0xfffc) === 0) return { selector, base: 0, limit: 0, rights: RIGHTS_UNUSABLE };
    const { before, dirty } = this;
    const at = (selector & 4 ? 0x400 : GDT) + (selector & ~7);
    const byte = (index: number): number => before[at + index] as number;
    const rights = byte(5) | ((byte(6) & 0xf0) << 8);
    const raw = byte(0) | (byte(1) << 8) | ((byte(6) & 0xf) << 16);
    const limit = byte(6) & 0x80 ? ((raw << 12) | 0xfff) >>> 0 : raw;
    const base = (byte(2) | (byte(3) << 8) | (byte(4) << 16) | (byte(7) << 24)) >>> 0;
    if (rights & 0x10 && !(rights & 1)) {
      this.processor.writePhysical('guest', ARENA_BASE + at + 5, Uint8Array.of(byte(5) | 1));
      dirty[at >>> 12] = 1;
    }
    return { selector, base, limit, rights: rights & 0x10 ? rights | 1 : rights };
  }

  private load(oracleCase: OracleCase): void {
    const { processor } = this;
    // What a case may leave behind besides registers and memory.
    for (const word of [ACTIVITY, INTERRUPT_SHADOW, TRAP_DUE, DR0, DR0 + 1, DR0 + 2, DR0 + 3]) processor.cpu.i32[word] = 0;
    processor.cpu.i32[DR7] = 0x400;
    processor.setControls({ ...NO_CONTROLS, nonRoot: true, exceptionBitmap: ~oracleCase.delivered });
    processor.setTable('gdtr', { base: ARENA_BASE + GDT, limit: 0x3ff, space: 'guest' });
    processor.setTable('idtr', { base: ARENA_BASE + IDT, limit: 0xff, space: 'guest' });
    processor.setRegister('cr4', oracleCase.cr4);
    processor.writeMsr(0xc000_0080, BigInt(oracleCase.efer));
    processor.setRegister('cr0', oracleCase.cr0);
    processor.setRegister('cr3', oracleCase.cr3);
    processor.setRegister('cr2', INITIAL_CR2);
    processor.cpu.i32[DR6] = INITIAL_DR6;
    oracleCase.sysenter.forEach((value, index) => processor.writeMsr(0x174 + index, BigInt(value)));
    processor.setSegment('ldtr', this.segment(LDT_SELECTOR));
    processor.setSegment('tr', this.segment(TSS_SELECTOR));
    processor.setRegister('cpl', (oracleCase.selectors[1] as number) & 3);
    SELECTOR_NAMES.forEach((name, index) => processor.setSegment(name, this.segment(oracleCase.selectors[index] as number)));
    GENERAL_REGISTER_NAMES.forEach((name, index) => processor.setRegister(name, oracleCase.registers[index] as number));
    processor.setRegister('eip', oracleCase.eip);
    processor.setRegister('eflags', oracleCase.eflags);
    processor.flushTlb('all');
  }

  private runToEnd(): number {
    const { processor } = this;
    const { exit } = processor;
    const until = processor.retired + BUDGET;
    for (let returns = 0; returns < RETURNS && processor.retired < until; returns++) {
      switch (processor.step(this.stepSize)) {
        case StepResult.Exit:
        case StepResult.Stopped:
          if (exit.reason === ExitReason.ExceptionOrNmi && exit.event) return exit.event.vector;
          if (exit.reason === ExitReason.TripleFault) return SHUTDOWN;
          return exit.reason === ExitReason.UnsupportedMode ? UNSUPPORTED : OTHER_EXIT + exit.reason;
        case StepResult.BusCycle: { // nothing is there: all ones, writes ignored
          const { access } = exit;
          processor.completeAccess(access && !access.write ? new Uint8Array(access.size * access.count).fill(0xff) : null);
          break;
        }
        case StepResult.Halted:
          return HALTED;
        default:
      }
    }
    return TIMEOUT;
  }

  private collect(vector: number): OracleResult {
    const { processor } = this;
    const { cpu, exit } = processor;
    const word = (index: number): number => (cpu.i32[index] as number) >>> 0;
    const event = vector < 32 ? exit.event : null;
    // A software exception exits as a fault does; what would be pushed is the EIP behind it. SDM Vol. 3C 27.2.1: CR2 and DR6 are not
    // written, their values stand in the qualification.
    const trap = event !== null && (event.type === EventType.SoftwareException || event.type === EventType.PrivilegedSoftwareException);
    const eip = (processor.getRegister('eip') + (trap ? exit.instructionLength : 0)) >>> 0;
    return {
      vector, error: (event?.errorCode ?? 0) >>> 0,
      cr2: vector === 14 ? exit.qualification >>> 0 : processor.getRegister('cr2') >>> 0,
      registers: Uint32Array.from(GENERAL_REGISTER_NAMES, (name) => processor.getRegister(name)),
      eip: trap && !(processor.getSegment('cs').rights & 0x4000) ? eip & 0xffff : eip,
      eflags: processor.getRegister('eflags') & ~RF,
      selectors: Uint32Array.from(SELECTOR_NAMES, (name) => processor.getSegment(name).selector),
      cr0: word(CR0) | TS, cr4: word(CR4), dr6: (vector === 1 && !trap ? word(DR6) | (exit.qualification & 0xe00f) : word(DR6)) >>> 0,
      tr: processor.getSegment('tr').selector,
      gdtrBase: word(GDTR_BASE), gdtrLimit: word(GDTR_LIMIT), idtrBase: word(IDTR_BASE), idtrLimit: word(IDTR_LIMIT),
      changes: this.changes(),
    };
  }

  /** Runs of bytes that differ from what the case found; takes note of the pages to restore. Reads memory in place: this is most of a case's time. */
  private changes(): ArenaPatch[] {
    const { before, beforeWords, dirty } = this;
    const { u8, i32 } = this.processor.cpu;
    const first = RAM_BASE + ARENA_BASE, firstWord = first >>> 2;
    const changes: ArenaPatch[] = [];
    const differs = (offset: number): boolean => u8[first + offset] !== before[offset] && !isIncidental(offset);
    for (let word = 0, checked = 0; word < ARENA_BYTES / 4; word++) {
      if (i32[firstWord + word] === beforeWords[word]) continue;
      dirty[word >>> 10] = 1;
      for (let offset = max(word * 4, checked); offset < word * 4 + 4; offset++) {
        if (!differs(offset)) continue;
        let end = offset;
        while (end < ARENA_BYTES && differs(end)) end++;
        changes.push({ offset, bytes: u8.slice(first + offset, first + end) });
        offset = checked = end;
      }
    }
    return changes;
  }
}
