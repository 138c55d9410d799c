import { createHash } from 'node:crypto';
import { REGISTER_NAMES, SEGMENT_NAMES, VirtualMachine, digestWords, type Effect, type MachineHooks, type MachineState, type RegisterName, type SegmentName, type SegmentState } from '@ringside/machine';
import { ControlFailure } from '@ringside/nats-transport';
import type { ServiceRuntime } from '@ringside/nats-transport/service';
import type { CreateMachine, DisassembledLine, MachineDigest, MachineReport, MemoryReadRequest, RegistersView, TranslatedView, VmStatistics } from '@ringside/protocol';
import { MachineTracer, type ExitMeter } from '@ringside/telemetry';
import { BusSender } from './bus-sender.js';
import { ExitSender, type GuestPosition } from './exit-sender.js';
import { translatedView } from './translated-view.js';
import { TranslatorSender } from './translator-sender.js';

/** What a machine needs of the service that hosts it. */
export type MachineRuntime = Pick<ServiceRuntime, 'client' | 'telemetry' | 'wallClock'> & {
  environment: Pick<ServiceRuntime['environment'], 'tracing' | 'timeoutMs'>;
  /** One translated unit in so many is translated again here and compared. */
  recomputeOneIn: number;
};

/** One VM in this processor: the machine, the messages it sends, its traces. */
export class HostedMachine {
  readonly machine: VirtualMachine;
  private readonly tracer: MachineTracer | null;
  private revision = 0;
  /** Set by `kick`, cleared when the machine is driven: a kick that meets a machine about to park is not lost. */
  private kicked = false;
  private driving = false;
  private readonly translator: TranslatorSender | null;

  constructor(readonly order: CreateMachine, runtime: MachineRuntime, meter: Pick<ExitMeter, 'record'>, changed: (report: MachineReport) => void) {
    const { spec, epoch, monitorBytes, native, stateGroups, translationCache } = order;
    const { client, wallClock } = runtime;
    this.tracer = runtime.environment.tracing ? new MachineTracer(runtime.telemetry, spec, wallClock) : null;
    const position = (): GuestPosition => this.position();
    const hooks: MachineHooks = {
      operationBegins: (record) => this.tracer?.operationBegins(record) ?? null,
      operationEnds: (record) => this.tracer?.operationEnds(record),
      exitAnswered: (reason, wallNs) => meter.record(spec.path, reason, wallNs),
      stateChanged: (state, why) => {
        this.revision++;
        if (isFinal(state)) this.tracer?.stop(state === 'unreachable' || state === 'crashed' || state === 'translation-refused' ? why : undefined);
        changed(this.report());
      },
    };
    this.translator = translationCache === null ? null : new TranslatorSender(order, client, this.tracer, position, (waiting) => {
      if (this.machine.state !== 'running') return;
      this.machine.why = waiting ? 'waits for a translator' : 'running';
      this.revision++;
      changed(this.report());
    }, runtime.environment.timeoutMs);
    this.machine = new VirtualMachine({
      spec, epoch, monitorBytes, stateGroups: new Map(stateGroups), deadline: Infinity,
      // Another sample for each machine, and for one the same on every run.
      ...(translationCache === null ? {} : { translationCache: { ...translationCache, recomputeOneIn: runtime.recomputeOneIn, seed: sampleSeed(spec.id, epoch) } }),
    }, {
      ...(this.translator === null ? {} : { translator: this.translator }),
      exits: native ? null : new ExitSender(client, this.tracer, position),
      bus: new BusSender(client, this.tracer, position),
      wallClock, hooks, sleep, resends: () => client.mux.counts.resends, yield: yieldToEventLoop,
    });
  }

  apply(effects: readonly Effect[]): void {
    this.machine.apply(effects);
  }

  /** Let it run; returns at once. The machine stops by itself: paused, parked or ended. */
  run(): void {
    if (this.driving) return;
    this.driving = true;
    void this.drive();
  }

  /** Input waits at the device model. A parked machine goes on. */
  kick(): void {
    this.kicked = true;
    this.machine.kick();
    if (this.machine.state === 'halted') this.run();
  }

  async pause(): Promise<void> {
    await this.standing(this.machine.pause());
  }

  step(limit: { instructions?: number; exits?: number }): Promise<void> {
    return this.machine.step(limit);
  }

  async stop(why: string): Promise<void> {
    await this.standing(this.machine.stop(why));
    this.tracer?.stop();
  }

  report(): MachineReport {
    const { machine: { state, why } } = this;
    return { vmId: this.order.spec.id, epoch: this.order.epoch, revision: this.revision, state, why };
  }

