import type { SegmentName, SegmentState } from '@ringside/machine';
import {
  ACTIVITY, CPL, CR0, CR2, CR3, CR4, DR0, EFER, EIP, EventType, EVENTS_WITHOUT_PROGRESS, GDTR_BASE, getEflags, IDTR_BASE, INTERRUPT_SHADOW, PDPTE, Processor, REP_UNFINISHED, RETIRED, SEGMENTS, SEGMENT_BASE, SEGMENT_LIMIT,
  SEGMENT_RIGHTS, SEGMENT_SELECTOR, SEGMENT_WORDS, SKIPPED, StepResult, SYSENTER_CS, SYSENTER_EIP, SYSENTER_ESP, TRAP_DUE, TSC_ADJUST, type Cpu, type FrameSource, type ProcessorEvent,
} from '@ringside/x86';
import { PAGE_BYTES } from '../monitor-space.js';
import type { DeprivilegedExit } from './deprivileged-exit.js';
import { changeTable, readOnward, writeGuest } from './descriptor-tables.js';
import { compressedSegment, virtualSegment } from './ring-compression.js';
import { changePaging } from './virtual-control-registers.js';
import { EFLAGS_IF, EFLAGS_IOPL, type VirtualSystemSegment } from './virtual-cpu.js';

/** Pages that one instruction and its event can touch: far below this. And those that are kept. */
const MOST_PAGES = 128, POOL_PAGES = 256;
const PAGE_WORDS = PAGE_BYTES / 4;
const STATE_WORDS = 2 * (TSC_ADJUST + 1);
const NAMES: readonly SegmentName[] = ['es', 'cs', 'ss', 'ds', 'fs', 'gs', 'ldtr', 'tr'];
const LDTR = 6, TR = 7;
const MSR_TSC = 0x10, MSR_EFER = 0xc000_0080;
const CR0_PG = 0x8000_0000, CR4_PAE = 0x20;
const HALTED = 1, SHUT_DOWN = 2, STOPPED = 3;

/** Thrown through the processor: the interpreter fetches the frame and begins the instruction again. */
class FrameMissing {
  frame = 0;
}

/** A frame of the guest's in the interpreter's memory, at byte offset `at`. `original`: its words when they were fetched, in this exit or an earlier one. */
interface Page { readonly at: number; original: Int32Array }

/**
 * Ring -1's interpreter: executes one instruction, or delivers one event, as the guest's own processor would, on the state that the guest believes in. It is
 * that processor, with the guest's pages brought to it as they are asked for; what it changes becomes effects of the reply.
 *
 * For all that is rare: call gates, rings 1 and 2, 16-bit code, debug registers, faults of every kind. What is frequent has its own emulator (emulate.ts).
 */
export class GuestInterpreter implements FrameSource {
  private processor: Processor | null = null;
  /** Frames fetched in this exit; and in earlier ones, so that code which is still the same need not be decoded anew. */
  private readonly pages = new Map<number, Page>();
  private readonly known = new Map<number, Page>();
  private readonly before = new Int32Array(STATE_WORDS);
  private readonly missing = new FrameMissing();

  constructor(private readonly ramBytes: number) {}

  /** A frame of RAM that has not been fetched in this exit yet is; all else is the empty bus. */
  wanted(frame: number): number {
    if ((frame + 1) * PAGE_BYTES > this.ramBytes) return -1;
    this.missing.frame = frame;
    throw this.missing;
  }

  /** The instruction at EIP. How many have retired: none if it faulted, several if a REP went through a port. */
  execute(exit: DeprivilegedExit): Promise<number> {
    return this.run(exit, null);
  }

  /** An event at the boundary where the guest stands. */
  async deliver(exit: DeprivilegedExit, event: ProcessorEvent): Promise<void> {
    await this.run(exit, event);
  }

