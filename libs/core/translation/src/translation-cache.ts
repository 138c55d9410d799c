import {
  assistInstruction, beginPortAccess, CPL, CS, CS_SPACE, EFLAGS_SYSTEM, describeBytes, EIP, ESP, ExitReason, EXECUTE, INTERRUPT_SHADOW, leaveForInterpretation, MARK_COMMITS, MARK_INSIDE, SEGMENTS, SEGMENT_BASE, SEGMENT_LIMIT, SEGMENT_RIGHTS, SEGMENT_SELECTOR, SEGMENT_WORDS, SHADOW_STI, SS, StepResult,
  shadowFetch, translateLinear, watchSource, type Cpu, type Processor, type ProcessorEvent, type TranslatedCode,
} from '@ringside/x86';
import { GateStubs } from './gate-stubs.js';
import { decodeGuest } from './guest-instruction.js';
import { sideEntry } from './host-code.js';
import { lookupStub } from './lookup-stub.js';
import {
  emptyKey, gateStub, GATES, IF_IN_BYTE, initialMonitorData, INTERPRET, KEPT_IF, LAYOUT_VERSION, LOOKUP, LOOKUP_ENTRY_BYTES, MONITOR_DATA_BYTES, PENDING, saved, selectorField, TARGET, VIRTUAL_IF, VIRTUAL_IF_BYTE, VIRTUAL_IOPL, VIRTUAL_TS,
} from './monitor-data.js';
import { TrappingStores } from './trapping-stores.js';
import { translate } from './translate.js';
import {
  COMMITS, DYNAMIC_EIP, FAULT_IS_CALLOUT, IF_KEPT, isRefused, MODE_ASK, MODE_CODE32, MODE_CPL_SHIFT, MODE_IOPL, MODE_STACK32, SIDE_WORDS, SPILLED_SHIFT, type TranslationMode, type TranslationRefused, type TranslationRequest, type TranslationUnit, UNDELIVERED, type UnitExit,
} from './unit.js';
import { verifyUnit } from './verify.js';

const PAGE = 4096;
const D_B = 1 << 14;
const NT = 1 << 14; // of EFLAGS
const INT3 = 0xcc, JMP = 0xe9;
const DIRECT_EXIT_BYTES = 5, GATE_BYTES = 2;
const { imul } = Math;

/** A unit in its place. */
export interface PlacedUnit {
  readonly unit: TranslationUnit;
  /** Offset of its code in monitor space. */
  readonly at: number;
  /** Byte offsets in the VM's memory of the guest bytes: of the first, and of the second page's part (or -1). */
  readonly source: number;
  readonly secondSource: number;
  readonly exits: ReadonlyMap<number, UnitExit>;
  dead: boolean;
}

export interface TranslationCacheOptions {
  /** Where in monitor space it lies; page-aligned. Monitor data comes first. */
  readonly offset: number;
  readonly bytes: number;
  /** One unit in so many is translated again here and compared; 0 for none. */
  readonly recomputeOneIn?: number;
  readonly seed?: number;
}

/** Why an answer was not taken. */
export interface UnitRejected { readonly rejected: string }

/**
 * The translation cache of one VM (architecture, "Binary translation"): places units in monitor space, chains them, answers their gates, knows for each host
 * instruction what the guest's state is, and drops units when their guest code is written. It never translates: a miss is an exit of
 * the processor, and `missing` says what to ask a translator for.
 */
export class TranslationCache implements TranslatedCode {
  readonly dataOffset: number;
  readonly dataBytes = MONITOR_DATA_BYTES;
  readonly marks: Uint8Array;
  /** What the last miss needs; the machine asks a translator and calls `install`. */
  missing: TranslationRequest | null = null;
  readonly counts = { misses: 0, installed: 0, recomputed: 0, directExits: 0, chained: 0, invalidated: 0, lookups: 0, gates: 0, callouts: 0, storesAsked: 0, storesReverted: 0, flushes: 0, hostBytes: 0, guestBytes: 0 };

