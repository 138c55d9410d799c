import type { ServiceDefinition } from '@ringside/nats-transport/service';
import { ExitController } from './exit.controller.js';
import { ImageController } from './image.controller.js';
import { ImageStore } from './image-store.js';
import { VmController } from './vm.controller.js';
import { VmRegistry } from './vm-registry.js';

export const HYPERVISOR: ServiceDefinition = {
  service: 'hypervisor', patience: 0.6, controllers: [ExitController, VmController, ImageController], providers: [VmRegistry, ImageStore], counters: VmRegistry,
};