  private async run(exit: DeprivilegedExit, event: ProcessorEvent | null): Promise<number> {
    const processor = this.prepare();
    const { cpu } = processor;
    await this.load(exit, cpu);
    let begin = event;
    let result: StepResult | null = null;
    while (result === null) {
      this.before.set(cpu.i32.subarray(0, STATE_WORDS));
      try {
        if (begin !== null) {
          if (begin.type === EventType.ExternalInterrupt) processor.deliverInterrupt(begin.vector);
          else processor.inject(begin);
          begin = null;
        }
        result = processor.stepOnce(event === null ? 1 : 0);
      } catch (thrown) {
        if (thrown !== this.missing) throw thrown;
        cpu.i32.set(this.before);
        await this.fetch(exit, processor, this.missing.frame);
        continue;
      }
      if (result === StepResult.BusCycle) {
        const access = processor.exit.access!;
        const { data } = await exit.machine.cycle(exit.transaction, access.space === 'port' ? 'port' : 'mmio', access, false);
        processor.completeAccess(access.write ? null : data);
        if (access.space === 'memory') result = null;
        else cpu.i32[REP_UNFINISHED] = cpu.i32[EIP] === this.before[EIP] ? 1 : 0;
      }
    }
    return this.store(exit, cpu, result === StepResult.Mark ? processor.exit.mark : 0);
  }

  private prepare(): Processor {
    if (this.processor === null) {
      this.processor = new Processor({ ramBytes: 0, monitorBytes: POOL_PAGES * PAGE_BYTES });
      this.processor.cpu.frameSource = this;
    }
    const { processor } = this;
    processor.flushTlb('all');
    processor.cpu.frames.clear();
    this.pages.clear();
    if (this.known.size > POOL_PAGES - MOST_PAGES) this.known.clear();
    return processor;
  }

  private async fetch({ transaction }: DeprivilegedExit, processor: Processor, frame: number): Promise<void> {
    const { cpu } = processor;
    const bytes = await transaction.read('guest', frame * PAGE_BYTES, PAGE_BYTES);
    transaction.charge('guest-word', 1);
    const original = new Int32Array(bytes.buffer, bytes.byteOffset, PAGE_WORDS);
    let page = this.known.get(frame);
    if (page === undefined) {
      if (this.known.size === POOL_PAGES) throw new Error('one instruction has touched more pages than the interpreter holds');
      page = { at: cpu.monitorBase + this.known.size * PAGE_BYTES, original };
      this.known.set(frame, page);
    }
    page.original = original;
    if (firstDifference(cpu.i32, page.at >> 2, original, 0) < PAGE_WORDS) processor.writePhysical('monitor', page.at - cpu.monitorBase, bytes);
    // No translation can hold a frame that was not there.
    cpu.frames.set(frame, page.at);
    this.pages.set(frame, page);
  }

  // ---- The guest's state, as it believes in it ----------------------------------------------------------------------------------

