import { Injectable } from '@nestjs/common';
import { LoaderError } from '@ringside/loaders';
import type { VmSpec } from '@ringside/machine';
import { ControlFailure } from '@ringside/nats-transport';
import { ServiceCounters, ServiceRuntime } from '@ringside/nats-transport/service';
import { PathError } from '@ringside/vmm';
import { ImageStore } from './image-store.js';
import { ManagedVm } from './managed-vm.js';
import { checkSpec } from './spec-check.js';

/** Every VM that this instance holds. */
@Injectable()
export class VmRegistry extends ServiceCounters {
  private readonly machines = new Map<string, ManagedVm>();

  constructor(private readonly runtime: ServiceRuntime, private readonly images: ImageStore) {
    super();
  }

  /** @throws ControlFailure in one sentence: the spec, the image, or a service that does not answer */
  async create(spec: VmSpec): Promise<ManagedVm> {
    checkSpec(spec);
    if (this.machines.has(spec.id)) throw new ControlFailure('exists', `there is already a VM ${spec.id}: delete it or use another name`);
    const machine = new ManagedVm(spec, this.runtime, () => this.images.guest(spec));
    // Taken at once, so that nobody else takes the name while it is built.
    this.machines.set(spec.id, machine);
    try {
      await machine.build();
      return machine;
    } catch (error) {
      this.machines.delete(spec.id);
      await machine.release();
      throw error instanceof LoaderError || error instanceof PathError ? new ControlFailure('invalid', error.message) : error;
    }
  }

  machine(vmId: string): ManagedVm {
    const machine = this.machines.get(vmId);
    if (machine === undefined) throw new ControlFailure('not-found', `there is no VM ${vmId}`);
    return machine;
  }

  find(vmId: string): ManagedVm | undefined {
    return this.machines.get(vmId);
  }

  all(): ManagedVm[] {
    return [...this.machines.values()];
  }

  async delete(vmId: string): Promise<void> {
    const machine = this.machine(vmId);
    await machine.release();
    this.machines.delete(vmId);
  }

  vms(): string[] {
    return [...this.machines.keys()];
  }

  counters(): Record<string, number> {
    const counts: Record<string, number> = { vms: this.machines.size };
    for (const { known } of this.machines.values()) counts[`vms ${known.state}`] = (counts[`vms ${known.state}`] ?? 0) + 1;
    return counts;
  }
}
