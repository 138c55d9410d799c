import type { Bus, BusReply, BusRequest } from '@ringside/machine';
import { readCost, writeCost } from './cost-codec.js';
import { readEffects, writeEffects } from './effect-codec.js';
import { readSize } from './exit-codec.js';
import { FrameKind, Hop, beginFrame, readBody, type FrameHeader, type TraceContext } from './frame-header.js';
import { ProtocolError } from './protocol-error.js';

export const BUSES = ['port', 'mmio', 'time', 'inta', 'input'] as const satisfies readonly Bus[];

export function encodeBusRequest(request: BusRequest, hop: Hop, trace: TraceContext | null): Uint8Array {
  const w = beginFrame(FrameKind.BusRequest, hop, request.epoch, request.seq, request.ordinal, trace);
  w.u8(BUSES.indexOf(request.bus));
  w.u8((request.write ? 1 : 0) | (request.interruptible ? 2 : 0));
  w.u8(request.size);
  w.u32(request.count);
  w.f64(request.now);
  w.f64(request.address);
  w.blob(request.data);
  return w.finish();
}

/**
 * @param vmId from the subject: a frame does not repeat it
 * @throws ProtocolError
 */
export function decodeBusRequest(bytes: Uint8Array, vmId: string): BusRequest {
  const { header, body: r } = readBody(bytes, FrameKind.BusRequest);
  const bus = r.oneOf(BUSES);
  const flags = r.u8();
  if (flags > 3) throw new ProtocolError('value', `bus request flags ${flags}`);
  const request: BusRequest = {
    vmId, epoch: header.epoch, seq: header.seq, ordinal: header.ordinal, bus, write: (flags & 1) !== 0, interruptible: (flags & 2) !== 0,
    size: readSize(r), count: r.u32(), now: r.quantity(), address: r.quantity(), data: r.blob(),
  };
  r.end();
  return request;
}

export function encodeBusReply(reply: BusReply, request: FrameHeader): Uint8Array {
  const w = beginFrame(FrameKind.BusReply, Hop.DeviceModel, request.epoch, request.seq, request.ordinal, null);
  w.blob(reply.data);
  w.u32(reply.lines);
  w.u32(reply.rose);
  w.f64(reply.deadline);
  writeEffects(w, reply.effects);
  w.u8(reply.cost === undefined ? 0 : 1);
  if (reply.cost !== undefined) writeCost(w, reply.cost);
  return w.finish();
}

/** @throws ProtocolError */
export function decodeBusReply(bytes: Uint8Array): BusReply {
  const { body: r } = readBody(bytes, FrameKind.BusReply);
  const reply: BusReply = { data: r.blob(), lines: r.u32(), rose: r.u32(), deadline: r.quantity('or-infinity'), effects: readEffects(r) };
  if (r.flag()) reply.cost = readCost(r);
  r.end();
  return reply;
}
