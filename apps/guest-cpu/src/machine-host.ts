import { Injectable } from '@nestjs/common';
import { ControlFailure } from '@ringside/nats-transport';
import { ServiceCounters, ServiceRuntime, wholeNumber } from '@ringside/nats-transport/service';
import type { CreateMachine, MachineReport } from '@ringside/protocol';
import { ExitMeter } from '@ringside/telemetry';
import { HostedMachine, type MachineRuntime } from './hosted-machine.js';

/** Of units that translators sent, one in so many is translated again. */
const RECOMPUTE_ONE_IN = 100;

/** All machines of this process, which is one physical CPU: while one waits for a reply, another runs. */
@Injectable()
export class MachineHost extends ServiceCounters {
  private readonly machines = new Map<string, HostedMachine>();
  private readonly meter: ExitMeter;
  private readonly machineRuntime: MachineRuntime;

  constructor(private readonly runtime: ServiceRuntime) {
    super();
    this.meter = new ExitMeter(runtime.telemetry.meter);
    const { client, telemetry, wallClock, environment } = runtime;
    this.machineRuntime = { client, telemetry, wallClock, environment, recomputeOneIn: wholeNumber(process.env, 'RINGSIDE_RECOMPUTE_ONE_IN', RECOMPUTE_ONE_IN, 1_000_000) };
  }

  /** Make the machine, empty; effects fill it. One that the VM had before ends. */
  async create(order: CreateMachine): Promise<void> {
    await this.machines.get(order.spec.id)?.stop('replaced by a new start');
    this.machines.set(order.spec.id, new HostedMachine(order, this.machineRuntime, this.meter, (report) => this.tell(report)));
    this.runtime.server.claim(order.spec.id, order.epoch);
    await this.runtime.connection.flush();
  }

  async release(vmId: string): Promise<void> {
    await this.machines.get(vmId)?.stop('released');
    this.machines.delete(vmId);
    this.runtime.server.release(vmId);
  }

  machine(vmId: string): HostedMachine {
    const machine = this.machines.get(vmId);
    if (machine === undefined) throw new ControlFailure('not-found', `this processor has no machine of a VM ${vmId}`);
    return machine;
  }

  vms(): string[] {
    return [...this.machines.keys()];
  }

  counters(): Record<string, number> {
    let running = 0;
    for (const { machine } of this.machines.values()) if (machine.state === 'running') running++;
    return { machines: this.machines.size, running, exits: this.meter.total };
  }

  /** Every machine comes to stand at an exit boundary. */
  async stop(): Promise<void> {
    await Promise.all([...this.machines.values()].map((machine) => machine.stop('guest-cpu was told to stop')));
  }

  /** Ring -1 hears of it; if it cannot now, it asks when somebody wants to know. */
  private tell(report: MachineReport): void {
    this.runtime.client.control('vm.changed', report).catch(() => undefined);
  }
}
