import { describe, expect, it } from '@jest/globals';
import type { TranslatorReply } from '@ringside/machine';
import { isRefused, LAYOUT_VERSION, MODE_CODE32, MODE_STACK32, translate, type TranslationRequest, type TranslationUnit } from '@ringside/translation';
import fc from 'fast-check';
import { FrameKind, HEADER_BYTES, Hop, readAskingVm, readHeader, type FrameHeader } from './frame-header.js';
import { ProtocolError } from './protocol-error.js';
import { traceContext, u16, u32, u8 } from './testing/arbitraries.js';
import { decodeTranslationReply, decodeTranslationRequest, encodeTranslationReply, encodeTranslationRequest, TRANSLATION_BYTES_LIMIT } from './translation-codec.js';

const HEADER: FrameHeader = { kind: FrameKind.TranslationRequest, hop: Hop.GuestCpu, epoch: 3, seq: 7, ordinal: 0, trace: null };
const ASKER = { vmId: 'vm1', epoch: 3, seq: 7 };
const time = fc.integer({ min: 0, max: 1e15 });

const request: fc.Arbitrary<TranslationRequest> = fc.record({ bytes: fc.uint8Array({ maxLength: 400 }), eip: u32, pageOffset: fc.integer({ min: 0, max: 4095 }), mode: u16, layout: u16 });

const unit: fc.Arbitrary<TranslationUnit> = fc.record({
  eip: u32, mode: u16, layout: u16, straddles: fc.boolean(), guest: fc.uint8Array({ maxLength: 180 }), code: fc.uint8Array({ maxLength: 600 }),
  instructions: fc.array(fc.record({
    at: u16, length: u8, from: u16, to: u16, treatment: fc.constantFrom('ident' as const, 'direct' as const, 'indirect' as const, 'in-cache' as const, 'callout' as const), why: fc.string({ unit: 'grapheme', maxLength: 60 }),
  }), { maxLength: 12 }),
  exits: fc.array(fc.oneof(
    fc.record({ kind: fc.constant('direct' as const), at: u16, target: u32 }), fc.record({ kind: fc.constant('lookup' as const), at: u16 }),
    fc.record({ kind: fc.constant('pending' as const), at: u16, shadow: fc.boolean() }), fc.record({ kind: fc.constant('callout' as const), at: u16, instruction: u16 }),
  ), { maxLength: 8 }),
  sideTable: fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), { maxLength: 40 }).map((words) => Int32Array.from(words.slice(0, words.length - words.length % 3))),
});
const reply: fc.Arbitrary<TranslatorReply> = fc.record({
  unit: fc.oneof(unit, fc.record({ refused: fc.constantFrom('more-bytes' as const, 'mode' as const, 'layout' as const) })),
  cost: time.map((handlerNs) => ({ handlerNs, nested: [] })),
});

/** A unit as a translator makes it, out of any bytes; null where it refuses them. */
function unitOf(bytes: Uint8Array): TranslationUnit | null {
  const answer = translate({ bytes, eip: 0xc010_0000, pageOffset: 0, mode: MODE_CODE32 | MODE_STACK32, layout: LAYOUT_VERSION });
  return isRefused(answer) ? null : answer;
}

