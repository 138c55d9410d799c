import { EXECUTED, ExitReason, NO_CONTROLS, Processor, SEGMENTS, SEGMENT_SELECTOR, SEGMENT_WORDS, StepResult } from '@ringside/x86';
import { sideEntry } from '../host-code.js';
import { initialMonitorData, LAYOUT_VERSION, saved, selectorField, TARGET, VIRTUAL_IF_BYTE } from '../monitor-data.js';
import { translate } from '../translate.js';
import { COMMITS, DYNAMIC_EIP, isRefused, MODE_CODE32, MODE_STACK32, SIDE_WORDS, SPILLED_SHIFT, type TranslationRequest, type TranslationUnit } from '../unit.js';
import { verifyUnit } from '../verify.js';
import { GUEST_CODE } from './guest-code.js';

const RAM = 0x20_0000;
/** Where a unit's code and the monitor data area lie in the twin that runs translations: beyond the guest's segment limit. */
const HOST_CODE = 0x10_0000;
const MONITOR_DATA = 0x11_0000;
const GUEST_LIMIT = 0x7_ffff;
const GDT = 0x1000;
const TF = 1 << 8;
const IF = 1 << 9;
const INITIAL = initialMonitorData();

/** What a guest can see of itself. */
export interface GuestView { eip: number; eflags: number; general: number[]; selectors: number[] }

/**
 * The same guest twice: in ring 0 as it is, and in ring 1 through its translation, unit by unit. Guest segments end below the code and data of the
 * translation, so that a stray access faults in both alike. Real GS stands for monitor data.
 */
export class Twin {
  readonly native = processor(0);
  readonly translated = processor(1);

  constructor(page: Uint8Array, registers: readonly number[]) {
    for (const one of [this.native, this.translated]) {
      one.writePhysical('guest', GUEST_CODE, page);
      for (const [n, name] of (['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi'] as const).entries()) one.setRegister(name, registers[n]!);
      one.setRegister('eip', GUEST_CODE);
    }
    this.translated.writePhysical('guest', MONITOR_DATA, INITIAL);
    for (let segment = 0; segment < 6; segment++) this.setField(selectorField(segment), segment === 1 ? 8 : segment === 5 ? 0 : 0x10);
  }

  request(): TranslationRequest {
    const eip = this.native.getRegister('eip');
    const bytes = this.native.readPhysical('guest', eip, 4096 - (eip & 0xfff) + 15);
    const within = this.native.readPhysical('guest', eip, 4096 - (eip & 0xfff));
    const request = { bytes: within, eip, pageOffset: eip & 0xfff, mode: MODE_CODE32 | MODE_STACK32, layout: LAYOUT_VERSION };
    return isRefused(translate(request)) ? { ...request, bytes } : request;
  }

  /**
   * Run one unit in the translated twin and the same instructions in the native one, comparing at each commit. Returns how it ended: at which kind of
   * exit, with a fault (the same in both), or with the trap flag, which would trap at every host instruction here.
   */
  runUnit(unit: TranslationUnit, compare: (native: GuestView, translated: GuestView) => void): 'trap-flag' | 'direct' | 'lookup' | 'callout' | 'fault' {
    const { translated, native } = this;
    translated.writePhysical('guest', HOST_CODE, unit.code);
    translated.setRegister('eip', HOST_CODE);
    const exits = new Map(unit.exits.map((exit) => [exit.at, exit]));
    for (;;) {
      const at = translated.getRegister('eip') - HOST_CODE;
      const entry = sideEntry(unit.sideTable, at);
      const exit = exits.get(at);
      if (exit !== undefined && exit.kind !== 'pending') {
        compare(viewOf(native), this.view(unit, entry));
        this.settle(unit, entry);
        return exit.kind;
      }
      if (exit !== undefined) throw new Error('no interrupt waits');
      const commits = (unit.sideTable[entry * SIDE_WORDS + 2]! & COMMITS) !== 0;
      if (commits) {
        // A REP goes on at the same address until it is done.
        const result = native.step(1);
        const twin = translated.step(1);
        if (result !== twin) throw new Error(`native ${result}, translated ${twin} at ${at}`);
        if (result === StepResult.Exit) return this.fault(unit, entry, compare);
      } else {
        const result = translated.step(1);
        if (result === StepResult.Exit) {
          if (native.step(1) !== StepResult.Exit) throw new Error(`a fault of added code at ${at}: ${unit.code.slice(at, at + 8).join()}`);
          return this.fault(unit, entry, compare);
        }
      }
      const now = sideEntry(unit.sideTable, translated.getRegister('eip') - HOST_CODE);
      if (now < 0) throw new Error('outside the unit');
      if (!commits) continue;
      compare(viewOf(native), this.view(unit, now));
      if ((native.getRegister('eflags') & TF) !== 0) return 'trap-flag';
    }
  }

