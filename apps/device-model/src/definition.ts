import type { ServiceDefinition } from '@ringside/nats-transport/service';
import { BoardController } from './board.controller.js';
import { BoardHost } from './board-host.js';
import { ConsoleController } from './console.controller.js';
import { DocumentController } from './document.controller.js';

export const DEVICE_MODEL: ServiceDefinition = {
  service: 'device-model', controllers: [BoardController, ConsoleController, DocumentController], providers: [BoardHost], counters: BoardHost,
};
