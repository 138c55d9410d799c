import { FrameKind, Hop, beginFrame, readBody, type FrameHeader } from './frame-header.js';

/**
 * Why a receiver did not do what a frame asks. `stale-epoch`: the machine was started again since. `unknown-vm`: this
 * instance does not hold it. `bad-frame`: it could not be decoded. `unreachable`: somebody the handler had to ask did not answer.
 * `failed`: the handler threw; the text says what.
 */
export const REFUSALS = ['stale-epoch', 'unknown-vm', 'bad-frame', 'unreachable', 'failed'] as const;
export type RefusalCode = (typeof REFUSALS)[number];

export function encodeRefusal(code: RefusalCode, message: string, request: Pick<FrameHeader, 'epoch' | 'seq' | 'ordinal'>): Uint8Array {
  const w = beginFrame(FrameKind.Refusal, Hop.Client, request.epoch, request.seq, request.ordinal, null);
  w.u8(REFUSALS.indexOf(code));
  w.text(message);
  return w.finish();
}

/** @throws ProtocolError */
export function decodeRefusal(bytes: Uint8Array): { code: RefusalCode; message: string } {
  const { body: r } = readBody(bytes, FrameKind.Refusal);
  const refusal = { code: r.oneOf(REFUSALS), message: r.text() };
  r.end();
  return refusal;
}
