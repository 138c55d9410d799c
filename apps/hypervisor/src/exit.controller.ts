import { Controller } from '@nestjs/common';
import { Ctx, MessagePattern, Payload } from '@nestjs/microservices';
import { FrameContext } from '@ringside/nats-transport';
import { VmRegistry } from './vm-registry.js';

/** Exits of the VMs that this instance has claimed; the registry of handlers by reason is the monitor's. */
@Controller()
export class ExitController {
  constructor(private readonly registry: VmRegistry) {}

  @MessagePattern('ringside.vm.{id}.exit.*')
  exit(@Payload() frame: Uint8Array, @Ctx() context: FrameContext): Promise<Uint8Array> {
    return this.registry.machine(context.vmId).exit(frame, context);
  }
}
