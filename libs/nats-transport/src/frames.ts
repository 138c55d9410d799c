import { Injectable, Module, SetMetadata, type DynamicModule, type OnModuleInit } from '@nestjs/common';
import { DiscoveryModule, DiscoveryService, MetadataScanner } from '@nestjs/core';
import type { FrameHandler, FrameOptions } from './frame-context.js';
import { NatsServer } from './nats-server.js';

const FRAMES = 'ringside:frames';
interface FrameSubject extends FrameOptions { subject: string }

/**
 * A controller's method that answers binary frames, on a VM's subjects (`ringside.vm.{id}.exit.*`) or on a shared one. The exit path's
 * `@MessagePattern`: the method is called with (frame, context) and nothing between, since Nest's pipeline (guards, pipes, interceptors,
 * filters: a dozen promises a message) would cost more than ring -1's handler. JSON on the control plane keeps `@MessagePattern`.
 */
export const Frames = (subject: string, options: FrameOptions = {}): MethodDecorator => SetMetadata(FRAMES, { subject, ...options } satisfies FrameSubject);

/** Finds the methods that `@Frames` marks and gives them to the transport. */
@Injectable()
class FrameExplorer implements OnModuleInit {
  constructor(private readonly discovery: DiscoveryService, private readonly scanner: MetadataScanner, private readonly server: NatsServer) {}

  onModuleInit(): void {
    for (const { instance } of this.discovery.getControllers() as { instance: Record<string, FrameHandler> | null }[]) {
      if (instance === null) continue;
      for (const name of this.scanner.getAllMethodNames(Object.getPrototypeOf(instance) as object)) {
        const method = instance[name] as FrameHandler;
        const marked = Reflect.getMetadata(FRAMES, method) as FrameSubject | undefined;
        if (marked !== undefined) this.server.frames(marked.subject, method.bind(instance), marked);
      }
    }
  }
}

/** Part of every application whose controllers answer frames. */
@Module({})
export class FramesModule {
  static for(server: NatsServer): DynamicModule {
    return { module: FramesModule, imports: [DiscoveryModule], providers: [{ provide: NatsServer, useValue: server }, FrameExplorer] };
  }
}