  private readonly codeStart: number;
  private readonly codeEnd: number;
  private readonly gates: GateStubs;
  private readonly stores = new TrappingStores();
  private readonly stub = lookupStub();
  private readonly stubAt: number;
  private top: number;
  /** In order of their places. */
  private placed: PlacedUnit[] = [];
  private readonly byEip = new Map<number, PlacedUnit[]>();
  /** By host page of the guest's bytes. */
  private readonly bySource = new Map<number, Set<PlacedUnit>>();
  /** What the lookup table leads to, by index; the mode of those units and the base of CS; and what of the guest's linear addresses may lead elsewhere since: pages by number, or all of them. */
  private readonly published = new Map<number, PlacedUnit>();
  private unconfirmed: 'all' | Set<number> = new Set();
  private publishedMode: TranslationMode = 0;
  private publishedBase = 0;
  private readonly cpu: Cpu;
  private random: number;
  /** Where the bytes of `missing` lie: byte offsets in memory. */
  private missingAt = -1;
  private missingSecond = -1;

  constructor(private readonly processor: Processor, private readonly options: TranslationCacheOptions) {
    this.cpu = processor.cpu;
    this.dataOffset = options.offset;
    this.codeStart = options.offset + gateStub(GATES);
    this.gates = new GateStubs(options.offset);
    this.codeEnd = options.offset + options.bytes;
    if ((options.offset & (PAGE - 1)) !== 0 || this.codeEnd > this.cpu.monitorBytes || this.codeEnd - this.codeStart < 4 * PAGE) throw new RangeError('the translation cache does not fit monitor space');
    this.marks = new Uint8Array(this.cpu.monitorBytes);
    this.random = imul((options.seed ?? 0) + 1, 0x9e3779b1) | 1;
    processor.writePhysical('monitor', this.dataOffset, initialMonitorData());
    this.stubAt = this.codeStart;
    this.top = this.placeStub();
  }

  get interruptFlag(): boolean {
    return (this.cpu.u8[this.cpu.monitorBase + this.dataOffset + VIRTUAL_IF_BYTE]! & IF_IN_BYTE) !== 0;
  }

  get iopl(): number {
    return this.field(VIRTUAL_IOPL) & 3;
  }

  get taskSwitched(): boolean {
    return this.cpu.u8[this.cpu.monitorBase + this.dataOffset + VIRTUAL_TS] !== 0;
  }

  get runsDirectly(): boolean {
    return this.interruptFlag && this.iopl === 0 && this.field(INTERPRET) === 0;
  }

  setInterruptFlag(set: boolean): void {
    this.cpu.u8[this.cpu.monitorBase + this.dataOffset + VIRTUAL_IF_BYTE] = set ? IF_IN_BYTE : 0;
  }

  /** An interrupt waits (or no longer): STI and POPF look at it. */
  setPending(pending: boolean): void {
    this.setField(PENDING, pending ? 1 : 0);
  }

  // ---- What the processor asks ---------------------------------------------------------------------------------------------

  enter(cpu: Cpu): boolean {
    const { i32 } = cpu;
    const eip = i32[EIP]!;
    if (this.field(INTERPRET) !== 0 || !isTranslatable(cpu)) leaveForInterpretation(cpu);
    const host = this.fetch(cpu, eip);
    const mode = this.mode(cpu);
    this.look(mode, i32[SEGMENTS + CS * SEGMENT_WORDS + SEGMENT_BASE]!);
    this.confirm(cpu);
    const unit = this.find(cpu, eip, host, mode);
    if (unit === undefined) {
      this.counts.misses++;
      this.missing = this.request(cpu, eip, host);
      return false;
    }
    for (let segment = 0; segment < 6; segment++) {
      const selector = i32[SEGMENTS + segment * SEGMENT_WORDS + SEGMENT_SELECTOR]! & 0xffff;
      // Ring compression shows in CS and SS alone: their RPL is CPL.
      this.setField(selectorField(segment), (segment === CS || segment === SS) && i32[CPL] === 1 ? selector & ~3 : selector);
    }
    this.publish(eip, unit);
    i32[EIP] = unit.at;
    i32[CS_SPACE] = 1;
    return true;
  }

