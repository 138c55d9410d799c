import { REGISTER_NAMES, SEGMENT_NAMES, STOP_STATES, type Effect, type MemorySpace } from '@ringside/machine';
import type { ExecutionControls, VirtualState } from '@ringside/x86';
import { EMPTY, type ByteReader } from './byte-reader.js';
import type { ByteWriter } from './byte-writer.js';
import { ProtocolError } from './protocol-error.js';

/**
 * An effect list: a count (u32), then each effect as tag (u8), length of its value (u32), value. The length lets a
 * reader check that a value ends where it says.
 */
const TAGS = ['register', 'segment', 'table', 'msr', 'memory', 'frame', 'flush', 'flush-page', 'controls', 'interrupt', 'deadline', 'activity', 'boundary'] as const satisfies readonly Effect['kind'][];
const SPACES = ['guest', 'monitor'] as const satisfies readonly MemorySpace[];
const ACTIVITIES = ['active', 'halted', 'stopped'] as const;
const TABLES = ['gdtr', 'idtr'] as const;
const SCOPES = ['all', 'non-global'] as const;

export function writeEffects(w: ByteWriter, effects: readonly Effect[]): void {
  w.u32(effects.length);
  for (const effect of effects) {
    w.u8(TAGS.indexOf(effect.kind));
    const length = w.placeholderU32();
    writeValue(w, effect);
    w.patchLength(length);
  }
}

export function readEffects(r: ByteReader): Effect[] {
  const count = r.u32();
  // A tag and a length take 5 bytes: a count that cannot fit is refused before anything is allocated for it.
  if (count * 5 > r.remaining) throw new ProtocolError('truncated', `${count} effects do not fit in ${r.remaining} bytes`);
  const effects: Effect[] = [];
  for (let i = 0; i < count; i++) {
    const kind = r.oneOf(TAGS);
    const length = r.u32();
    const before = r.remaining;
    effects.push(readValue(r, kind));
    if (before - r.remaining !== length) throw new ProtocolError('value', `effect ${kind} has ${before - r.remaining} bytes, not ${length}`);
  }
  return effects;
}

function writeSpace(w: ByteWriter, space: MemorySpace): void {
  w.u8(space === 'guest' ? 0 : 1);
}

function writeValue(w: ByteWriter, effect: Effect): void {
  switch (effect.kind) {
    case 'register':
      w.u8(REGISTER_NAMES.indexOf(effect.register));
      w.u32(effect.value);
      return;
    case 'segment':
      w.u8(SEGMENT_NAMES.indexOf(effect.segment));
      w.u16(effect.selector);
      w.u32(effect.base);
      w.u32(effect.limit);
      w.u32(effect.rights);
      w.u8(effect.space === undefined ? 0 : effect.space === 'guest' ? 1 : 2);
      return;
    case 'table':
      w.u8(TABLES.indexOf(effect.table));
      w.u32(effect.base);
      w.u32(effect.limit);
      writeSpace(w, effect.space);
      return;
    case 'msr':
      w.u32(effect.msr);
      w.u64(effect.value);
      return;
    case 'memory':
      writeSpace(w, effect.space);
      w.f64(effect.address);
      w.blob(effect.bytes);
      return;
    case 'frame':
      w.u32(effect.frame);
      w.u8(effect.target === null ? 0 : 1);
      if (effect.target !== null) {
        writeSpace(w, effect.target.space);
        w.u32(effect.target.frame);
      }
      return;
    case 'flush':
      w.u8(SCOPES.indexOf(effect.scope));
      return;
    case 'flush-page':
      w.u32(effect.linear);
      return;
    case 'controls':
      writeControls(w, effect.controls);
      return;
    case 'interrupt':
      w.u8(effect.line ? 1 : 0);
      w.u8(effect.vector === null ? 0 : 1);
      w.u8(effect.vector ?? 0);
      return;
    case 'deadline':
      w.f64(effect.at);
      return;
    case 'boundary': {
      const { events, shadow, trap, repUnderWay, mark } = effect.boundary;
      w.u32(events);
      w.u8(shadow);
      w.u8(trap === null ? 0 : 1);
      w.u32(trap ?? 0);
      w.u8(repUnderWay ? 1 : 0);
      w.u32(mark);
      return;
    }
    case 'activity':
      w.u8(ACTIVITIES.indexOf(effect.activity));
      if (effect.activity === 'stopped') {
        w.u8(STOP_STATES.indexOf(effect.state));
        w.text(effect.why);
      }
      return;
  }
}

