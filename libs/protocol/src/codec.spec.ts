import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { decodeBusReply, decodeBusRequest, encodeBusReply, encodeBusRequest } from './bus-codec.js';
import { decodeConsoleOutput, encodeConsoleOutput } from './console-codec.js';
import { decodeExit, decodeExitReply, encodeExit, encodeExitReply } from './exit-codec.js';
import { FrameKind, HEADER_BYTES, Hop, readHeader, type FrameHeader } from './frame-header.js';
import { chunkEffects, decodeAcknowledge, decodeApplyEffects, decodeMemoryData, decodeMemoryRead, encodeAcknowledge, encodeApplyEffects, encodeMemoryData, encodeMemoryRead, MEMORY_READ_LIMIT, MEMORY_READ_SPACES } from './memory-codec.js';
import { ProtocolError } from './protocol-error.js';
import { REFUSALS, decodeRefusal, encodeRefusal } from './refusal-codec.js';
import { busReply, busRequest, effects, exit, exitReply, traceContext, u16, u32 } from './testing/arbitraries.js';

const HEADER: FrameHeader = { kind: FrameKind.Exit, hop: Hop.GuestCpu, epoch: 3, seq: 7, ordinal: 2, trace: null };

describe('frames', () => {
  it('carry an exit and its trace context unchanged', () => {
    fc.assert(fc.property(exit, traceContext, (value, trace) => {
      const frame = encodeExit(value, trace);
      expect(decodeExit(frame, value.vmId)).toEqual(value);
      expect(readHeader(frame)).toEqual({ kind: FrameKind.Exit, hop: Hop.GuestCpu, epoch: value.epoch, seq: value.seq, ordinal: 0, trace });
    }));
  });

  it('carry a reply with its effects unchanged, under the request\'s numbers', () => {
    fc.assert(fc.property(exitReply, (value) => {
      const frame = encodeExitReply(value, HEADER);
      expect(decodeExitReply(frame)).toEqual(value);
      expect(readHeader(frame)).toMatchObject({ kind: FrameKind.ExitReply, epoch: 3, seq: 7, ordinal: 2 });
    }));
  });

  it('carry bus cycles unchanged', () => {
    fc.assert(fc.property(busRequest, traceContext, (value, trace) => {
      const frame = encodeBusRequest(value, Hop.Hypervisor, trace);
      expect(decodeBusRequest(frame, value.vmId)).toEqual(value);
      expect(readHeader(frame)).toMatchObject({ hop: Hop.Hypervisor, ordinal: value.ordinal, trace });
    }));
    fc.assert(fc.property(busReply, (value) => {
      expect(decodeBusReply(encodeBusReply(value, HEADER))).toEqual(value);
    }));
  });

  it('carry memory, effect pieces, console output and refusals unchanged', () => {
    fc.assert(fc.property(fc.constantFrom(...MEMORY_READ_SPACES), u32, fc.integer({ min: 0, max: MEMORY_READ_LIMIT }), (space, address, length) => {
      expect(decodeMemoryRead(encodeMemoryRead({ space, address, length }, HEADER, null))).toEqual({ space, address, length });
    }));
    fc.assert(fc.property(fc.option(fc.uint8Array(), { nil: null }), (data) => {
      expect(decodeMemoryData(encodeMemoryData(data, HEADER))).toEqual(data);
    }));
    fc.assert(fc.property(effects, u32, u32, (list, epoch, seq) => {
      const frame = encodeApplyEffects(list, epoch, seq);
      expect(decodeApplyEffects(frame)).toEqual(list);
      expect(readHeader(frame)).toMatchObject({ epoch, seq });
    }));
    fc.assert(fc.property(u32, u32, fc.uint8Array(), (epoch, offset, bytes) => {
      expect(decodeConsoleOutput(encodeConsoleOutput({ epoch, offset, bytes }))).toEqual({ epoch, offset, bytes });
    }));
    fc.assert(fc.property(fc.constantFrom(...REFUSALS), fc.string({ unit: 'grapheme' }), (code, message) => {
      expect(decodeRefusal(encodeRefusal(code, message, HEADER))).toEqual({ code, message });
    }));
    expect(() => decodeAcknowledge(encodeAcknowledge(HEADER))).not.toThrow();
  });

  it('stay what they are when later frames are written', () => {
    fc.assert(fc.property(fc.array(exit, { minLength: 2, maxLength: 5 }), (exits) => {
      const frames = exits.map((value) => encodeExit(value, null));
      frames.forEach((frame, index) => expect(decodeExit(frame, 'vm1')).toEqual(exits[index]));
    }));
  });

  it('have their header where an observer expects it', () => {
    const frame = encodeBusRequest({ vmId: 'a', epoch: 0x01020304, seq: 0x0a0b0c0d, ordinal: 0x0506, bus: 'port', now: 0, address: 0x3f8, size: 1, write: true, count: 1, data: Uint8Array.of(65), interruptible: false },
      Hop.GuestCpu, { traceId: '00112233445566778899aabbccddeeff', spanId: '0123456789abcdef' });
    expect(Buffer.from(frame.subarray(0, HEADER_BYTES)).toString('hex')).toBe('52010300' + '04030201' + '0d0c0b0a' + '0605' + '00' + '00112233445566778899aabbccddeeff' + '0123456789abcdef' + '01');
  });
});