  enterGate(cpu: Cpu, event: ProcessorEvent, returnEip: number, length: number): void {
    this.counts.gates++;
    // Ring -1 makes gates only to flat 32-bit code and stacks of ring 0, and an application with another IOPL does not run directly.
    this.look(MODE_CODE32 | MODE_STACK32, 0);
    this.confirm(cpu);
    this.gates.enter(cpu, event, returnEip, length, (field, value) => this.setField(field, value));
  }

  gate(cpu: Cpu): 'go-on' | 'told' | 'exit' {
    const { i32 } = cpu;
    const at = i32[EIP]!;
    if (this.gates.at(at) !== null) {
      this.recover(cpu);
      this.gates.leave(cpu);
      return 'exit';
    }
    if (at === this.stubAt + this.stub.missAt) {
      this.counts.lookups++;
      this.recover(cpu);
      return 'go-on';
    }
    const placed = this.unitAt(at);
    const exit = placed.exits.get(at - placed.at);
    if (placed.dead && cpu.u8[cpu.monitorBase + at] === INT3) {
      this.recover(cpu);
      return 'go-on';
    }
    switch (exit?.kind) {
      case 'direct': {
        this.counts.directExits++;
        const source = placed.source + ((exit.target | 0) - (placed.unit.eip | 0));
        const target = this.byEip.get(exit.target | 0)?.find((unit) => unit.source === source && unit.secondSource < 0 && ((unit.unit.mode ^ placed.unit.mode) & ~MODE_ASK) === 0);
        if (target === undefined || placed.dead) this.recover(cpu);
        else this.chain(at, target);
        return 'go-on';
      }
      case 'pending':
        i32[EIP] = at + 2;
        if (exit.shadow) i32[INTERRUPT_SHADOW] = SHADOW_STI;
        return 'go-on';
      case 'callout':
        if ((placed.unit.mode & MODE_ASK) !== 0) {
          this.ask(cpu, placed);
          return 'told';
        }
        this.callout(cpu, placed, exit.instruction);
        return 'exit';
      default:
        throw new Error(`no exit of translated code at ${at}`);
    }
  }

  recover(cpu: Cpu): void {
    const { i32 } = cpu;
    const at = i32[EIP]!;
    const { start, sideTable } = this.sideTableAt(at);
    const entry = sideEntry(sideTable, at - start);
    if (entry < 0) throw new Error(`the side table does not know ${at}`);
    const flags = sideTable[entry * SIDE_WORDS + 2]!;
    if ((flags & IF_KEPT) !== 0) this.setField(VIRTUAL_IF, this.field(KEPT_IF));
    this.fillSpilled(i32, flags);
    if ((flags & UNDELIVERED) !== 0) {
      this.gates.undo(cpu, (field) => this.field(field));
      return;
    }
    i32[EIP] = this.eipOf(sideTable, entry);
    i32[CS_SPACE] = 0;
  }

  /** The guest's EIP and general registers while translated code is under way, for people: nothing changes by it. Null when none is. */
  peek(): { eip: number; general: Int32Array } | null {
    const { i32 } = this.cpu;
    if (i32[CS_SPACE] === 0) return null;
    const { start, sideTable } = this.sideTableAt(i32[EIP]!);
    const entry = sideEntry(sideTable, i32[EIP]! - start);
    if (entry < 0) return null;
    const flags = sideTable[entry * SIDE_WORDS + 2]!;
    const general = i32.slice(0, 8);
    this.fillSpilled(general, flags);
    if ((flags & UNDELIVERED) === 0) return { eip: this.eipOf(sideTable, entry), general };
    const { eip, esp } = this.gates.interrupted((field) => this.field(field));
    general[ESP] = esp;
    return { eip, general };
  }