function readValue(r: ByteReader, kind: Effect['kind']): Effect {
  switch (kind) {
    case 'register':
      return { kind, register: r.oneOf(REGISTER_NAMES), value: r.u32() };
    case 'segment':
      return readSegment(r);
    case 'table':
      return { kind, table: r.oneOf(TABLES), base: r.u32(), limit: r.u32(), space: r.oneOf(SPACES) };
    case 'msr':
      return { kind, msr: r.u32(), value: r.u64() };
    case 'memory':
      return { kind, space: r.oneOf(SPACES), address: r.quantity(), bytes: r.blob() };
    case 'frame': {
      const frame = r.u32();
      return { kind, frame, target: r.flag() ? { space: r.oneOf(SPACES), frame: r.u32() } : null };
    }
    case 'flush':
      return { kind, scope: r.oneOf(SCOPES) };
    case 'flush-page':
      return { kind, linear: r.u32() };
    case 'controls':
      return { kind, controls: readControls(r) };
    case 'interrupt': {
      const line = r.flag();
      const acknowledged = r.flag();
      const vector = r.u8();
      return { kind, line, vector: acknowledged ? vector : null };
    }
    case 'deadline':
      return { kind, at: r.quantity('or-infinity') };
    case 'boundary': {
      const events = r.u32(), shadow = r.u8();
      const due = r.flag();
      const trap = r.u32();
      return { kind, boundary: { events, shadow, trap: due ? trap : null, repUnderWay: r.flag(), mark: r.u32() } };
    }
    case 'activity': {
      const activity = r.oneOf(ACTIVITIES);
      return activity === 'stopped' ? { kind, activity, state: r.oneOf(STOP_STATES), why: r.text() } : { kind, activity };
    }
  }
}

function readSegment(r: ByteReader): Effect {
  const effect = { kind: 'segment' as const, segment: r.oneOf(SEGMENT_NAMES), selector: r.u16(), base: r.u32(), limit: r.u32(), rights: r.u32() };
  const space = r.oneOf([null, ...SPACES]);
  return space === null ? effect : { ...effect, space };
}

const CONTROL_FLAGS = ['nonRoot', 'hltExiting', 'invlpgExiting', 'rdtscExiting', 'cr3LoadExiting', 'cr3StoreExiting', 'movDrExiting',
  'descriptorTableExiting', 'wbinvdExiting', 'pauseExiting', 'deprivileged'] as const satisfies readonly (keyof ExecutionControls)[];
const IO_BITMAP_BYTES = 8_192;
const MSR_BITMAP_BYTES = 4_096;

function writeControls(w: ByteWriter, controls: ExecutionControls): void {
  let flags = 0;
  CONTROL_FLAGS.forEach((name, bit) => { if (controls[name]) flags |= 1 << bit; });
  w.u32(flags);
  writeBitmap(w, controls.ioExiting);
  writeBitmap(w, controls.msrExiting);
  w.u32(controls.exceptionBitmap);
  w.u32(controls.cr0Mask);
  w.u32(controls.cr0ReadShadow);
  w.u32(controls.cr4Mask);
  w.u32(controls.cr4ReadShadow);
  w.u8(controls.eptRoot === null ? 0 : 1);
  w.f64(controls.eptRoot ?? 0);
  writeShadow(w, controls);
  writeVirtualState(w, controls.virtualState);
  w.f64(controls.tscOffset);
}

