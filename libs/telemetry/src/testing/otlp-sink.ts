import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';

/** A span as it stood in an OTLP request. */
export interface ReceivedSpan { traceId: string; spanId: string; parentSpanId: string | null; name: string; service: string; kind: number; startNs: bigint; endNs: bigint; attributes: Record<string, string | number | boolean> }

/** A collector for tests: takes OTLP over HTTP with protobuf, keeps the spans, counts metric requests. */
export class OtlpSink {
  readonly spans: ReceivedSpan[] = [];
  metricRequests = 0;

  private constructor(readonly endpoint: string, readonly close: () => Promise<void>) {}

  static async start(): Promise<OtlpSink> {
    const holder: { sink?: OtlpSink } = {};
    const server = createServer((request, response) => { void holder.sink?.take(request, response); });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const close = async (): Promise<void> => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    };
    return holder.sink = new OtlpSink(`http://127.0.0.1:${port}`, close);
  }

  private async take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const body = Buffer.concat(pieces);
    if (request.url === '/v1/traces') this.spans.push(...readTraces(request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body));
    if (request.url === '/v1/metrics') this.metricRequests++;
    response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end();
  }
}

/** opentelemetry/proto/trace/v1/trace.proto: ResourceSpans { resource = 1, scope_spans = 2 { spans = 2 } }. */
function readTraces(body: Uint8Array): ReceivedSpan[] {
  const spans: ReceivedSpan[] = [];
  for (const resourceSpans of messages(body, 1)) {
    const resource = messages(resourceSpans, 1)[0];
    const service = String(resource === undefined ? '' : attributes(resource, 1)['service.name'] ?? '');
    for (const scope of messages(resourceSpans, 2)) for (const span of messages(scope, 2)) spans.push(readSpan(span, service));
  }
  return spans;
}

function readSpan(bytes: Uint8Array, service: string): ReceivedSpan {
  const all = fields(bytes);
  const hex = (number: number): string => Buffer.from((all.find((field) => field.number === number)?.value ?? new Uint8Array(0)) as Uint8Array).toString('hex');
  const integer = (number: number): bigint => (all.find((field) => field.number === number)?.value ?? 0n) as bigint;
  const parent = hex(4);
  return {
    traceId: hex(1), spanId: hex(2), parentSpanId: parent === '' ? null : parent, name: Buffer.from(hex(5), 'hex').toString(), service, kind: Number(integer(6)),
    startNs: integer(7), endNs: integer(8), attributes: attributes(bytes, 9),
  };
}

function attributes(bytes: Uint8Array, number: number): Record<string, string | number | boolean> {
  const values: Record<string, string | number | boolean> = {};
  for (const keyValue of messages(bytes, number)) {
    const key = Buffer.from(messages(keyValue, 1)[0] ?? []).toString();
    const [any] = fields(messages(keyValue, 2)[0] ?? new Uint8Array(0));
    if (any === undefined) continue;
    // AnyValue: 1 string, 2 bool, 3 int, 4 double.
    if (any.number === 1) values[key] = Buffer.from(any.value as Uint8Array).toString();
    else if (any.number === 2) values[key] = any.value === 1n;
    else if (any.number === 3) values[key] = Number(BigInt.asIntN(64, any.value as bigint));
    else if (any.number === 4) values[key] = new Float64Array(BigUint64Array.of(any.value as bigint).buffer)[0]!;
  }
  return values;
}

interface Field { number: number; value: bigint | Uint8Array }

/** Protocol buffers' wire format: varint, fixed64, length-delimited, fixed32. */
function fields(bytes: Uint8Array): Field[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const all: Field[] = [];
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++]!;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const key = Number(varint());
    const wire = key & 7;
    const number = key >>> 3;
    if (wire === 0) all.push({ number, value: varint() });
    else if (wire === 1) all.push({ number, value: view.getBigUint64((at += 8) - 8, true) });
    else if (wire === 2) {
      const length = Number(varint());
      all.push({ number, value: bytes.subarray(at, at + length) });
      at += length;
    } else if (wire === 5) all.push({ number, value: BigInt(view.getUint32((at += 4) - 4, true)) });
    else throw new Error(`protobuf wire type ${wire}`);
  }
  return all;
}

function messages(bytes: Uint8Array, number: number): Uint8Array[] {
  return fields(bytes).filter((field) => field.number === number && field.value instanceof Uint8Array).map((field) => field.value as Uint8Array);
}