  traced(cpu: Cpu): void {
    const at = cpu.i32[EIP]!;
    if (this.gates.at(at) !== null || this.inLookupStub(at)) return;
    const placed = this.unitAt(at);
    if ((placed.unit.mode & MODE_ASK) !== 0) {
      this.stores.needed(placed.source);
      cpu.exit.reason = ExitReason.Callout;
      return;
    }
    const { unit } = placed;
    const eip = unit.sideTable[sideEntry(unit.sideTable, at - placed.at) * SIDE_WORDS + 1]!;
    const offset = (eip - unit.eip) | 0;
    const instruction = unit.instructions.find((one) => one.at === offset);
    if (instruction?.treatment !== 'ident' || unit.straddles || placed.dead || !this.stores.trapped(placed.source + offset)) return;
    this.counts.storesAsked++;
    this.dropRange(placed.source >>> 12, (placed.source & (PAGE - 1)) + offset, (placed.source & (PAGE - 1)) + offset + instruction.length);
  }

  /** The gate in front of a store that has met traces: on to the copy, which leaves if it meets one; or back to an ordinary store. */
  private ask(cpu: Cpu, placed: PlacedUnit): void {
    if (cpu.replay.length > 0 || this.stores.ask(placed.source)) {
      cpu.i32[EIP]! += GATE_BYTES;
      return;
    }
    this.counts.storesReverted++;
    this.recover(cpu);
    this.drop(placed);
  }

  /** Of a unit or stub: where it begins, and its side table. */
  private sideTableAt(at: number): { start: number; sideTable: Int32Array } {
    const gate = this.gates.at(at);
    if (gate !== null) return gate;
    if (this.inLookupStub(at)) return { start: this.stubAt, sideTable: this.stub.sideTable };
    const placed = this.unitAt(at);
    return { start: placed.at, sideTable: placed.unit.sideTable };
  }

  private inLookupStub(at: number): boolean {
    return at >= this.stubAt && at < this.stubAt + this.stub.code.length;
  }

  recoverFault(cpu: Cpu): boolean {
    const at = cpu.i32[EIP]!;
    const placed = at < this.stubAt + this.stub.code.length ? null : this.unitAt(at);
    const entry = placed === null ? -1 : sideEntry(placed.unit.sideTable, at - placed.at);
    const isCallout = entry >= 0 && (placed!.unit.sideTable[entry * SIDE_WORDS + 2]! & FAULT_IS_CALLOUT) !== 0;
    if (!isCallout) {
      this.recover(cpu);
      return false;
    }
    this.callout(cpu, placed!, (placed!.unit.sideTable[entry * SIDE_WORDS + 1]! - placed!.unit.eip) | 0);
    return true;
  }

  sourceWritten(_cpu: Cpu, hostPage: number, from: number, to: number): void {
    this.stores.forget(hostPage * PAGE + from, hostPage * PAGE + to);
    this.dropRange(hostPage, from, to);
  }

  /** Drop the units made of these bytes of a page. */
  private dropRange(hostPage: number, from: number, to: number): void {
    const units = this.bySource.get(hostPage);
    if (units === undefined) return;
    for (const placed of [...units]) {
      const length = placed.unit.guest.length;
      const start = placed.source >>> 12 === hostPage ? placed.source & (PAGE - 1) : 0;
      const end = placed.source >>> 12 === hostPage ? start + length : length - (PAGE - (placed.source & (PAGE - 1)));
      if (start < to && end > from) this.drop(placed);
    }
  }

  mappingChanged(cpu: Cpu, linear: number | null): void {
    // Code that is under way may look something up before anybody is asked. Between two steps there is time for a look at what the answer leaves behind.
    if (cpu.i32[CS_SPACE] !== 0 && cpu.sliceBudget !== 0) this.emptyLookup();
    else if (linear === null) this.unconfirmed = 'all';
    else if (this.unconfirmed !== 'all') this.unconfirmed.add(linear >>> 12);
  }

