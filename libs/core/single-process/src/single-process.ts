import { consoleOf, createBoard, type PrintedDocument } from '@ringside/devices';
import { loadMultiboot } from '@ringside/loaders';
import { VirtualMachine, type BusEndpoint, type BusRequest, type ExitHandler, type GuestMemoryReader, type MachineHooks, type VmSpec } from '@ringside/machine';
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
  readonly machine: VirtualMachine;
  readonly board: Board;
  readonly monitor: VirtualMachineMonitor | null;
  readonly documents: PrintedDocument[] = [];
  /** Requests on the bus, as the device model would see them. */
  busRequests = 0;
  private readonly output: number[] = [];

  constructor(options: SingleProcessOptions) {
    const { spec } = options;
    const native = spec.path === 'native';
    const wallClock = options.wallClock ?? (() => 0);
    this.board = createBoard({
      composition: native ? 'native' : 'virtualized', disk: options.disk ?? null, script: spec.script,
      memoryBytes: spec.memoryMiB * 1_048_576, epochSeconds: POWER_ON_SECONDS,
      console: { write: (_offset, bytes) => { this.output.push(...bytes); } },
      documents: { document: (document) => { this.documents.push(document); } },
    });
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
    this.monitor = native ? null : createMonitor({ spec, image: options.image, ports: { bus, memory } });
    const exits: ExitHandler | null = this.monitor;
    this.machine = new VirtualMachine({
      spec, epoch: 1, monitorBytes: this.monitor?.monitorBytes ?? 0, stateGroups: this.monitor?.stateGroups() ?? new Map(), deadline: Infinity,
    }, { exits, bus, wallClock, ...(options.hooks === undefined ? {} : { hooks: options.hooks }) });
    this.machine.apply(this.monitor?.initialEffects()
      ?? loadMultiboot({ image: options.image, memoryBytes: spec.memoryMiB * 1_048_576, commandLine: spec.commandLine }).effects);
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
