import { Controller } from '@nestjs/common';
import { MessagePattern } from '@nestjs/microservices';
import type { CreateMachine } from '@ringside/protocol';
import { MachineHost } from './machine-host.js';

@Controller()
export class MachineController {
  constructor(private readonly machines: MachineHost) {}

  @MessagePattern('ringside.ctl.cpu.create')
  async create(order: CreateMachine): Promise<Record<string, never>> {
    await this.machines.create(order);
    return {};
  }
}