  private fault(unit: TranslationUnit, entry: number, compare: (native: GuestView, translated: GuestView) => void): 'fault' {
    const { exit } = this.native;
    const other = this.translated.exit;
    if (exit.reason !== ExitReason.ExceptionOrNmi || exit.event?.vector !== other.event?.vector || exit.event?.errorCode !== other.event?.errorCode) {
      throw new Error(`native faults ${JSON.stringify(exit.event)}, translated ${JSON.stringify(other.event)}`);
    }
    compare(viewOf(this.native), this.view(unit, entry));
    return 'fault';
  }

  /** The guest as it is at a side-table entry. */
  view(unit: TranslationUnit, entry: number): GuestView {
    const flags = unit.sideTable[entry * SIDE_WORDS + 2]!;
    const view = viewOf(this.translated);
    view.eip = (flags & DYNAMIC_EIP) !== 0 ? this.field(TARGET) : unit.sideTable[entry * SIDE_WORDS + 1]! >>> 0;
    for (let register = 0; register < 8; register++) if ((flags >>> (SPILLED_SHIFT + register)) & 1) view.general[register] = this.field(saved(register));
    view.eflags = (view.eflags & ~(IF | 0x3000)) | ((this.field(VIRTUAL_IF_BYTE) & 2) << 8);
    for (const segment of [1, 2]) view.selectors[segment] = view.selectors[segment]! & ~3;
    return view;
  }

  /** Leave the unit: the guest's registers are its own again. */
  private settle(unit: TranslationUnit, entry: number): void {
    const view = this.view(unit, entry);
    view.general.forEach((value, register) => { this.translated.cpu.i32[register] = value; });
  }

  field(offset: number): number {
    const [a, b, c, d] = this.translated.readPhysical('guest', MONITOR_DATA + offset, 4);
    return (a! | (b! << 8) | (c! << 16) | (d! << 24)) >>> 0;
  }

  setField(offset: number, value: number): void {
    this.translated.writePhysical('guest', MONITOR_DATA + offset, Uint8Array.of(value, value >> 8, value >> 16, value >> 24));
  }

  /** Guest memory that both can have written. */
  memories(): [Uint8Array, Uint8Array] {
    return [this.native.readPhysical('guest', GUEST_CODE, GUEST_LIMIT - GUEST_CODE), this.translated.readPhysical('guest', GUEST_CODE, GUEST_LIMIT - GUEST_CODE)];
  }

  get hostInstructions(): number {
    return this.translated.cpu.f64[EXECUTED]!;
  }
}

function processor(ring: 0 | 1): Processor {
  const one = new Processor({ ramBytes: RAM });
  one.setControls({ ...NO_CONTROLS, exceptionBitmap: -1 });
  const dpl = ring << 5;
  const descriptor = (access: number): number[] => [0xff, 0xff, 0, 0, 0, access | dpl, 0x47, 0];
  // Limit 0x7ffff in bytes: a granular descriptor with limit 0x7f.
  one.writePhysical('guest', GDT, Uint8Array.from([...new Array<number>(8).fill(0), ...descriptor(0x9b), ...descriptor(0x93)]));
  one.setTable('gdtr', { base: GDT, limit: 0x17, space: 'guest' });
  one.setSegment('cs', { selector: 8 | ring, base: 0, limit: 0xffff_ffff, rights: 0xc09b | dpl });
  for (const name of ['ss', 'ds', 'es', 'fs'] as const) one.setSegment(name, { selector: 0x10 | (name === 'ss' ? ring : 0), base: 0, limit: GUEST_LIMIT, rights: 0x4093 | dpl });
  one.setSegment('gs', ring === 0 ? { selector: 0, base: 0, limit: 0, rights: 0x1_0000 } : { selector: 0, base: MONITOR_DATA, limit: 0xf_ffff, rights: 0x4093 | dpl });
  one.setRegister('cpl', ring);
  one.setRegister('eflags', ring === 0 ? 2 : 2 | IF);
  return one;
}

function viewOf(one: Processor): GuestView {
  return {
    eip: one.getRegister('eip'), eflags: one.getRegister('eflags'), general: Array.from({ length: 8 }, (_, n) => one.cpu.u32[n]!),
    selectors: Array.from({ length: 5 }, (_, n) => one.cpu.i32[SEGMENTS + n * SEGMENT_WORDS + SEGMENT_SELECTOR]!),
  };
}

/** Translate and verify, as guest-cpu does. */
export function unitFor(request: TranslationRequest): TranslationUnit {
  const unit = translate(request);
  if (isRefused(unit)) throw new Error(`refused: ${unit.refused}`);
  const wrong = verifyUnit(request, unit);
  if (wrong !== null) throw new Error(`the verifier refuses what the translator made: ${wrong}`);
  return unit;
}