  private async load(exit: DeprivilegedExit, cpu: Cpu): Promise<void> {
    const { frame, vcpu, machine, transaction } = exit;
    const { i32, f64 } = cpu;
    i32.fill(0, 0, STATE_WORDS);
    cpu.replay.length = 0;
    for (let register = 0; register < 8; register++) i32[register] = frame.general[register]!;
    i32[EIP] = frame.eip;
    i32[CR0] = vcpu.cr0;
    i32[CR2] = frame.cr2;
    i32[CR3] = vcpu.cr3;
    i32[CR4] = vcpu.cr4;
    for (const [n, word] of machine.shadow.pointers.entries()) i32[PDPTE + n] = word;
    for (let n = 0; n < 8; n++) i32[DR0 + n] = vcpu.debug[n]!;
    const level = exit.virtualLevel;
    for (const [n, name] of NAMES.entries()) {
      if (n < LDTR) putSegment(i32, n, await virtualSegment(exit, name, frame.segment(name), level));
    }
    putSegment(i32, LDTR, vcpu.ldtr);
    putSegment(i32, TR, vcpu.tr);
    i32[GDTR_BASE] = vcpu.gdtr.base;
    i32[GDTR_BASE + 1] = vcpu.gdtr.limit;
    i32[IDTR_BASE] = vcpu.idtr.base;
    i32[IDTR_BASE + 1] = vcpu.idtr.limit;
    i32[SYSENTER_CS] = Number(vcpu.msrs.get(0x174)!);
    i32[SYSENTER_ESP] = Number(vcpu.msrs.get(0x175)! & 0xffff_ffffn);
    i32[SYSENTER_EIP] = Number(vcpu.msrs.get(0x176)! & 0xffff_ffffn);
    i32[EFER] = Number(vcpu.msrs.get(MSR_EFER)!);
    i32[INTERRUPT_SHADOW] = vcpu.shadowAt === transaction.exit.retired ? vcpu.shadow : 0;
    i32[ACTIVITY] = vcpu.halted ? HALTED : 0;
    const { retired, now, timeStamp } = transaction.exit;
    f64[RETIRED] = retired;
    f64[SKIPPED] = now - retired;
    f64[TSC_ADJUST] = (timeStamp ?? now) - now;
    this.processor!.setRegister('eflags', (frame.eflags & ~(EFLAGS_IF | EFLAGS_IOPL)) | vcpu.flags);
    this.processor!.setRegister('cpl', level);
  }

  /** Everything that differs becomes an effect, or virtual state. */
  private async store(exit: DeprivilegedExit, cpu: Cpu, mark: number): Promise<number> {
    const { frame, vcpu, machine, transaction } = exit;
    const { i32, u32, f64 } = cpu;
    const retired = f64[RETIRED]! - transaction.exit.retired;
    await this.storePages(exit, cpu);
    if (i32[ACTIVITY] === SHUT_DOWN || i32[ACTIVITY] === STOPPED) {
      frame.cr2 = u32[CR2]!;
      if (i32[ACTIVITY] === SHUT_DOWN) machine.tripleFault(transaction);
      else machine.unsupportedMode(transaction, this.processor!.exit.qualification);
      return 0;
    }
    for (let register = 0; register < 8; register++) frame.general[register] = u32[register]!;
    frame.eip = u32[EIP]!;
    frame.cr2 = u32[CR2]!;
    const flags = getEflags(cpu);
    vcpu.flags = flags;
    frame.loadsFlags = true;
    frame.eflags = ((flags & ~EFLAGS_IOPL) | EFLAGS_IF) >>> 0;
    const level = i32[CPL]! as 0 | 1 | 2 | 3;
    for (const [n, name] of NAMES.entries()) {
      if (n < LDTR) changeSegment(exit, name, compressedSegment(name, getSegment(i32, n), level));
    }
    frame.cpl = level === 0 ? 1 : level === 3 ? 3 : 2;
    for (let n = 0; n < 8; n++) vcpu.debug[n] = u32[DR0 + n]!;
    if (f64[TSC_ADJUST] !== (transaction.exit.timeStamp ?? transaction.exit.now) - transaction.exit.now) {
      transaction.add({ kind: 'msr', msr: MSR_TSC, value: BigInt.asUintN(64, BigInt(f64[TSC_ADJUST]! + transaction.exit.now)) });
    }
    if ((i32[ACTIVITY] === HALTED) !== vcpu.halted) {
      vcpu.halted = !vcpu.halted;
      transaction.add({ kind: 'activity', activity: vcpu.halted ? 'halted' : 'active' });
    }
    await this.storeSystem(exit, i32, u32);
    await readOnward(exit);
    exit.boundary = {
      events: i32[EVENTS_WITHOUT_PROGRESS]!, shadow: i32[INTERRUPT_SHADOW]!, trap: i32[TRAP_DUE]!, repUnderWay: retired > 0 && i32[REP_UNFINISHED] !== 0,
      mark,
    };
    return retired;
  }