function readControls(r: ByteReader): ExecutionControls {
  const bits = r.u32();
  if (bits >>> CONTROL_FLAGS.length !== 0) throw new ProtocolError('value', `execution controls 0x${bits.toString(16)}`);
  const flags = Object.fromEntries(CONTROL_FLAGS.map((name, bit) => [name, (bits & (1 << bit)) !== 0])) as Record<(typeof CONTROL_FLAGS)[number], boolean>;
  const ioExiting = readBitmap(r, IO_BITMAP_BYTES);
  const msrExiting = readBitmap(r, MSR_BITMAP_BYTES);
  const words = { exceptionBitmap: r.u32(), cr0Mask: r.u32(), cr0ReadShadow: r.u32(), cr4Mask: r.u32(), cr4ReadShadow: r.u32() };
  const hasEpt = r.flag();
  const eptRoot = r.quantity();
  const shadow = readShadow(r);
  const virtualState = readVirtualState(r);
  const tscOffset = r.f64();
  if (!Number.isFinite(tscOffset)) throw new ProtocolError('value', 'TSC offset');
  return { ...flags, ioExiting, msrExiting, ...words, eptRoot: hasEpt ? eptRoot : null, ...shadow, virtualState, tscOffset };
}

const VIRTUAL_WORDS = ['flags', 'cr0', 'gdtBase', 'gdtLimit', 'idtBase', 'idtLimit', 'ldtr', 'tr'] as const satisfies readonly (keyof VirtualState)[];

function writeVirtualState(w: ByteWriter, state: VirtualState | null): void {
  w.u8(state === null ? 0 : 1);
  if (state !== null) for (const name of VIRTUAL_WORDS) w.u32(state[name]);
}

function readVirtualState(r: ByteReader): VirtualState | null {
  if (!r.flag()) return null;
  return Object.fromEntries(VIRTUAL_WORDS.map((name) => [name, r.u32()])) as Record<(typeof VIRTUAL_WORDS)[number], number>;
}

const PAGING_FORMATS = ['off', 'two-level', 'two-level with PSE', 'PAE', 'PAE with PSE'] as const;
const POINTER_WORDS = 8;

function writeShadow(w: ByteWriter, { shadowRoot, guestPaging }: ExecutionControls): void {
  w.u8(shadowRoot === null ? 0 : 1);
  w.f64(shadowRoot ?? 0);
  w.u8(guestPaging === null ? 0 : 1 + (guestPaging.pae ? 2 : 0) + (guestPaging.pse ? 1 : 0));
  if (guestPaging === null) return;
  w.u32(guestPaging.cr3);
  if (guestPaging.pae) for (let n = 0; n < POINTER_WORDS; n++) w.u32((guestPaging.pointers[n] ?? 0) >>> 0);
}

function readShadow(r: ByteReader): Pick<ExecutionControls, 'shadowRoot' | 'guestPaging'> {
  const hasRoot = r.flag();
  const root = r.quantity();
  const format = r.oneOf(PAGING_FORMATS);
  const shadowRoot = hasRoot ? root : null;
  if (format === 'off') return { shadowRoot, guestPaging: null };
  const pae = format.startsWith('PAE');
  const cr3 = r.u32();
  return { shadowRoot, guestPaging: { cr3, pae, pse: format.endsWith('PSE'), pointers: pae ? Array.from({ length: POINTER_WORDS }, () => r.u32() | 0) : [] } };
}

function writeBitmap(w: ByteWriter, bitmap: 'all' | 'none' | Uint8Array): void {
  w.u8(bitmap === 'none' ? 0 : bitmap === 'all' ? 1 : 2);
  w.blob(typeof bitmap === 'string' ? EMPTY : bitmap);
}

function readBitmap(r: ByteReader, size: number): 'all' | 'none' | Uint8Array {
  const kind = r.oneOf(['none', 'all', 'bits'] as const);
  const bits = r.blob();
  if (bits.length !== (kind === 'bits' ? size : 0)) throw new ProtocolError('value', `a bitmap of ${bits.length} bytes`);
  return kind === 'bits' ? bits : kind;
}