describe('decoders', () => {
  const decoders: ((bytes: Uint8Array) => unknown)[] = [
    (bytes) => decodeExit(bytes, 'a'), decodeExitReply, (bytes) => decodeBusRequest(bytes, 'a'), decodeBusReply, decodeMemoryRead, decodeMemoryData,
    decodeApplyEffects, decodeAcknowledge, decodeConsoleOutput, decodeRefusal, readHeader,
  ];
  const onlyProtocolErrors = (bytes: Uint8Array): void => {
    for (const decode of decoders) {
      try {
        decode(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
    }
  };

  it('throw nothing but ProtocolError on noise', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), onlyProtocolErrors));
  });

  it('throw nothing but ProtocolError on a noisy body behind a valid header', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 12 }), fc.uint8Array({ maxLength: 200 }), (kind, body) => {
      const frame = new Uint8Array(HEADER_BYTES + body.length);
      frame.set([0x52, 1, kind]);
      frame.set(body, HEADER_BYTES);
      onlyProtocolErrors(frame);
    }), { numRuns: process.env['RINGSIDE_LONG'] === '1' ? 20_000 : 1_000 });
  });

  it('refuse every truncation and every extension of a valid frame', () => {
    fc.assert(fc.property(exit, fc.nat(), (value, at) => {
      const frame = encodeExit(value, null);
      expect(() => decodeExit(frame.subarray(0, at % frame.length), 'a')).toThrow(ProtocolError);
      expect(() => decodeExit(Uint8Array.of(...frame, 0), 'a')).toThrow(ProtocolError);
    }));
    fc.assert(fc.property(exitReply, fc.nat(), (value, at) => {
      const frame = encodeExitReply(value, HEADER);
      expect(() => decodeExitReply(frame.subarray(0, at % frame.length))).toThrow(ProtocolError);
    }));
  });

  it('survive one flipped bit', () => {
    fc.assert(fc.property(exitReply, fc.nat(), (value, at) => {
      const frame = encodeExitReply(value, HEADER).slice();
      const bit = at % (frame.length * 8);
      frame[bit >>> 3]! ^= 1 << (bit & 7);
      onlyProtocolErrors(frame);
    }), { numRuns: 500 });
  });

  it('name the fault', () => {
    const frame = encodeConsoleOutput({ epoch: 1, offset: 0, bytes: Uint8Array.of(1) }).slice();
    const fault = (bytes: Uint8Array): string => {
      try {
        decodeConsoleOutput(bytes);
      } catch (error) {
        return (error as ProtocolError).fault;
      }
      return 'none';
    };
    expect(fault(frame)).toBe('none');
    expect(fault(frame.subarray(0, 20))).toBe('truncated');
    expect(fault(frame.map((byte, index) => (index === 0 ? 0x7b : byte)))).toBe('magic');
    expect(fault(frame.map((byte, index) => (index === 1 ? 9 : byte)))).toBe('version');
    expect(fault(frame.map((byte, index) => (index === 2 ? 1 : byte)))).toBe('kind');
    expect(fault(Uint8Array.of(...frame, 0))).toBe('trailing');
  });
});

describe('chunkEffects', () => {
  it('keeps order and content, and no piece exceeds the limit', () => {
    fc.assert(fc.property(effects, fc.integer({ min: 13_000, max: 20_000 }), u16, (list, limit, length) => {
      const big = { kind: 'memory' as const, space: 'guest' as const, address: 4096, bytes: new Uint8Array(length).map((_, index) => index) };
      const chunks = chunkEffects([...list, big], limit);
      const ram = new Map<string, number>();
      const expected = new Map<string, number>();
      const write = (to: Map<string, number>, all: typeof list): void => {
        for (const effect of all) if (effect.kind === 'memory') effect.bytes.forEach((byte, index) => to.set(`${effect.space} ${effect.address + index}`, byte));
      };
      write(expected, [...list, big]);
      write(ram, chunks.flat());
      expect(ram).toEqual(expected);
      expect(chunks.flat().filter((effect) => effect.kind !== 'memory')).toEqual(list.filter((effect) => effect.kind !== 'memory'));
      for (const chunk of chunks) expect(encodeApplyEffects(chunk, 1, 1).length).toBeLessThanOrEqual(limit + HEADER_BYTES + 4);
    }), { numRuns: 50 });
  });
});