  statistics(): VmStatistics {
    return { ...this.machine.statistics(), ...this.report() };
  }

  registers(): RegistersView {
    const { processor, state, now } = this.machine;
    return {
      state, virtualNs: now, retired: processor.retired, executed: processor.executed, registers: this.guestRegisters(),
      segments: Object.fromEntries(SEGMENT_NAMES.map((name) => [name, processor.getSegment(name)])) as Record<SegmentName, SegmentState>,
    };
  }

  read({ space, address, length }: MemoryReadRequest): Uint8Array | null {
    const { processor } = this.machine;
    return space === 'linear' ? processor.readLinear(address, length) : processor.readPhysical(space, address, length);
  }

  disassemble(address: number, count: number): DisassembledLine[] {
    return this.machine.processor.disassemble('linear', address, count).map((line) => ({ ...line, bytes: Buffer.from(line.bytes).toString('hex') }));
  }

  /** @throws ControlFailure on a path that translates nothing */
  translated(address: number, count: number): TranslatedView {
    const { translations, processor } = this.machine;
    if (translations === null) throw new ControlFailure('wrong-state', `${this.order.spec.id} runs on ${this.order.spec.path}: its code is not translated`);
    return translatedView(translations, processor, address >>> 0, count);
  }

  /** End digests; the machine must stand. */
  digest(): MachineDigest {
    const { processor, stateHash } = this.machine;
    const words = Uint32Array.from(['cr0', 'cr2', 'cr3', 'cr4'] as const, (name) => processor.getRegister(name) >>> 0);
    return {
      memory: digestWords(processor.readPhysical('guest', 0, this.order.spec.memoryMiB * 1_048_576)),
      registers: digestWords(new Uint8Array(words.buffer)), stateHash: stateHash?.value ?? null, samples: stateHash?.samples ?? 0,
    };
  }

  /** A machine comes to stand at once, even while no translator answers it: the question is taken back. */
  private async standing(done: Promise<void>): Promise<void> {
    const timer = setTimeout(() => this.translator?.withdraw(), WITHDRAW_AFTER_MS);
    await done;
    clearTimeout(timer);
  }

  private async drive(): Promise<void> {
    do {
      this.kicked = false;
      await this.machine.run();
    } while (this.kicked && this.machine.state === 'halted');
    this.driving = false;
  }

  /** Under binary translation the guest's own, wherever its translation stands, with the virtual IF and IOPL. */
  private guestRegisters(): Record<RegisterName, number> {
    const { processor, translations } = this.machine;
    const registers = Object.fromEntries(REGISTER_NAMES.map((name) => [name, processor.getRegister(name) >>> 0])) as Record<RegisterName, number>;
    if (translations === null) return registers;
    registers.eflags = ((registers.eflags & ~(EFLAGS_IF | EFLAGS_IOPL)) | (translations.interruptFlag ? EFLAGS_IF : 0) | (translations.iopl << IOPL_SHIFT)) >>> 0;
    const under = translations.peek();
    if (under === null) return registers;
    for (const [number, name] of GENERAL.entries()) registers[name] = under.general[number]! >>> 0;
    return { ...registers, eip: under.eip >>> 0 };
  }

  private position(): GuestPosition {
    const { processor, translations, now } = this.machine;
    return { eip: (translations?.peek()?.eip ?? processor.getRegister('eip')) >>> 0, cpl: processor.getRegister('cpl'), now };
  }
}

const EFLAGS_IF = 1 << 9, EFLAGS_IOPL = 3 << 12, IOPL_SHIFT = 12;
/** By number, as instructions encode them. */
const GENERAL = ['eax', 'ecx', 'edx', 'ebx', 'esp', 'ebp', 'esi', 'edi'] as const satisfies readonly RegisterName[];

/** A translator that is there answers sooner. */
const WITHDRAW_AFTER_MS = 500;

function sampleSeed(vmId: string, epoch: number): number {
  return createHash('sha256').update(`${vmId} ${epoch}`).digest().readInt32LE();
}

export function isFinal(state: MachineState): boolean {
  return state !== 'created' && state !== 'running' && state !== 'paused' && state !== 'halted';
}

/** Other machines, and messages, get their turn. */
function yieldToEventLoop(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Timers have a resolution of 1 ms and an upper limit of about 24 days. */
function sleep(ns: number): { done: Promise<void>; wake: () => void } {
  let wake = (): void => undefined;
  const done = new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, Math.min(ns / 1e6, 2_000_000_000));
    wake = () => {
      clearTimeout(timer);
      resolve();
    };
  });
  return { done, wake: () => wake() };
}