  resume(cpu: Cpu): void {
    this.confirm(cpu);
  }

  // ---- Units -------------------------------------------------------------------------------------------------------------

  /** Take a translator's answer to `missing`. A unit that the verifier refuses, or that differs from what the translator here makes of the same bytes, is not taken. */
  install(request: TranslationRequest, answer: TranslationUnit | TranslationRefused): PlacedUnit | UnitRejected {
    if (isRefused(answer)) return { rejected: `the translator refuses: ${answer.refused}` };
    const wrong = verifyUnit(request, answer) ?? this.recompute(request, answer);
    if (wrong !== null) return { rejected: wrong };
    if (this.missing !== request) return { rejected: 'nobody waits for this unit' };
    this.missing = null;
    const { missingAt: host } = this;
    const secondSource = answer.straddles ? this.missingSecond : -1;
    const placed: PlacedUnit = { unit: answer, at: this.room(answer.code.length), source: host, secondSource, exits: new Map(answer.exits.map((exit) => [exit.at, exit])), dead: false };
    this.write(placed);
    this.placed.push(placed);
    const same = this.byEip.get(answer.eip | 0);
    if (same === undefined) this.byEip.set(answer.eip | 0, [placed]);
    else same.push(placed);
    this.watch(host >>> 12, placed);
    if (secondSource >= 0) this.watch(secondSource >>> 12, placed);
    this.counts.installed++;
    this.counts.hostBytes += answer.code.length;
    this.counts.guestBytes += answer.guest.length;
    return placed;
  }

  /** Units that live, for `disassemble --translated`. */
  units(): PlacedUnit[] {
    return this.placed.filter(({ dead }) => !dead);
  }

  /** The units that hold a guest EIP. */
  unitsOf(eip: number): PlacedUnit[] {
    return this.units().filter(({ unit }) => ((eip - unit.eip) >>> 0) < unit.guest.length);
  }

  private eipOf(sideTable: Int32Array, entry: number): number {
    return (sideTable[entry * SIDE_WORDS + 2]! & DYNAMIC_EIP) !== 0 ? this.field(TARGET) : sideTable[entry * SIDE_WORDS + 1]!;
  }

  /** General registers whose guest values are in monitor data, by a side-table entry's flags. */
  private fillSpilled(general: Int32Array, flags: number): void {
    for (let register = 0; register < 8; register++) if (((flags >>> (SPILLED_SHIFT + register)) & 1) !== 0) general[register] = this.field(saved(register));
  }

  private recompute(request: TranslationRequest, answer: TranslationUnit): string | null {
    const oneIn = this.options.recomputeOneIn ?? 100;
    let { random } = this;
    random ^= random << 13;
    random ^= random >>> 17;
    random ^= random << 5;
    this.random = random;
    if (oneIn === 0 || (random >>> 0) % oneIn !== 0) return null;
    this.counts.recomputed++;
    const own = translate(request);
    if (isRefused(own)) return 'the translator here refuses';
    return sameBytes(own.code, answer.code) && sameBytes(own.sideTable, answer.sideTable) && JSON.stringify(own.exits) === JSON.stringify(answer.exits) ? null : 'not what the translator here makes of it';
  }

  /** The lookup table holds units of one mode, for one base of CS. */
  private look(mode: TranslationMode, base: number): void {
    if (mode === this.publishedMode && base === this.publishedBase) return;
    this.emptyLookup();
    this.publishedMode = mode;
    this.publishedBase = base;
  }

  private emptyLookup(): void {
    for (const index of this.published.keys()) this.setField(LOOKUP + index * LOOKUP_ENTRY_BYTES, emptyKey(index));
    this.published.clear();
    this.unconfirmed = new Set();
  }

