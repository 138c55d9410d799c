import { Controller } from '@nestjs/common';
import { MessagePattern } from '@nestjs/microservices';
import type { VmSpec } from '@ringside/machine';
import { ServiceRuntime } from '@ringside/nats-transport/service';
import type { DisassembledLine, MachineReport, RegistersView, TranslatedView, VmRecord, VmReference, VmStatistics } from '@ringside/protocol';
import { VmRegistry } from './vm-registry.js';

/** A VM's life, for people and scripts. What only its processor knows is asked there. */
@Controller()
export class VmController {
  constructor(private readonly registry: VmRegistry, private readonly runtime: ServiceRuntime) {}

  @MessagePattern('ringside.ctl.vm.create')
  async create({ spec, start }: { spec: VmSpec; start: boolean }): Promise<VmRecord> {
    const machine = await this.registry.create(spec);
    if (start) await machine.start();
    return machine.record();
  }

  @MessagePattern('ringside.ctl.vm.list', { idempotent: true })
  list(): Promise<VmRecord[]> {
    return Promise.all(this.registry.all().map((machine) => machine.record()));
  }

  @MessagePattern('ringside.ctl.vm.show', { idempotent: true })
  show({ vmId }: VmReference): Promise<VmRecord> {
    return this.registry.machine(vmId).record();
  }

  @MessagePattern('ringside.ctl.vm.start')
  async start({ vmId }: VmReference): Promise<VmRecord> {
    const machine = this.registry.machine(vmId);
    await machine.start();
    return machine.record();
  }

  @MessagePattern('ringside.ctl.vm.pause')
  async pause({ vmId }: VmReference): Promise<VmRecord> {
    const machine = this.registry.machine(vmId);
    await machine.pause();
    return machine.record();
  }

  @MessagePattern('ringside.ctl.vm.stop')
  async stop({ vmId }: VmReference): Promise<VmRecord> {
    const machine = this.registry.machine(vmId);
    await machine.stop('stopped by request');
    return machine.record();
  }

  @MessagePattern('ringside.ctl.vm.delete')
  async delete({ vmId }: VmReference): Promise<Record<string, never>> {
    await this.registry.delete(vmId);
    return {};
  }

  @MessagePattern('ringside.ctl.vm.registers', { idempotent: true })
  registers({ vmId }: VmReference): Promise<RegistersView> {
    this.registry.machine(vmId);
    return this.runtime.client.cpu(vmId, 'registers', {});
  }

  @MessagePattern('ringside.ctl.vm.step')
  step({ vmId, instructions, exits }: VmReference & { instructions?: number; exits?: number }): Promise<RegistersView> {
    this.registry.machine(vmId);
    return this.runtime.client.cpu(vmId, 'step', { ...(instructions === undefined ? {} : { instructions }), ...(exits === undefined ? {} : { exits }) });
  }

  @MessagePattern('ringside.ctl.vm.stats', { idempotent: true })
  statistics({ vmId }: VmReference): Promise<VmStatistics> {
    this.registry.machine(vmId);
    return this.runtime.client.cpu(vmId, 'stats', {});
  }

  @MessagePattern('ringside.ctl.vm.disassemble', { idempotent: true })
  disassemble({ vmId, address, count }: VmReference & { address: number; count: number }): Promise<DisassembledLine[]> {
    this.registry.machine(vmId);
    return this.runtime.client.cpu(vmId, 'disassemble', { address, count });
  }

  @MessagePattern('ringside.ctl.vm.translated', { idempotent: true })
  translated({ vmId, address, count }: VmReference & { address: number; count: number }): Promise<TranslatedView> {
    this.registry.machine(vmId);
    return this.runtime.client.cpu(vmId, 'translated', { address, count });
  }

  /** guest-cpu reports; a VM that has been deleted meanwhile is nobody's news. */
  @MessagePattern('ringside.ctl.vm.changed')
  changed(report: MachineReport): Record<string, never> {
    this.registry.find(report.vmId)?.heard(report);
    return {};
  }
}
