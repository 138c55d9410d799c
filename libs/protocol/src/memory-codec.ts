import type { Effect } from '@ringside/machine';
import { readEffects, writeEffects } from './effect-codec.js';
import { FrameKind, Hop, beginFrame, readBody, type FrameHeader, type TraceContext } from './frame-header.js';
import { ProtocolError } from './protocol-error.js';

/** `linear`: through the guest's current page tables, as supervisor. */
export const MEMORY_READ_SPACES = ['guest', 'monitor', 'linear'] as const;
export interface MemoryReadRequest { space: (typeof MEMORY_READ_SPACES)[number]; address: number; length: number }
/** More than this in one read would not fit a message; the reader asks again. */
export const MEMORY_READ_LIMIT = 512 * 1024;
/** Effect lists that build a machine are sent in pieces of at most this many bytes of memory. */
export const EFFECT_CHUNK_BYTES = 512 * 1024;

export function encodeMemoryRead(request: MemoryReadRequest, id: Pick<FrameHeader, 'hop' | 'epoch' | 'seq' | 'ordinal'>, trace: TraceContext | null): Uint8Array {
  const w = beginFrame(FrameKind.MemoryRead, id.hop, id.epoch, id.seq, id.ordinal, trace);
  w.u8(MEMORY_READ_SPACES.indexOf(request.space));
  w.f64(request.address);
  w.u32(request.length);
  return w.finish();
}

/** @throws ProtocolError */
export function decodeMemoryRead(bytes: Uint8Array): MemoryReadRequest {
  const { body: r } = readBody(bytes, FrameKind.MemoryRead);
  const request: MemoryReadRequest = { space: r.oneOf(MEMORY_READ_SPACES), address: r.quantity(), length: r.u32() };
  if (request.length > MEMORY_READ_LIMIT) throw new ProtocolError('value', `a read of ${request.length} bytes; at most ${MEMORY_READ_LIMIT}`);
  r.end();
  return request;
}

/** @param data null: a byte of a linear read is not mapped */
export function encodeMemoryData(data: Uint8Array | null, request: FrameHeader): Uint8Array {
  const w = beginFrame(FrameKind.MemoryData, Hop.GuestCpu, request.epoch, request.seq, request.ordinal, null);
  w.u8(data === null ? 0 : 1);
  if (data !== null) w.blob(data);
  return w.finish();
}

/** @throws ProtocolError */
export function decodeMemoryData(bytes: Uint8Array): Uint8Array | null {
  const { body: r } = readBody(bytes, FrameKind.MemoryData);
  const data = r.flag() ? r.blob() : null;
  r.end();
  return data;
}

/** A piece of the effect list that creates a machine. `seq` counts the pieces from 1. */
export function encodeApplyEffects(effects: readonly Effect[], epoch: number, seq: number): Uint8Array {
  const w = beginFrame(FrameKind.ApplyEffects, Hop.Hypervisor, epoch, seq, 0, null);
  writeEffects(w, effects);
  return w.finish();
}

/** @throws ProtocolError */
export function decodeApplyEffects(bytes: Uint8Array): Effect[] {
  const { body: r } = readBody(bytes, FrameKind.ApplyEffects);
  const effects = readEffects(r);
  r.end();
  return effects;
}

export function encodeAcknowledge(request: FrameHeader): Uint8Array {
  return beginFrame(FrameKind.Acknowledge, Hop.GuestCpu, request.epoch, request.seq, request.ordinal, null).finish();
}

/** @throws ProtocolError */
export function decodeAcknowledge(bytes: Uint8Array): void {
  readBody(bytes, FrameKind.Acknowledge).body.end();
}

/** Splits an effect list so that no piece carries more than EFFECT_CHUNK_BYTES of memory; order is kept. */
export function chunkEffects(effects: readonly Effect[], limit = EFFECT_CHUNK_BYTES): Effect[][] {
  const chunks: Effect[][] = [];
  let chunk: Effect[] = [];
  let room = limit;
  const close = (): void => {
    if (chunk.length > 0) chunks.push(chunk);
    chunk = [];
    room = limit;
  };
  for (const effect of effects) {
    for (const piece of splitMemory(effect, limit)) {
      const size = OVERHEAD_BYTES + (piece.kind === 'memory' ? piece.bytes.length : piece.kind === 'controls' ? 12_288 : 0);
      if (size > room) close();
      chunk.push(piece);
      room -= size;
    }
  }
  close();
  return chunks;
}

const OVERHEAD_BYTES = 64;

function splitMemory(effect: Effect, limit: number): Effect[] {
  const most = limit - OVERHEAD_BYTES;
  if (effect.kind !== 'memory' || effect.bytes.length <= most) return [effect];
  const pieces: Effect[] = [];
  for (let at = 0; at < effect.bytes.length; at += most) pieces.push({ ...effect, address: effect.address + at, bytes: effect.bytes.subarray(at, at + most) });
  return pieces;
}