  private async storeSystem(exit: DeprivilegedExit, i32: Int32Array, u32: Uint32Array): Promise<void> {
    const { vcpu, machine } = exit;
    const efer = BigInt(u32[EFER]!);
    const pae = (u32[CR0]! & CR0_PG) !== 0 && (u32[CR4]! & CR4_PAE) !== 0;
    const pointers = pae ? [...i32.subarray(PDPTE, PDPTE + 8)] : [];
    const paged = u32[CR0] !== vcpu.cr0 || u32[CR3] !== vcpu.cr3 || u32[CR4] !== vcpu.cr4 || efer !== vcpu.msrs.get(MSR_EFER)
      || pointers.some((word, n) => word !== machine.shadow.pointers[n]);
    vcpu.msrs.set(0x174, BigInt(u32[SYSENTER_CS]!)).set(0x175, BigInt(u32[SYSENTER_ESP]!)).set(0x176, BigInt(u32[SYSENTER_EIP]!)).set(MSR_EFER, efer);
    if (paged) await changePaging(exit, { cr0: u32[CR0]!, cr3: u32[CR3]!, cr4: u32[CR4]! }, pointers);
    vcpu.idtr = { base: u32[IDTR_BASE]!, limit: u32[IDTR_BASE + 1]! };
    vcpu.tr = getSegment(i32, TR);
    const gdtr = { base: u32[GDTR_BASE]!, limit: u32[GDTR_BASE + 1]! };
    if (gdtr.base !== vcpu.gdtr.base || gdtr.limit !== vcpu.gdtr.limit) await changeTable(exit, 'gdt', gdtr);
    const ldtr = getSegment(i32, LDTR);
    if (!same(ldtr, vcpu.ldtr)) await changeTable(exit, 'ldt', ldtr);
  }

  private async storePages(exit: DeprivilegedExit, cpu: Cpu): Promise<void> {
    for (const [frame, { at, original }] of this.pages) {
      const first = at >> 2;
      for (let word = firstDifference(cpu.i32, first, original, 0); word < PAGE_WORDS;) {
        let end = word + 1;
        while (end < PAGE_WORDS && cpu.i32[first + end] !== original[end]) end++;
        await writeGuest(exit, frame * PAGE_BYTES + word * 4, cpu.u8.slice(at + word * 4, at + end * 4));
        word = firstDifference(cpu.i32, first, original, end);
      }
    }
  }
}

/** The first word from `from` on in which memory at word `first` differs from a page, or `PAGE_WORDS`. */
function firstDifference(memory: Int32Array, first: number, page: Int32Array, from: number): number {
  let word = from;
  while (word < PAGE_WORDS && memory[first + word] === page[word]) word++;
  return word;
}

function putSegment(i32: Int32Array, n: number, { selector, base, limit, rights }: SegmentState): void {
  const at = SEGMENTS + n * SEGMENT_WORDS;
  i32[at + SEGMENT_SELECTOR] = selector;
  i32[at + SEGMENT_BASE] = base;
  i32[at + SEGMENT_LIMIT] = limit;
  i32[at + SEGMENT_RIGHTS] = rights;
}

function getSegment(i32: Int32Array, n: number): VirtualSystemSegment {
  const at = SEGMENTS + n * SEGMENT_WORDS;
  return { selector: i32[at + SEGMENT_SELECTOR]! & 0xffff, base: i32[at + SEGMENT_BASE]! >>> 0, limit: i32[at + SEGMENT_LIMIT]! >>> 0, rights: i32[at + SEGMENT_RIGHTS]! >>> 0 };
}

const same = (one: SegmentState, other: SegmentState): boolean =>
  one.selector === other.selector && one.base === other.base && one.limit === other.limit && one.rights === other.rights;

function changeSegment({ frame }: DeprivilegedExit, name: SegmentName, state: SegmentState): void {
  if (!same(state, frame.segment(name))) frame.setSegment(name, state);
}
