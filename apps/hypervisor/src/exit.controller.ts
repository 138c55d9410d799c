import { Controller } from '@nestjs/common';
import type { MaybePromise } from '@ringside/machine';
import { Frames, type FrameContext } from '@ringside/nats-transport';
import { VmRegistry } from './vm-registry.js';

/** Exits of the VMs that this instance has claimed; the registry of handlers by reason is the monitor's. */
@Controller()
export class ExitController {
  constructor(private readonly registry: VmRegistry) {}

  @Frames('ringside.vm.{id}.exit.*')
  exit(frame: Uint8Array, context: FrameContext): MaybePromise<Uint8Array> {
    return this.registry.machine(context.vmId).exit(frame, context);
  }
}
