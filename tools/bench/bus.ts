/**
 * `bench bus`: what an exit's round trip costs over a raw NATS round trip of the same bytes. Three processes (this one, the NATS
 * server, a responder), one run, interleaved. Encoding, decoding, Nest's dispatch and ring -1's own CPUID handler are
 * included. A fourth process takes the spans, as a collector would.
 *
 *   node dist/apps/bench-bus.mjs [--json] [--quick]
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { startNatsServer } from '@ringside/nats-transport/testing';
import { BusClient, type BusVariant } from './bus-client.js';
import { replyBytes, requestBytes, VMS } from './bus-exit.js';
import { respond } from './bus-responder.js';

/** `ringside bench bus --json`. */
export interface BusReport {
  schema: 'ringside.bench-bus/1';
  /** Tracing off. */
  exitOverRaw: BusVariant['exitOverRaw'];
  variants: BusVariant[];
  inFlight: number;
  payloadBytes: { request: number; reply: number };
  node: string;
}

const TRACING = [0, 0.01, 1];

async function main(arguments_: readonly string[]): Promise<void> {
  const [mode, url, collector] = arguments_;
  if (mode === 'responder') return respond(url!, collector!);
  if (mode === 'collector') return collect();
  const quick = arguments_.includes('--quick');
  const report = await measure(quick);
  console.log(arguments_.includes('--json') ? JSON.stringify(report, null, 2) : table(report));
}

async function measure(quick: boolean): Promise<BusReport> {
  const nats = await startNatsServer();
  const children: ChildProcess[] = [];
  try {
    const collector = await child(children, 'collector');
    const endpoint = `http://127.0.0.1:${collector}`;
    await child(children, 'responder', nats.url, endpoint);
    const client = await BusClient.connect(nats.url, endpoint);
    await client.warmUp(quick ? 2_000 : 4_000);
    const variants: BusVariant[] = [];
    for (const tracing of TRACING) variants.push(await client.measure(tracing, quick ? 12 : 80, quick ? 1 : 5));
    await client.close();
    return { schema: 'ringside.bench-bus/1', exitOverRaw: variants[0]!.exitOverRaw, variants, inFlight: VMS, payloadBytes: { request: requestBytes().length, reply: REPLY_BYTES }, node: process.version };
  } finally {
    // The collector was started first and ends last: the responder's spans still go there.
    for (const each of children.reverse()) await ended(each);
    await nats.stop();
  }
}

/** Of a retired CPUID with its four registers. */
const REPLY_BYTES = replyBytes({ disposition: { kind: 'retire', data: null }, effects: (['eax', 'ebx', 'ecx', 'edx'] as const).map((register) => ({ kind: 'register', register, value: 0 })), cost: { handlerNs: 0, nested: [] } }).length;

/** Starts this program in another role; resolves with what follows `ready` on its first line. */
function child(children: ChildProcess[], ...role: string[]): Promise<string> {
  const process_ = spawn(process.execPath, [process.argv[1]!, ...role], { stdio: ['pipe', 'pipe', 'inherit'] });
  children.push(process_);
  return new Promise((resolve, reject) => {
    process_.once('error', reject);
    process_.once('exit', (code) => reject(new Error(`the ${role[0]} ended with code ${code}`)));
    process_.stdout!.once('data', (line: Buffer) => resolve(line.toString().trim().replace(/^ready ?/, '')));
  });
}

/** A role ends when its standard input does. */
async function ended(process_: ChildProcess): Promise<void> {
  if (process_.exitCode !== null) return;
  const gone = new Promise((resolve) => process_.once('exit', resolve));
  process_.stdin!.end();
  await gone;
}

/** Takes spans and forgets them. */
async function collect(): Promise<void> {
  const server = createServer((request, response) => {
    request.resume().on('end', () => response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  console.log(`ready ${(server.address() as AddressInfo).port}`);
  await new Promise((resolve) => process.stdin.resume().once('end', resolve));
  server.closeAllConnections();
  server.close();
}

function table({ variants, inFlight, payloadBytes, node }: BusReport): string {
  const percent = (share: number): string => (share === 0 ? 'off' : `${share * 100} %`);
  const rows = variants.map((variant) => [
    percent(variant.tracing), variant.rawUs.toFixed(0), variant.exitUs.toFixed(0),
    `${variant.exitOverRaw.median.toFixed(2)} (${variant.exitOverRaw.p10.toFixed(2)}–${variant.exitOverRaw.p90.toFixed(2)})`,
    variant.rawPerSecond.toFixed(0), variant.exitsPerSecond.toFixed(0),
  ]);
  const head = ['tracing', 'raw µs', 'exit µs', 'exit ÷ raw (p10–p90)', `raw/s, ${inFlight} in flight`, `exits/s, ${inFlight} in flight`];
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]!.length)));
  const line = (cells: readonly string[]): string => cells.map((cell, column) => cell.padStart(widths[column]!)).join('  ');
  return [line(head), ...rows.map(line), `${payloadBytes.request} bytes out, ${payloadBytes.reply} back; Node ${node}`].join('\n');
}

await main(process.argv.slice(2));
