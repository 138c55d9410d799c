import type { ServiceDefinition } from '@ringside/nats-transport/service';
import { CpuController } from './cpu.controller.js';
import { MachineController } from './machine.controller.js';
import { MachineHost } from './machine-host.js';

export const GUEST_CPU: ServiceDefinition = {
  service: 'guest-cpu', controllers: [MachineController, CpuController], providers: [MachineHost], counters: MachineHost,
};
