import { whenSettled, type Bus, type BusReply, type BusRequest, type Disposition, type Effect, type Exit, type ExitCost, type ExitReply, type MaybePromise, type MemorySpace, type MonitorPrimitive, type MonitorWork } from '@ringside/machine';
import { ExitReason, type BusAccess } from '@ringside/x86';
import type { MonitorPorts } from './monitor-ports.js';

const { floor, min, max } = Math;

/** Guest memory is fetched in aligned pieces, so that an argument list beside another one costs no further message. */
const CHUNK_BYTES = 1024;
const NO_BYTES = new Uint8Array(0);
/** Chunk keys of monitor space begin here: beyond every chunk of a 4 GiB guest space. */
const MONITOR_KEYS = 0x1_0000_0000 / CHUNK_BYTES;

/**
 * What one exit may make ring -1 do. A real hypervisor interrupts a long hypercall and lets the guest repeat it; here lists
 * beyond any use are refused, so that no guest can hold a service up.
 */
export const WORK_LIMIT = 50_000;
/** What its effects may weigh, so that a reply fits in one message of any broker (1 MiB by default). */
export const EFFECT_BYTES_LIMIT = 512 * 1024;
/** An effect without its bytes. */
const EFFECT_OVERHEAD_BYTES = 24;

type MemoryEffect = Extract<Effect, { kind: 'memory' }>;

/**
 * One exit being answered. Nothing of the guest changes until the reply is applied, so everything a handler does goes into
 * `effects`, in order; what it wrote it also reads back (`read` sees the transaction's own writes), so that several
 * operations compose within one exit: a multicall, or a hypercall followed by an event's stack frame.
 */
export class Transaction {
  readonly effects: Effect[] = [];
  /** Steps of work that the guest has asked for in this exit: an entry checked, a page validated (see WORK_LIMIT). */
  work = 0;
  private effectBytes = 0;
  /** What the modelled clock charges for: one handler, and what it does (`charge`). */
  private readonly charged: MonitorWork = { 'monitor-dispatch': 1 };
  private ordinal = 0;
  private readonly nested: ExitCost['nested'] = [];
  private readonly chunks = new Map<number, Uint8Array>();
  private readonly began: number;

  constructor(readonly exit: Exit, private readonly ports: MonitorPorts) {
    this.began = this.stopwatch();
    if (isDecoded(exit)) this.charge('instruction-decode');
  }

  /** Count work; false once the guest has asked for too much. */
  spend(steps: number): boolean {
    this.work += steps;
    return this.work <= WORK_LIMIT && this.effectBytes <= EFFECT_BYTES_LIMIT;
  }

  /** The handler does `count` of these: what they cost is the modelled clock's affair. */
  charge(primitive: MonitorPrimitive, count = 1): void {
    if (count > 0) this.charged[primitive] = (this.charged[primitive] ?? 0) + count;
  }

  add(effect: Effect): void {
    this.effects.push(effect);
    this.effectBytes += EFFECT_OVERHEAD_BYTES + (effect.kind === 'memory' ? effect.bytes.length : 0);
  }

  /** One cycle on the device model's board. `access` null for cycles that carry none (time, input). */
  cycle(bus: Bus, access: BusAccess | null): MaybePromise<BusReply> {
    const { exit } = this;
    return this.forward({
      vmId: exit.vmId, epoch: exit.epoch, seq: exit.seq, ordinal: 0, bus, now: exit.now,
      address: access?.address ?? 0, size: access?.size ?? 1, write: access?.write ?? false, count: access?.count ?? 0,
      data: access?.data ?? NO_BYTES,
      // The board behind ring -1 has no interrupt controller: there is nothing for it to acknowledge.
      interruptible: false,
    });
  }

  /** Send a request as the next one of this exit: (seq, ordinal) names it for ever. */
  forward(request: BusRequest): MaybePromise<BusReply> {
    this.charge('device-access', request.count);
    const sent = this.stopwatch();
    return this.book(`io.${request.bus}`, sent, this.ports.bus.cycle({ ...request, ordinal: this.ordinal++ }));
  }