  /**
   * Keep of the lookup table what the shadow tables lead to now, as a TLB might have walked them already: a shadow entry is there only while the guest's is, and is accessed. A kernel's code
   * is the same in all address spaces, so that a load of CR3 costs a look at each of its pages in use, and not a miss for each of its returns.
   */
  private confirm(cpu: Cpu): void {
    const { unconfirmed } = this;
    if (unconfirmed !== 'all' && unconfirmed.size === 0) return;
    this.unconfirmed = new Set();
    const user = ((this.publishedMode >> MODE_CPL_SHIFT) & 3) === 3;
    const pages = new Map<number, number>();
    for (const [index, placed] of this.published) {
      const at = LOOKUP + index * LOOKUP_ENTRY_BYTES;
      const linear = (this.publishedBase + this.field(at)) | 0;
      if (unconfirmed !== 'all' && !unconfirmed.has(linear >>> 12)) continue;
      let page = pages.get(linear >>> 12);
      if (page === undefined) pages.set(linear >>> 12, page = shadowFetch(cpu, linear & ~(PAGE - 1), user));
      if (page >= 0 && page + (linear & (PAGE - 1)) === placed.source && placed.secondSource < 0 && !placed.dead) continue;
      this.setField(at, emptyKey(index));
      this.published.delete(index);
    }
  }

  private find(cpu: Cpu, eip: number, host: number, mode: TranslationMode): PlacedUnit | undefined {
    const units = this.byEip.get(eip);
    if (units === undefined) return undefined;
    for (const placed of units) {
      if (placed.source !== host || (placed.unit.mode & ~MODE_ASK) !== mode) continue;
      if (placed.secondSource < 0) return placed;
      if (this.fetch(cpu, (eip + PAGE - (placed.source & (PAGE - 1))) | 0) === placed.secondSource) return placed;
    }
    return undefined;
  }

  /** Byte offset in memory of the code at `eip`, or -1 where there is no RAM. Raises what the fetch raises. */
  private fetch(cpu: Cpu, eip: number): number {
    return translateLinear(cpu, (cpu.i32[SEGMENTS + CS * SEGMENT_WORDS + SEGMENT_BASE]! + eip) | 0, EXECUTE, cpu.i32[CPL] === 3);
  }

  private mode(cpu: Cpu): TranslationMode {
    const { i32 } = cpu;
    return (i32[CPL] === 3 ? 3 << MODE_CPL_SHIFT : 0) | ((i32[SEGMENTS + CS * SEGMENT_WORDS + SEGMENT_RIGHTS]! & D_B) !== 0 ? MODE_CODE32 : 0) | ((i32[SEGMENTS + SS * SEGMENT_WORDS + SEGMENT_RIGHTS]! & D_B) !== 0 ? MODE_STACK32 : 0)
      // IRET with NT is no return: it is left to ring -1, as where IOPL is not 0.
      | (this.iopl === 0 && (i32[EFLAGS_SYSTEM]! & NT) === 0 ? 0 : MODE_IOPL);
  }

  private request(cpu: Cpu, eip: number, host: number): TranslationRequest {
    const pageOffset = (cpu.i32[SEGMENTS + CS * SEGMENT_WORDS + SEGMENT_BASE]! + eip) & (PAGE - 1);
    const inPage = PAGE - pageOffset;
    this.missingAt = host;
    this.missingSecond = -1;
    let bytes = host < 0 ? new Uint8Array(inPage).fill(0xff) : cpu.u8.slice(host, host + inPage);
    if (decodeGuest(bytes, 0, bytes.length) === null) {
      // Where there is no RAM an instruction is all ones to its end, as for the processor itself.
      const second = host < 0 ? -1 : this.fetch(cpu, (eip + inPage) | 0);
      this.missingSecond = second;
      const both = new Uint8Array(inPage + 15).fill(0xff);
      both.set(bytes);
      if (second >= 0) both.set(cpu.u8.subarray(second, second + 15), inPage);
      bytes = both;
    }
    const asks = this.stores.asks(host);
    if (!asks) {
      // A unit ends before a store that asks.
      const before = bytes.subarray(0, this.stores.firstIn(host, host + inPage) - host);
      if (before.length < inPage && decodeGuest(before, 0, before.length) !== null) bytes = before.slice();
    }
    return { bytes, eip: eip >>> 0, pageOffset, mode: this.mode(cpu) | (asks ? MODE_ASK : 0), layout: LAYOUT_VERSION };
  }

