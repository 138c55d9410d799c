import type { NatsConnection } from '@nats-io/transport-node';
import { connectNats, instanceName, NatsClient, NatsWire } from '@ringside/nats-transport';
import { decodeExitReply, encodeExit, exitSubject } from '@ringside/protocol';
import { Attribute, SpanKind, Telemetry, messaging } from '@ringside/telemetry';
import { ExitReason } from '@ringside/x86';
import { benchExit, RAW_SUBJECT, requestBytes, VMS, vmId } from './bus-exit.js';

export interface Spread { median: number; p10: number; p90: number }
export interface BusVariant {
  /** Share of exits that are traced. */
  tracing: number;
  /** One at a time: exit ÷ raw round trip, over interleaved blocks; and both medians, µs. */
  exitOverRaw: Spread;
  rawUs: number;
  exitUs: number;
  /** 64 in flight, requests per second. */
  rawPerSecond: number;
  exitsPerSecond: number;
}

const BLOCK = 150;
const FLIGHT_BLOCK = 6_000;

/** First process: measures. */
export class BusClient {
  private readonly sequence = new Array<number>(VMS).fill(1);
  private readonly raw: RawRequester;
  private readonly exits: NatsClient;
  private readonly telemetry: Telemetry;

  private constructor(private readonly connection: NatsConnection, collector: string) {
    this.raw = new RawRequester(connection);
    this.exits = new NatsClient(new NatsWire(connection), instanceName('client'));
    this.telemetry = new Telemetry({ service: 'guest-cpu', instance: 'bench', endpoint: collector, warn: (message) => { console.error(message); } });
  }

  static async connect(url: string, collector: string): Promise<BusClient> {
    return new BusClient(await connectNats(url, instanceName('bench')), collector);
  }

  /** Both ends are compiled before times are taken: what is measured is the wire, not how fast a process warms up. */
  async warmUp(milliseconds: number): Promise<void> {
    const end = performance.now() + milliseconds;
    while (performance.now() < end) {
      for (const kind of ['raw', 'exit'] as const) {
        await this.inFlight(kind, FLIGHT_BLOCK, 0);
        await this.sequential(kind, BLOCK, 0);
      }
    }
  }

  async measure(tracing: number, blocks: number, flights: number): Promise<BusVariant> {
    for (const kind of ['raw', 'exit'] as const) await this.sequential(kind, 2 * BLOCK, tracing);
    const ratios: number[] = [];
    const raws: number[] = [];
    const exits: number[] = [];
    for (let block = 0; block < blocks; block++) {
      // Which goes first alternates, so that neither profits from its place.
      const order = block % 2 === 0 ? ['raw', 'exit'] as const : ['exit', 'raw'] as const;
      const took = { raw: 0, exit: 0 };
      for (const kind of order) took[kind] = await this.sequential(kind, BLOCK, tracing);
      ratios.push(took.exit / took.raw);
      raws.push(took.raw);
      exits.push(took.exit);
    }
    const rates = { raw: [] as number[], exit: [] as number[] };
    for (let flight = 0; flight < flights; flight++) for (const kind of ['raw', 'exit'] as const) rates[kind].push(await this.inFlight(kind, FLIGHT_BLOCK, tracing));
    return { tracing, exitOverRaw: spread(ratios), rawUs: median(raws), exitUs: median(exits), rawPerSecond: median(rates.raw), exitsPerSecond: median(rates.exit) };
  }

  async close(): Promise<void> {
    this.exits.close();
    await this.telemetry.shutdown();
    await this.connection.close();
  }

  /** @returns the median of one round trip, µs */
  private async sequential(kind: 'raw' | 'exit', count: number, tracing: number): Promise<number> {
    const times = new Array<number>(count);
    for (let i = 0; i < count; i++) {
      const began = performance.now();
      await (kind === 'raw' ? this.raw.request() : this.exit(0, tracing));
      times[i] = (performance.now() - began) * 1_000;
    }
    return median(times);
  }

  /** @returns requests per second with 64 outstanding */
  private async inFlight(kind: 'raw' | 'exit', count: number, tracing: number): Promise<number> {
    const began = performance.now();
    let left = count;
    await Promise.all(Array.from({ length: VMS }, async (_, vm) => {
      while (left-- > 0) await (kind === 'raw' ? this.raw.request() : this.exit(vm, tracing));
    }));
    return count / ((performance.now() - began) / 1_000);
  }

  private async exit(vm: number, tracing: number): Promise<void> {
    const exit = benchExit(vmId(vm), this.sequence[vm]!++);
    const span = tracing > 0 && Math.random() < tracing ? this.telemetry.span('cpuid', SpanKind.CLIENT, null, {
      [Attribute.VmId]: exit.vmId, [Attribute.VcpuId]: 0, [Attribute.Path]: 'hardware-assisted', [Attribute.Seq]: exit.seq, [Attribute.Now]: exit.now,
      [Attribute.ExitReason]: 'cpuid', [Attribute.ExitQualification]: '0x0', [Attribute.GuestEip]: '0x100000', [Attribute.RingFrom]: 0, [Attribute.RingTo]: -1, ...messaging(exit.vmId, 'exit', 'cpuid'),
    }) : null;
    const reply = decodeExitReply(await this.exits.call(exitSubject(exit.vmId, ExitReason.Cpuid), encodeExit(exit, span?.context ?? null)));
    span?.end();
    if (reply.disposition.kind !== 'retire') throw new Error('the exit was not answered as CPUID is');
  }
}

/** The least that a request over NATS can be: one inbox subscription, a token, a callback. */
class RawRequester {
  private readonly inbox = `_INBOX.${instanceName('raw')}`;
  private readonly waiting = new Map<string, () => void>();
  private readonly payload = requestBytes();
  private token = 0;

  constructor(private readonly connection: NatsConnection) {
    connection.subscribe(`${this.inbox}.*`, { callback: (_, message) => {
      const token = message.subject.slice(this.inbox.length + 1);
      this.waiting.get(token)?.();
      this.waiting.delete(token);
    } });
  }

  request(): Promise<void> {
    return new Promise((resolve) => {
      const token = String(++this.token);
      this.waiting.set(token, resolve);
      this.connection.publish(RAW_SUBJECT, this.payload, { reply: `${this.inbox}.${token}` });
    });
  }
}

function median(values: number[]): number {
  return quantile(values, 0.5);
}

function spread(values: number[]): Spread {
  return { median: quantile(values, 0.5), p10: quantile(values, 0.1), p90: quantile(values, 0.9) };
}

function quantile(values: number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]!;
}
