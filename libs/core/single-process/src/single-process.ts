import { consoleOf, createBoard, type PrintedDocument } from '@ringside/devices';
import { loadMultiboot } from '@ringside/loaders';
import { translate } from '@ringside/translation';
import { NO_COST, VirtualMachine, type BusEndpoint, type BusRequest, type GuestMemoryReader, type MachineHooks, type VmSpec } from '@ringside/machine';
import type { Board } from '@ringside/platform';
import { createMonitor, type VirtualMachineMonitor } from '@ringside/vmm';

/** A fixed date, so that two runs read the same clock: 2026-01-01T00:00:00Z. */
const POWER_ON_SECONDS = 1_767_225_600;

export interface SingleProcessOptions {
  spec: VmSpec;
  /** The guest: a Multiboot image, or on `paravirt` an ELF with Xen's notes. */
  image: Uint8Array;
  disk?: Uint8Array | null;
  hooks?: MachineHooks;
  /** Books only; the guest never sees it. Defaults to a clock that stands still. */
  wallClock?: () => number;
}

/**
 * The whole machine in one process: the same processor, ring -1 and board as the services', joined by plain calls
 * instead of messages. For tests of the core, and to read the machine without a server.
 */
export class SingleProcess {
  machine!: VirtualMachine;
  readonly board: Board;
  monitor: VirtualMachineMonitor | null = null;
  readonly documents: PrintedDocument[] = [];
  /** Requests on the bus, as the device model would see them. */
  busRequests = 0;
  private readonly output: number[] = [];

  /** Rejects with the loader's or ring -1's error when the guest does not fit the spec. */
  static async create(options: SingleProcessOptions): Promise<SingleProcess> {
    const whole = new SingleProcess(options);
    await whole.assemble(options);
    return whole;
  }

  private constructor({ spec, disk }: SingleProcessOptions) {
    this.board = createBoard({
      composition: spec.path === 'native' ? 'native' : 'virtualized', disk: disk ?? null, script: spec.script,
      memoryBytes: spec.memoryMiB * 1_048_576, epochSeconds: POWER_ON_SECONDS,
      console: { write: (_offset, bytes) => { this.output.push(...bytes); } },
      documents: { document: (document) => { this.documents.push(document); } },
    });
  }

  private async assemble({ spec, image, hooks, wallClock }: SingleProcessOptions): Promise<void> {
    const bus: BusEndpoint = {
      cycle: (request: BusRequest) => {
        this.busRequests++;
        return this.board.cycle(request);
      },
    };
    // The machine exists only after ring -1 has said how large its monitor space is; ring -1 reads it only during exits.
    const memory: GuestMemoryReader = {
      read: (space, address, length) => this.machine.processor.readPhysical(space, address, length),
      readLinear: (linear, length) => this.machine.processor.readLinear(linear, length),
    };
    this.monitor = spec.path === 'native' ? null : await createMonitor(spec, image, { bus, memory });
    this.machine = new VirtualMachine({
      spec, epoch: 1, monitorBytes: this.monitor?.monitorBytes ?? 0, stateGroups: this.monitor?.stateGroups() ?? new Map(), deadline: Infinity,
      ...(this.monitor?.translationCache === undefined ? {} : { translationCache: this.monitor.translationCache }),
    }, {
      exits: this.monitor, bus, translator: { translate: (request) => ({ unit: translate(request), cost: NO_COST }) },
      wallClock: wallClock ?? (() => 0), ...(hooks === undefined ? {} : { hooks }),
    });
    this.machine.apply(this.monitor?.initialEffects()
      ?? loadMultiboot({ image, memoryBytes: spec.memoryMiB * 1_048_576, commandLine: spec.commandLine }).effects);
  }

  /** What the guest has written to its console. */
  get console(): string {
    return new TextDecoder('latin1').decode(Uint8Array.from(this.output));
  }

  /** Type at the console; the guest takes it in when it runs next. */
  type(text: string): void {
    consoleOf(this.board).queueInput(new TextEncoder().encode(text));
    this.machine.kick();
  }
}

/** A spec with everything decided but what the caller says. */
export function specOf(changes: Partial<VmSpec> = {}): VmSpec {
  return {
    id: 'vm', path: 'native', mmu: 'none', guestKernelRing: 0, memoryMiB: 32, clock: 'virtual', guest: 'test', commandLine: '', disk: null,
    script: [], grantedPorts: [], hashStates: false, ...changes,
  };
}
