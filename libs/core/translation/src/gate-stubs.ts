import {
  CPL, CS, CS_SPACE, EFLAGS_SYSTEM, EIP, ESP, ExitReason, forgetGateEntry, getEflags, MARK_COMMITS, MARK_INSIDE, modeChanged, SEGMENTS, SEGMENT_SELECTOR, SEGMENT_WORDS, SS, type Cpu, type ProcessorEvent,
} from '@ringside/x86';
import { gateStubCode } from './gate-stub.js';
import { GATE_FRAME, GATE_STUB_BYTES, GATES, gateStub } from './monitor-data.js';
import { COMMITS, SIDE_WORDS, UNDELIVERED } from './unit.js';

const { floor } = Math;

const JUMP_BYTES = 5;
const CS_WORDS = SEGMENTS + CS * SEGMENT_WORDS, SS_WORDS = SEGMENTS + SS * SEGMENT_WORDS;

/** The stubs of the gates in their places, and the event that is under way through one of them: none or one. */
export class GateStubs {
  private readonly stubs = Array.from({ length: GATES }, (_, gate) => gateStubCode(gate));
  /** CS, SS, and the system flags as they were at the INT. */
  private readonly kept = new Int32Array(2 * SEGMENT_WORDS + 1);
  private restartAt = 0;
  private length = 0;
  private event: ProcessorEvent | null = null;

  /** `offset`: of the monitor data area in monitor space. */
  constructor(private readonly offset: number) {}

  place(write: (at: number, bytes: Uint8Array) => void, marks: Uint8Array, lookupAt: number): void {
    for (const [gate, { code, sideTable, jumpAt }] of this.stubs.entries()) {
      const at = this.offset + gateStub(gate);
      const placed = code.slice();
      new DataView(placed.buffer).setInt32(jumpAt + 1, lookupAt - (at + jumpAt + JUMP_BYTES), true);
      write(at, placed);
      for (let n = 0; n < sideTable.length; n += SIDE_WORDS) {
        const flags = sideTable[n + 2]!;
        marks[at + sideTable[n]!] = ((flags & COMMITS) !== 0 ? MARK_COMMITS : 0) | ((flags & UNDELIVERED) !== 0 ? MARK_INSIDE : 0);
      }
    }
  }

  /** The stub that holds an offset of monitor space, as its place and side table; null if none does. */
  at(offset: number): { start: number; sideTable: Int32Array } | null {
    const gate = floor((offset - this.offset - gateStub(0)) / GATE_STUB_BYTES);
    return gate < 0 || gate >= GATES ? null : { start: this.offset + gateStub(gate), sideTable: this.stubs[gate]!.sideTable };
  }

  /** The processor is about to go through a gate: its frame goes on the monitor's stack. */
  enter(cpu: Cpu, event: ProcessorEvent, returnEip: number, length: number, setField: (field: number, value: number) => void): void {
    const { i32 } = cpu;
    const { kept } = this;
    kept.set(i32.subarray(CS_WORDS, CS_WORDS + SEGMENT_WORDS), 0);
    kept.set(i32.subarray(SS_WORDS, SS_WORDS + SEGMENT_WORDS), SEGMENT_WORDS);
    kept[2 * SEGMENT_WORDS] = i32[EFLAGS_SYSTEM]!;
    this.event = event;
    this.restartAt = returnEip - length;
    this.length = length;
    setField(GATE_FRAME.eip, returnEip);
    setField(GATE_FRAME.cs, i32[CS_WORDS + SEGMENT_SELECTOR]! & 0xffff);
    setField(GATE_FRAME.eflags, getEflags(cpu));
    setField(GATE_FRAME.esp, i32[ESP]!);
    setField(GATE_FRAME.ss, i32[SS_WORDS + SEGMENT_SELECTOR]! & 0xffff);
  }

  /** Where the guest stands while an event is under way: its INT's EIP, and its ESP. */
  interrupted(field: (field: number) => number): { eip: number; esp: number } {
    return { eip: this.restartAt, esp: field(GATE_FRAME.esp) };
  }

  /** The guest stands at its INT again, in ring 3; the registers that the stub has saved are the caller's to put back. */
  undo(cpu: Cpu, field: (field: number) => number): void {
    const { i32 } = cpu;
    const { kept } = this;
    i32.set(kept.subarray(0, SEGMENT_WORDS), CS_WORDS);
    i32.set(kept.subarray(SEGMENT_WORDS, 2 * SEGMENT_WORDS), SS_WORDS);
    i32[EFLAGS_SYSTEM] = kept[2 * SEGMENT_WORDS]!;
    i32[ESP] = field(GATE_FRAME.esp);
    i32[EIP] = this.restartAt;
    i32[CPL] = 3;
    i32[CS_SPACE] = 0;
    forgetGateEntry(cpu);
    modeChanged(cpu);
  }

  /** The stub gives up: the exit that the INT would have been without a gate. The guest stands at it. */
  leave({ exit }: Cpu): void {
    const { vector, type } = this.event!;
    exit.reason = ExitReason.DeprivilegedException;
    exit.qualification = vector | (type << 8);
    exit.instructionLength = this.length;
    exit.guestLinear = exit.guestPhysical = 0;
    exit.event = { vector, type, errorCode: null };
    exit.access = exit.walk = exit.instruction = null;
  }
}
