import type { TranslatorReply } from '@ringside/machine';
import { SIDE_WORDS, isRefused, type TranslatedInstruction, type TranslationRefused, type TranslationRequest, type TranslationUnit, type Treatment, type UnitExit } from '@ringside/translation';
import type { ByteReader } from './byte-reader.js';
import type { ByteWriter } from './byte-writer.js';
import { readCost, writeCost } from './cost-codec.js';
import { FrameKind, Hop, beginFrame, readBody, readSharedBody, type FrameHeader, type TraceContext } from './frame-header.js';
import { ProtocolError } from './protocol-error.js';

/** A page of code, and what an instruction that begins in it may reach into the next (SDM Vol. 2A 2.3.11: at most 15 bytes). */
export const TRANSLATION_BYTES_LIMIT = 4096 + 15;
/** A unit lies in one page of the translation cache. */
const CODE_LIMIT = 4096;
const PAGE = 4096;

const TREATMENTS = Object.keys({ ident: 0, direct: 0, indirect: 0, 'in-cache': 0, callout: 0 } satisfies Record<Treatment, 0>) as Treatment[];
const EXIT_KINDS = Object.keys({ direct: 0, lookup: 0, pending: 0, callout: 0 } satisfies Record<UnitExit['kind'], 0>) as UnitExit['kind'][];
const REFUSED = Object.keys({ 'more-bytes': 0, mode: 0, layout: 0 } satisfies Record<TranslationRefused['refused'], 0>) as TranslationRefused['refused'][];

/** Who asks: for spans and for whoever counts messages. The answer does not depend on it. */
export interface TranslationAsker { vmId: string; epoch: number; /** 1, 2, 3 …: misses of this machine. */ seq: number }

export function encodeTranslationRequest(request: TranslationRequest, asker: TranslationAsker, trace: TraceContext | null): Uint8Array {
  const w = beginFrame(FrameKind.TranslationRequest, Hop.GuestCpu, asker.epoch, asker.seq, 0, trace);
  w.text(asker.vmId);
  w.u16(request.layout);
  w.u16(request.mode);
  w.u16(request.pageOffset);
  w.u32(request.eip);
  w.blob(request.bytes);
  return w.finish();
}

/** @throws ProtocolError */
export function decodeTranslationRequest(frame: Uint8Array): TranslationRequest {
  const r = readSharedBody(frame, FrameKind.TranslationRequest);
  const layout = r.u16(), mode = r.u16(), pageOffset = r.u16(), eip = r.u32(), bytes = r.blob();
  if (pageOffset >= PAGE) throw new ProtocolError('value', `page offset ${pageOffset}`);
  if (bytes.length > TRANSLATION_BYTES_LIMIT) throw new ProtocolError('value', `${bytes.length} bytes of code; at most ${TRANSLATION_BYTES_LIMIT}`);
  r.end();
  return { bytes, eip, pageOffset, mode, layout };
}

export function encodeTranslationReply({ unit, cost }: TranslatorReply, request: FrameHeader): Uint8Array {
  const w = beginFrame(FrameKind.TranslationReply, Hop.Translator, request.epoch, request.seq, request.ordinal, null);
  writeCost(w, cost);
  w.u8(isRefused(unit) ? 1 : 0);
  if (isRefused(unit)) w.u8(REFUSED.indexOf(unit.refused));
  else writeUnit(w, unit);
  return w.finish();
}

/**
 * What it gives is well formed, not yet fit to run: the verifier judges that.
 * @throws ProtocolError
 */
export function decodeTranslationReply(frame: Uint8Array): TranslatorReply {
  const { body: r } = readBody(frame, FrameKind.TranslationReply);
  const cost = readCost(r);
  const unit = r.flag() ? { refused: r.oneOf(REFUSED) } : readUnit(r);
  r.end();
  return { unit, cost };
}

function writeUnit(w: ByteWriter, unit: TranslationUnit): void {
  w.u32(unit.eip);
  w.u16(unit.mode);
  w.u16(unit.layout);
  w.u8(unit.straddles ? 1 : 0);
  w.blob(unit.guest);
  w.blob(unit.code);
  w.u8(unit.instructions.length);
  for (const { at, length, from, to, treatment, why } of unit.instructions) {
    w.u16(at);
    w.u8(length);
    w.u16(from);
    w.u16(to);
    w.u8(TREATMENTS.indexOf(treatment));
    w.text(why);
  }
  w.u8(unit.exits.length);
  for (const exit of unit.exits) writeExit(w, exit);
  w.u16(unit.sideTable.length / SIDE_WORDS);
  for (const word of unit.sideTable) w.u32(word);
}

function readUnit(r: ByteReader): TranslationUnit {
  const eip = r.u32(), mode = r.u16(), layout = r.u16(), straddles = r.flag(), guest = r.blob(), code = r.blob();
  if (code.length > CODE_LIMIT) throw new ProtocolError('value', `${code.length} bytes of host code; at most ${CODE_LIMIT}`);
  const instructions: TranslatedInstruction[] = [];
  for (let left = r.u8(); left > 0; left--) instructions.push({ at: r.u16(), length: r.u8(), from: r.u16(), to: r.u16(), treatment: r.oneOf(TREATMENTS), why: r.text() });
  const exits: UnitExit[] = [];
  for (let left = r.u8(); left > 0; left--) exits.push(readExit(r));
  const sideTable = new Int32Array(r.u16() * SIDE_WORDS);
  for (let n = 0; n < sideTable.length; n++) sideTable[n] = r.u32();
  return { eip, mode, layout, guest, straddles, code, instructions, exits, sideTable };
}

function writeExit(w: ByteWriter, exit: UnitExit): void {
  w.u8(EXIT_KINDS.indexOf(exit.kind));
  w.u16(exit.at);
  switch (exit.kind) {
    case 'direct':
      w.u32(exit.target);
      break;
    case 'lookup':
      break;
    case 'pending':
      w.u8(exit.shadow ? 1 : 0);
      break;
    case 'callout':
      w.u16(exit.instruction);
      break;
    default: { const unreachable: never = exit; return unreachable; }
  }
}

function readExit(r: ByteReader): UnitExit {
  const kind = r.oneOf(EXIT_KINDS);
  const at = r.u16();
  switch (kind) {
    case 'direct': return { kind, at, target: r.u32() };
    case 'lookup': return { kind, at };
    case 'pending': return { kind, at, shadow: r.flag() };
    case 'callout': return { kind, at, instruction: r.u16() };
    default: { const unreachable: never = kind; return unreachable; }
  }
}