describe('frames between guest-cpu and a translator', () => {
  it('carry a request, whose asker stands where an observer expects it', () => {
    fc.assert(fc.property(request, traceContext, (value, trace) => {
      const frame = encodeTranslationRequest(value, ASKER, trace);
      expect(decodeTranslationRequest(frame)).toEqual(value);
      expect(readHeader(frame)).toEqual({ kind: FrameKind.TranslationRequest, hop: Hop.GuestCpu, epoch: 3, seq: 7, ordinal: 0, trace });
      expect(readAskingVm(frame)).toBe('vm1');
      expect(Buffer.from(frame.subarray(HEADER_BYTES, HEADER_BYTES + 5)).toString('latin1')).toBe('\x03\0vm1');
    }));
  });

  it('carry a unit or a refusal unchanged, under the request\'s numbers', () => {
    fc.assert(fc.property(reply, (value) => {
      const frame = encodeTranslationReply(value, HEADER);
      expect(decodeTranslationReply(frame)).toEqual(value);
      expect(readHeader(frame)).toMatchObject({ kind: FrameKind.TranslationReply, hop: Hop.Translator, epoch: 3, seq: 7 });
    }));
  });

  it('carry whatever the translator makes of any bytes, with all its properties', () => {
    let units = 0;
    fc.assert(fc.property(fc.uint8Array({ minLength: 1, maxLength: 60 }), (bytes) => {
      const made = unitOf(bytes);
      if (made === null) return;
      units++;
      expect(decodeTranslationReply(encodeTranslationReply({ unit: made, cost: { handlerNs: 0, nested: [] } }, HEADER)).unit).toEqual(made);
    }), { numRuns: 500 });
    expect(units).toBeGreaterThan(200);
  });

  it('do not hold on to the buffer that they came in, though it is one of Node\'s', () => {
    const made = unitOf(Uint8Array.of(0x90, 0xfa, 0xc3))!;
    const socket = Buffer.from(encodeTranslationReply({ unit: made, cost: { handlerNs: 0, nested: [] } }, HEADER));
    const { unit: received } = decodeTranslationReply(socket);
    socket.fill(0);
    expect(received).toEqual(made);
    expect((received as TranslationUnit).code).not.toBeInstanceOf(Buffer);
    expect((received as TranslationUnit).code.buffer.byteLength).toBe(made.code.length);
  });
});

describe('decoders of translation', () => {
  const onlyProtocolErrors = (bytes: Uint8Array): void => {
    for (const decode of [decodeTranslationRequest, decodeTranslationReply, readAskingVm]) {
      try {
        decode(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
    }
  };

  it('throw nothing but ProtocolError, on noise, behind a valid header, and at a flipped bit', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), onlyProtocolErrors));
    fc.assert(fc.property(fc.constantFrom(FrameKind.TranslationRequest, FrameKind.TranslationReply), fc.uint8Array({ maxLength: 200 }), (kind, body) => {
      const frame = new Uint8Array(HEADER_BYTES + body.length);
      frame.set([0x52, 1, kind]);
      frame.set(body, HEADER_BYTES);
      onlyProtocolErrors(frame);
    }), { numRuns: 1_000 });
    fc.assert(fc.property(reply, fc.nat(), (value, at) => {
      const frame = encodeTranslationReply(value, HEADER).slice();
      const bit = at % (frame.length * 8);
      frame[bit >>> 3]! ^= 1 << (bit & 7);
      onlyProtocolErrors(frame);
    }), { numRuns: 500 });
  });

  it('refuse every truncation and every extension', () => {
    fc.assert(fc.property(request, reply, fc.nat(), (asked, answered, at) => {
      for (const [frame, decode] of [[encodeTranslationRequest(asked, ASKER, null), decodeTranslationRequest], [encodeTranslationReply(answered, HEADER), decodeTranslationReply]] as const) {
        expect(() => decode(frame.subarray(0, at % frame.length))).toThrow(ProtocolError);
        expect(() => decode(Uint8Array.of(...frame, 0))).toThrow(ProtocolError);
      }
    }));
  });

  it('refuse what no processor asks, and code that no page of the cache holds', () => {
    const asked: TranslationRequest = { bytes: Uint8Array.of(0x90), eip: 0, pageOffset: 0, mode: 3, layout: 1 };
    expect(() => decodeTranslationRequest(encodeTranslationRequest({ ...asked, pageOffset: 4096 }, ASKER, null))).toThrow('page offset 4096');
    expect(() => decodeTranslationRequest(encodeTranslationRequest({ ...asked, bytes: new Uint8Array(TRANSLATION_BYTES_LIMIT + 1) }, ASKER, null))).toThrow('at most 4111');
    expect(() => decodeTranslationRequest(encodeTranslationRequest(asked, { ...ASKER, vmId: 'two.words' }, null))).toThrow('has no name');
    const made = unitOf(Uint8Array.of(0x90, 0xc3))!;
    expect(() => decodeTranslationReply(encodeTranslationReply({ unit: { ...made, code: new Uint8Array(5_000) }, cost: { handlerNs: 0, nested: [] } }, HEADER))).toThrow('at most 4096');
  });
});
