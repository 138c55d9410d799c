import { Controller } from '@nestjs/common';
import { Ctx, MessagePattern, Payload } from '@nestjs/microservices';
import { ControlContext, Frames, type FrameContext } from '@ringside/nats-transport';
import { decodeApplyEffects, decodeMemoryRead, encodeAcknowledge, encodeMemoryData, type DisassembledLine, type MachineDigest, type MachineReport, type RegistersView, type TranslatedView, type VmStatistics } from '@ringside/protocol';
import { MachineHost } from './machine-host.js';

/** What others ask of a VM's processor: `ringside.vm.<id>.cpu.<verb>`. */
@Controller()
export class CpuController {
  constructor(private readonly machines: MachineHost) {}

  @Frames('ringside.vm.{id}.cpu.read', { idempotent: true })
  read(frame: Uint8Array, context: FrameContext): Uint8Array {
    return encodeMemoryData(this.machines.machine(context.vmId).read(decodeMemoryRead(frame)), context.header);
  }

  @Frames('ringside.vm.{id}.cpu.effects')
  effects(frame: Uint8Array, context: FrameContext): Uint8Array {
    this.machines.machine(context.vmId).apply(decodeApplyEffects(frame));
    return encodeAcknowledge(context.header);
  }

  @MessagePattern('ringside.vm.{id}.cpu.run')
  run(@Payload() _: unknown, @Ctx() { vmId }: ControlContext): MachineReport {
    const machine = this.machines.machine(vmId);
    machine.run();
    return machine.report();
  }

  @MessagePattern('ringside.vm.{id}.cpu.pause')
  async pause(@Payload() _: unknown, @Ctx() { vmId }: ControlContext): Promise<MachineReport> {
    const machine = this.machines.machine(vmId);
    await machine.pause();
    return machine.report();
  }

  @MessagePattern('ringside.vm.{id}.cpu.kick')
  kick(@Payload() _: unknown, @Ctx() { vmId }: ControlContext): Record<string, never> {
    this.machines.machine(vmId).kick();
    return {};
  }

  @MessagePattern('ringside.vm.{id}.cpu.step')
  async step(@Payload() limit: { instructions?: number; exits?: number }, @Ctx() { vmId }: ControlContext): Promise<RegistersView> {
    const machine = this.machines.machine(vmId);
    await machine.step(limit);
    return machine.registers();
  }

  @MessagePattern('ringside.vm.{id}.cpu.registers', { idempotent: true })
  registers(@Payload() _: unknown, @Ctx() { vmId }: ControlContext): RegistersView {
    return this.machines.machine(vmId).registers();
  }

  @MessagePattern('ringside.vm.{id}.cpu.stats', { idempotent: true })
  statistics(@Payload() _: unknown, @Ctx() { vmId }: ControlContext): VmStatistics {
    return this.machines.machine(vmId).statistics();
  }

  @MessagePattern('ringside.vm.{id}.cpu.disassemble', { idempotent: true })
  disassemble(@Payload() { address, count }: { address: number; count: number }, @Ctx() { vmId }: ControlContext): DisassembledLine[] {
    return this.machines.machine(vmId).disassemble(address, count);
  }

  @MessagePattern('ringside.vm.{id}.cpu.translated', { idempotent: true })
  translated(@Payload() { address, count }: { address: number; count: number }, @Ctx() { vmId }: ControlContext): TranslatedView {
    return this.machines.machine(vmId).translated(address, count);
  }

  @MessagePattern('ringside.vm.{id}.cpu.digest', { idempotent: true })
  digest(@Payload() _: unknown, @Ctx() { vmId }: ControlContext): MachineDigest {
    return this.machines.machine(vmId).digest();
  }

  @MessagePattern('ringside.vm.{id}.cpu.stop')
  async stop(@Payload() { why }: { why: string }, @Ctx() { vmId }: ControlContext): Promise<MachineReport> {
    const machine = this.machines.machine(vmId);
    await machine.stop(why);
    return machine.report();
  }

  @MessagePattern('ringside.vm.{id}.cpu.release')
  async release(@Payload() _: unknown, @Ctx() { vmId }: ControlContext): Promise<Record<string, never>> {
    await this.machines.release(vmId);
    return {};
  }
}