  /** `length` bytes as they will be when the reply has been applied. Bytes that no memory answers for are 0xFF. */
  async read(space: MemorySpace, address: number, length: number): Promise<Uint8Array> {
    const first = floor(address / CHUNK_BYTES);
    const last = floor((address + max(length, 1) - 1) / CHUNK_BYTES);
    for (let chunk = first; chunk <= last; chunk++) {
      if (this.chunks.has(this.key(space, chunk))) continue;
      let end = chunk;
      while (end < last && !this.chunks.has(this.key(space, end + 1))) end++;
      await this.fetch(space, chunk, end);
      chunk = end;
    }
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length;) {
      const at = address + done;
      const chunk = floor(at / CHUNK_BYTES);
      const offset = at - chunk * CHUNK_BYTES;
      const piece = this.chunks.get(this.key(space, chunk))!.subarray(offset, min(CHUNK_BYTES, offset + length - done));
      bytes.set(piece, done);
      done += piece.length;
    }
    return bytes;
  }

  write(space: MemorySpace, address: number, bytes: Uint8Array): void {
    const effect: MemoryEffect = { kind: 'memory', space, address, bytes };
    this.add(effect);
    const last = floor((address + bytes.length - 1) / CHUNK_BYTES);
    for (let chunk = floor(address / CHUNK_BYTES); chunk <= last; chunk++) {
      const cached = this.chunks.get(this.key(space, chunk));
      if (cached !== undefined) overlay(cached, chunk * CHUNK_BYTES, effect);
    }
  }

  write32(space: MemorySpace, address: number, ...words: number[]): void {
    const bytes = new Uint8Array(words.length * 4);
    const view = new DataView(bytes.buffer);
    for (const [index, word] of words.entries()) view.setUint32(index * 4, word, true);
    this.write(space, address, bytes);
  }

  /** The finished reply. */
  reply(disposition: Disposition): ExitReply {
    const { nested } = this;
    const waited = nested.reduce((sum, request) => sum + request.waitNs, 0);
    const cost: ExitCost = { handlerNs: max(0, this.stopwatch() - this.began - waited), nested, work: this.charged };
    return { disposition, effects: this.effects, cost };
  }

  private async fetch(space: MemorySpace, first: number, last: number): Promise<void> {
    const sent = this.stopwatch();
    const base = first * CHUNK_BYTES;
    const bytes = await this.book('cpu.read', sent, this.ports.memory.read(space, base, (last - first + 1) * CHUNK_BYTES));
    for (let chunk = first; chunk <= last; chunk++) {
      const from = (chunk - first) * CHUNK_BYTES;
      const cached = bytes.slice(from, from + CHUNK_BYTES);
      for (const effect of this.effects) if (effect.kind === 'memory' && effect.space === space) overlay(cached, chunk * CHUNK_BYTES, effect);
      this.chunks.set(this.key(space, chunk), cached);
    }
  }

  private key(space: MemorySpace, chunk: number): number {
    return space === 'guest' ? chunk : MONITOR_KEYS + chunk;
  }

  private book<T>(bus: string, sent: number, answer: MaybePromise<T>): MaybePromise<T> {
    const request = this.requests(bus);
    request.count++;
    return whenSettled(answer, (value) => {
      request.waitNs += this.stopwatch() - sent;
      return value;
    });
  }

  /** What has been asked on this bus: a handful of buses at most. */
  private requests(bus: string): ExitCost['nested'][number] {
    for (const entry of this.nested) if (entry.bus === bus) return entry;
    const entry = { bus, count: 0, waitNs: 0 };
    this.nested.push(entry);
    return entry;
  }

  private stopwatch(): number {
    return this.ports.stopwatch?.() ?? 0;
  }
}

/**
 * Whether hardware would have made ring -1 decode the guest's instruction. The processor's decode assist saves the handlers that, but no generation
 * that is modelled has it: it names the port of IN and OUT, the register of a CR access, and no more. A callout is known from its translation.
 */
function isDecoded({ reason, access, instruction }: Exit): boolean {
  return reason !== ExitReason.Callout && (access === null ? instruction != null : access.space === 'memory');
}

/** Put the part of `effect` that lies in the chunk at `base` over it. */
function overlay(chunk: Uint8Array, base: number, effect: MemoryEffect): void {
  const from = max(effect.address, base);
  const to = min(effect.address + effect.bytes.length, base + CHUNK_BYTES);
  if (from < to) chunk.set(effect.bytes.subarray(from - effect.address, to - effect.address), from - base);
}