  private callout(cpu: Cpu, placed: PlacedUnit, instruction: number): void {
    this.counts.callouts++;
    this.recover(cpu);
    const { exit } = cpu;
    exit.qualification = 0;
    exit.access = null;
    exit.event = null;
    exit.walk = null;
    exit.instruction = null;
    const { length } = placed.unit.instructions.find(({ at }) => at === instruction)!;
    const bytes = placed.unit.guest.subarray(instruction, instruction + length);
    if (cpu.i32[CPL] !== 3 && isPortInstruction(bytes) && beginPortAccess(cpu, bytes)) cpu.stepResult = StepResult.Exit;
    else assistInstruction(cpu, describeBytes(cpu, bytes));
    exit.reason = ExitReason.Callout;
    exit.instructionLength = length;
  }

  // ---- Places ----------------------------------------------------------------------------------------------------------------

  private placeStub(): number {
    this.gates.place((at, bytes) => this.processor.writePhysical('monitor', at, bytes), this.marks, this.stubAt);
    this.processor.writePhysical('monitor', this.stubAt, this.stub.code);
    return this.stubAt + this.stub.code.length;
  }

  /** Room for a unit inside one page: the run loop's slots never cross one. All units go when there is none. */
  private room(bytes: number): number {
    if (PAGE - (this.top & (PAGE - 1)) < bytes) this.top = (this.top | (PAGE - 1)) + 1;
    if (this.top + bytes > this.codeEnd) {
      this.flush();
      if (PAGE - (this.top & (PAGE - 1)) < bytes) this.top = (this.top | (PAGE - 1)) + 1;
    }
    const at = this.top;
    this.top += bytes;
    return at;
  }

  /** Drop every unit. Only while no translated code is under way. */
  flush(): void {
    if (this.cpu.i32[CS_SPACE] !== 0) throw new Error('translated code is under way');
    this.emptyLookup();
    this.counts.flushes++;
    for (const page of this.bySource.keys()) watchSource(this.cpu, page, false);
    this.bySource.clear();
    this.byEip.clear();
    this.placed = [];
    this.marks.fill(0, this.codeStart, this.codeEnd);
    this.processor.writePhysical('monitor', this.codeStart, new Uint8Array(this.codeEnd - this.codeStart));
    this.top = this.placeStub();
  }

  private write(placed: PlacedUnit): void {
    const { unit, at } = placed;
    const code = unit.code.slice();
    for (const exit of unit.exits) if (exit.kind === 'lookup') new DataView(code.buffer).setInt32(exit.at + 1, this.stubAt - (at + exit.at + DIRECT_EXIT_BYTES), true);
    const { sideTable } = unit;
    const firsts = new Set(unit.instructions.map(({ from }) => from));
    for (let n = 0; n < sideTable.length; n += SIDE_WORDS) {
      const host = sideTable[n]!;
      const flags = sideTable[n + 2]!;
      const instruction = unit.instructions.find(({ from, to }) => host >= from && host < to);
      const inside = instruction !== undefined && !firsts.has(host) && (flags & DYNAMIC_EIP) === 0 && sideTable[n + 1] === ((unit.eip + instruction.at) | 0);
      this.marks[at + host] = ((flags & COMMITS) !== 0 ? MARK_COMMITS : 0) | (inside ? MARK_INSIDE : 0);
    }
    this.processor.writePhysical('monitor', at, code);
  }

