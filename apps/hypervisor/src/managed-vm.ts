import { loadMultiboot } from '@ringside/loaders';
import { whenSettled, type Effect, type MachineState, type MaybePromise, type VmSpec } from '@ringside/machine';
import { ControlFailure, type FrameContext, type ResendPolicy } from '@ringside/nats-transport';
import type { ServiceRuntime } from '@ringside/nats-transport/service';
import { chunkEffects, cpuSubject, decodeAcknowledge, decodeExit, encodeApplyEffects, encodeExitReply, type ExecutionControlsView, type MachineReport, type VmRecord } from '@ringside/protocol';
import { createMonitor, type VirtualMachineMonitor } from '@ringside/vmm';
import { controlsView } from './controls-view.js';
import { MonitorLinks } from './monitor-links.js';

/** A person waits: an answer that takes longer is told as `unreachable`. */
const LOOK_POLICY: ResendPolicy = { firstWaitMs: 20, maxWaitMs: 250, timeoutMs: 2_000, minResends: 8 };
/** A machine that is told to stop first ends the exit it stands in, which has its own timeout. */
const LIFECYCLE_POLICY: ResendPolicy = { firstWaitMs: 50, maxWaitMs: 500, timeoutMs: 8_000, minResends: 8 };

/** One VM as ring -1 holds it: its spec, what it is made of, and its state as last heard. */
export class ManagedVm {
  epoch = 0;
  private state: MachineState = 'created';
  private why = 'created, not started';
  private revision = -1;
  private monitor: VirtualMachineMonitor | null = null;
  private controls: ExecutionControlsView | null = null;
  private readonly links: MonitorLinks;
  /** Lifecycle operations of one VM follow one another. */
  private last: Promise<unknown> = Promise.resolve();

  constructor(readonly spec: VmSpec, private readonly runtime: ServiceRuntime, private readonly image: () => Promise<Uint8Array>) {
    this.links = new MonitorLinks(spec.id, runtime.client, runtime.telemetry, runtime.wallClock);
  }

  /** Board and machine in their power-on state, under the next epoch. */
  build(): Promise<void> {
    return this.inTurn(() => this.powerOn());
  }

  /** Go on, or boot again when it has ended. */
  start(): Promise<void> {
    return this.inTurn(async () => {
      await this.look();
      if (isFinal(this.state)) await this.powerOn();
      this.heard(await this.runtime.client.cpu(this.spec.id, 'run', { epoch: this.epoch }, LIFECYCLE_POLICY));
    });
  }

  pause(): Promise<void> {
    return this.inTurn(async () => {
      if (isFinal(this.state)) throw new ControlFailure('wrong-state', `${this.spec.id} has ended (${this.state}: ${this.why}): start boots it again`);
      this.heard(await this.runtime.client.cpu(this.spec.id, 'pause', { epoch: this.epoch }, LIFECYCLE_POLICY));
    });
  }

  stop(why: string): Promise<void> {
    return this.inTurn(async () => {
      if (isFinal(this.state)) return;
      this.heard(await this.runtime.client.cpu(this.spec.id, 'stop', { why }, LIFECYCLE_POLICY));
    });
  }

  /** Everything it has is given back. Services that do not answer have nothing left of it. */
  release(): Promise<void> {
    return this.inTurn(async () => {
      this.runtime.server.release(this.spec.id);
      await Promise.allSettled([
        this.runtime.client.cpu(this.spec.id, 'release', {}, LOOK_POLICY),
        this.runtime.client.control('board.release', { vmId: this.spec.id }, LOOK_POLICY),
      ]);
    });
  }

  /** An exit, from frame to frame. */
  exit(frame: Uint8Array, context: FrameContext): MaybePromise<Uint8Array> {
    if (this.monitor === null) throw new Error(`${this.spec.id} runs natively: it has no ring -1`);
    this.links.begin(context);
    return whenSettled(this.monitor.exit(decodeExit(frame, this.spec.id)), (reply) => {
      this.remember(reply.effects);
      return encodeExitReply(reply, context.header);
    });
  }

  /** guest-cpu says that the machine changed its state. */
  heard(report: MachineReport): void {
    if (report.epoch !== this.epoch || report.revision < this.revision) return;
    const ended = isFinal(report.state) && !isFinal(this.state);
    ({ state: this.state, why: this.why, revision: this.revision } = report);
    if (ended) this.runtime.client.control('board.finish', { vmId: this.spec.id }).catch(() => undefined);
  }

  /** The record as it is now. */
  async record(): Promise<VmRecord> {
    return { ...this.known, progress: await this.look() };
  }

  /** The record as last heard. */
  get known(): VmRecord {
    const { spec, epoch, state, why, controls } = this;
    return { spec, epoch, state, why, progress: null, controls };
  }

  private async look(): Promise<VmRecord['progress']> {
    try {
      const statistics = await this.runtime.client.cpu(this.spec.id, 'stats', {}, LOOK_POLICY);
      this.heard(statistics);
      const { retired, executed, virtualNs } = statistics;
      return { retired, executed, virtualNs };
    } catch (error) {
      if (!isFinal(this.state)) {
        this.state = 'unreachable';
        this.why = `guest-cpu: ${error instanceof Error ? error.message : String(error)}`;
      }
      return null;
    }
  }

  private async powerOn(): Promise<void> {
    const { client, server } = this.runtime;
    const { spec } = this;
    const epoch = this.epoch + 1;
    const image = await this.image();
    const monitor = spec.path === 'native' ? null : await createMonitor(spec, image, this.links);
    const effects = monitor?.initialEffects() ?? loadMultiboot({ image, memoryBytes: spec.memoryMiB * 1_048_576, commandLine: spec.commandLine }).effects;
    this.controls = null;
    this.remember(effects);
    // With a disk of its own this fetches the image first: it may take its time.
    await client.control('board.create', { spec, epoch });
    await client.control('cpu.create', { spec, epoch, native: monitor === null, monitorBytes: monitor?.monitorBytes ?? 0, stateGroups: [...monitor?.stateGroups() ?? []], translationCache: monitor?.translationCache ?? null }, LIFECYCLE_POLICY);
    this.monitor = monitor;
    if (monitor !== null) {
      server.claim(spec.id, epoch);
      await this.runtime.connection.flush();
    }
    let seq = 0;
    for (const chunk of chunkEffects(effects)) decodeAcknowledge(await client.call(cpuSubject(spec.id, 'effects'), encodeApplyEffects(chunk, epoch, ++seq)));
    this.epoch = epoch;
    this.revision = -1;
    this.state = 'created';
    this.why = 'created, not started';
  }

  private remember(effects: readonly Effect[]): void {
    for (const effect of effects) if (effect.kind === 'controls') this.controls = controlsView(effect.controls);
  }

  private inTurn<T>(operation: () => Promise<T>): Promise<T> {
    const turn = this.last.then(operation);
    this.last = turn.catch(() => undefined);
    return turn;
  }
}

function isFinal(state: MachineState): boolean {
  return state !== 'created' && state !== 'running' && state !== 'paused' && state !== 'halted';
}
