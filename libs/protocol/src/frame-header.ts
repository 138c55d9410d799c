import { ByteReader } from './byte-reader.js';
import { ByteWriter } from './byte-writer.js';
import { ProtocolError } from './protocol-error.js';
import { isVmId } from './subjects.js';

/**
 * Every frame on the exit path begins with the same 40 bytes (little-endian), so that a transport, or anybody who
 * listens on the bus, can tell requests apart without decoding what they carry:
 *
 *    0       1         2      3     4        8       12         14                                        40
 *   ┌───────┬─────────┬──────┬─────┬────────┬───────┬──────────┬─────────────────────────────────────────┬──────
 *   │ 'R'   │ version │ kind │ hop │ epoch  │ seq   │ ordinal  │ W3C trace context: version 1, trace id   │ body
 *   │ 0x52  │ 1       │      │     │ u32    │ u32   │ u16      │ 16, parent span id 8, flags 1            │
 *   └───────┴─────────┴──────┴─────┴────────┴───────┴──────────┴─────────────────────────────────────────┴──────
 *
 * (subject, hop, epoch, seq, ordinal) names one request; a resend repeats it byte for byte. The trace context is all
 * zeros when the request is not sampled.
 */
export const HEADER_BYTES = 40;
export const MAGIC = 0x52;
export const VERSION = 1;
const TRACE_AT = 14;
const TRACE_FLAGS_AT = 39;
const SAMPLED = 1;

export const FrameKind = {
  Exit: 1, ExitReply: 2, BusRequest: 3, BusReply: 4, MemoryRead: 5, MemoryData: 6, ApplyEffects: 7, Acknowledge: 8, ConsoleOutput: 9,
  /** In place of a reply: the receiver refused or failed, by name. */
  Refusal: 10,
  TranslationRequest: 11, TranslationReply: 12,
} as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

/** Who sends. Two senders may ask the same service about the same VM (guest-cpu by a granted port, ring -1 for an exit). */
export const Hop = { GuestCpu: 0, Hypervisor: 1, DeviceModel: 2, Client: 3, Translator: 4 } as const;
export type Hop = (typeof Hop)[keyof typeof Hop];

/** W3C trace context (www.w3.org/TR/trace-context) of a sampled span. Ids in lower-case hexadecimal, 32 and 16 digits. */
export interface TraceContext { traceId: string; spanId: string }

export interface FrameHeader {
  kind: FrameKind;
  hop: Hop;
  epoch: number;
  seq: number;
  ordinal: number;
  /** Null: not sampled. */
  trace: TraceContext | null;
}

const writer = new ByteWriter();

/** The one writer of this process: encoders are synchronous, so a frame is finished before the next begins. */
export function beginFrame(kind: FrameKind, hop: Hop, epoch: number, seq: number, ordinal: number, trace: TraceContext | null): ByteWriter {
  writer.begin();
  writer.u8(MAGIC);
  writer.u8(VERSION);
  writer.u8(kind);
  writer.u8(hop);
  writer.u32(epoch);
  writer.u32(seq);
  writer.u16(ordinal);
  if (trace === null) {
    writer.zeros(HEADER_BYTES - TRACE_AT);
  } else {
    writer.u8(0);
    writeHex(trace.traceId, 16);
    writeHex(trace.spanId, 8);
    writer.u8(SAMPLED);
  }
  return writer;
}

/** @throws ProtocolError when the bytes are not a frame of this version */
export function readHeader(bytes: Uint8Array): FrameHeader {
  if (bytes.length < HEADER_BYTES) throw new ProtocolError('truncated', `a frame has at least ${HEADER_BYTES} bytes, this has ${bytes.length}`);
  if (bytes[0] !== MAGIC) throw new ProtocolError('magic', `a frame begins with 0x52, this with 0x${(bytes[0] as number).toString(16)}`);
  if (bytes[1] !== VERSION) throw new ProtocolError('version', `frame version ${bytes[1]}; this release speaks ${VERSION}`);
  const kind = bytes[2] as number;
  if (kind < FrameKind.Exit || kind > FrameKind.TranslationReply) throw new ProtocolError('kind', `frame kind ${kind}`);
  const hop = bytes[3] as number;
  if (hop > Hop.Translator) throw new ProtocolError('value', `hop ${hop}`);
  return { kind: kind as FrameKind, hop: hop as Hop, epoch: u32At(bytes, 4), seq: u32At(bytes, 8), ordinal: (bytes[12] as number) | ((bytes[13] as number) << 8), trace: readTrace(bytes) };
}

/** Checks the header and returns a reader of the body. */
export function readBody(bytes: Uint8Array, kind: FrameKind): { header: FrameHeader; body: ByteReader } {
  const header = readHeader(bytes);
  if (header.kind !== kind) throw new ProtocolError('kind', `frame kind ${header.kind} where ${kind} was expected`);
  return { header, body: new ByteReader(bytes, HEADER_BYTES) };
}

/**
 * The VM that asks, of a request on a subject that all VMs share: its id begins the body, as a text (u16 length, UTF-8).
 * @throws ProtocolError
 */
export function readAskingVm(frame: Uint8Array): string {
  return vmIn(new ByteReader(frame, HEADER_BYTES));
}

/** Checks the header and returns a reader of what follows the asking VM's id. */
export function readSharedBody(frame: Uint8Array, kind: FrameKind): ByteReader {
  const { body } = readBody(frame, kind);
  vmIn(body);
  return body;
}

function vmIn(body: ByteReader): string {
  const vmId = body.text();
  if (!isVmId(vmId)) throw new ProtocolError('value', 'the asking VM has no name');
  return vmId;
}

function readTrace(bytes: Uint8Array): TraceContext | null {
  if (((bytes[TRACE_FLAGS_AT] as number) & SAMPLED) === 0) return null;
  return { traceId: readHex(bytes, TRACE_AT + 1, 16), spanId: readHex(bytes, TRACE_AT + 17, 8) };
}

function u32At(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16) | ((bytes[at + 3] as number) << 24)) >>> 0;
}

const HEX_PAIRS = Array.from({ length: 256 }, (_, value) => value.toString(16).padStart(2, '0'));

function readHex(bytes: Uint8Array, at: number, count: number): string {
  let text = '';
  for (let i = 0; i < count; i++) text += HEX_PAIRS[bytes[at + i] as number] as string;
  return text;
}

function writeHex(text: string, count: number): void {
  for (let i = 0; i < count; i++) writer.u8((nibble(text.charCodeAt(2 * i)) << 4) | nibble(text.charCodeAt(2 * i + 1)));
}

function nibble(code: number): number {
  return code >= 0x61 ? code - 0x57 : code & 0xf;
}