  private watch(hostPage: number, placed: PlacedUnit): void {
    let units = this.bySource.get(hostPage);
    if (units === undefined) {
      units = new Set();
      this.bySource.set(hostPage, units);
      watchSource(this.cpu, hostPage, true);
    }
    units.add(placed);
  }

  /** The guest bytes of a unit have changed. Its code may be under way, so it is not taken away: at each boundary between guest instructions it now leaves. */
  private drop(placed: PlacedUnit): void {
    placed.dead = true;
    this.counts.invalidated++;
    const { unit, at } = placed;
    for (let n = 0; n < unit.sideTable.length; n += SIDE_WORDS) {
      const host = at + unit.sideTable[n]!;
      if ((this.marks[host]! & MARK_INSIDE) !== 0) continue;
      this.marks[host] = 0; // the gate completes nothing
      this.processor.writePhysical('monitor', host, Uint8Array.of(INT3));
    }
    const same = this.byEip.get(unit.eip | 0)!;
    same.splice(same.indexOf(placed), 1);
    if (same.length === 0) this.byEip.delete(unit.eip | 0);
    for (const source of [placed.source, placed.secondSource]) {
      if (source < 0) continue;
      const units = this.bySource.get(source >>> 12);
      units?.delete(placed);
      if (units?.size === 0) {
        this.bySource.delete(source >>> 12);
        watchSource(this.cpu, source >>> 12, false);
      }
    }
  }

  private chain(at: number, target: PlacedUnit): void {
    const jump = new Uint8Array(DIRECT_EXIT_BYTES);
    jump[0] = JMP;
    new DataView(jump.buffer).setInt32(1, target.at - (at + DIRECT_EXIT_BYTES), true);
    this.processor.writePhysical('monitor', at, jump);
    this.counts.chained++;
  }

  /** Let indirect transfers find it. */
  private publish(eip: number, placed: PlacedUnit): void {
    const index = eip & 0xffff;
    const at = LOOKUP + index * LOOKUP_ENTRY_BYTES;
    if (this.field(at) === eip && this.field(at + 4) === placed.at) return;
    this.published.set(index, placed);
    this.setField(at, eip);
    this.setField(at + 4, placed.at);
  }

  private unitAt(at: number): PlacedUnit {
    let low = 0, high = this.placed.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const placed = this.placed[middle]!;
      if (at < placed.at) high = middle - 1;
      else if (at >= placed.at + placed.unit.code.length) low = middle + 1;
      else return placed;
    }
    throw new Error(`no unit at ${at}`);
  }

  private field(offset: number): number {
    return this.cpu.i32[(this.cpu.monitorBase + this.dataOffset + offset) >> 2]!;
  }

  private setField(offset: number, value: number): void {
    this.cpu.i32[(this.cpu.monitorBase + this.dataOffset + offset) >> 2] = value;
  }
}

/** 32-bit code and stack, in rings 0 and 3. Code behind a limit is not translated: its transfers would have to check it. */
function isTranslatable({ i32 }: Cpu): boolean {
  const cs = SEGMENTS + CS * SEGMENT_WORDS;
  return i32[CPL] !== 2 && i32[cs + SEGMENT_LIMIT] === -1 && (i32[cs + SEGMENT_RIGHTS]! & i32[SEGMENTS + SS * SEGMENT_WORDS + SEGMENT_RIGHTS]! & D_B) !== 0;
}

/** IN, OUT, INS, OUTS. */
function isPortInstruction(bytes: Uint8Array): boolean {
  const row = decodeGuest(bytes, 0, bytes.length)?.row;
  return row?.attributes.has('iopl') === true && row.mnemonic !== 'CLI' && row.mnemonic !== 'STI';
}

function sameBytes(one: Uint8Array | Int32Array, other: Uint8Array | Int32Array): boolean {
  return one.length === other.length && one.every((value, n) => value === other[n]);
}
