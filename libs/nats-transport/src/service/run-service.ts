import 'reflect-metadata';
import { Module, type DynamicModule, type Provider, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { MicroserviceOptions } from '@nestjs/microservices';
import { TerminusModule } from '@nestjs/terminus';
import type { ServiceStatus } from '@ringside/protocol';
import { FramesModule } from '../frames.js';
import { PassThroughFilter } from '../pass-through.filter.js';
import { readEnvironment, type ServiceEnvironment } from './environment.js';
import { HealthController } from './health.controller.js';
import { ServiceRuntime } from './service-runtime.js';
import { ServiceCounters, StatusController } from './status.controller.js';

/** What an app brings: its controllers and providers. One provider stands for `ServiceCounters` and may stop what it runs. */
export interface ServiceDefinition {
  service: ServiceStatus['service'];
  /** See ServiceRuntime.start. */
  patience?: number;
  controllers: Type[];
  providers: Provider[];
  /** Provider that counts for `status`; its `stop` is awaited before the transport closes. */
  counters: Type<ServiceCounters & { stop?(): Promise<void> }>;
}

export interface RunningService { runtime: ServiceRuntime; stop(): Promise<void> }

@Module({})
class ServiceModule {}

function moduleOf(definition: ServiceDefinition, runtime: ServiceRuntime): DynamicModule {
  return {
    module: ServiceModule,
    imports: [TerminusModule.forRoot({ logger: false }), FramesModule.for(runtime.server)],
    controllers: [HealthController, StatusController, ...definition.controllers],
    providers: [{ provide: ServiceRuntime, useValue: runtime }, { provide: ServiceCounters, useExisting: definition.counters }, ...definition.providers],
  };
}

/**
 * Start a service: health endpoints over HTTP, everything else over NATS.
 * @throws Error with one sentence a user can act on
 */
export async function startService(definition: ServiceDefinition, environment: ServiceEnvironment): Promise<RunningService> {
  const runtime = await ServiceRuntime.start(definition.service, environment, definition.patience);
  try {
    const app = await NestFactory.create(moduleOf(definition, runtime), { logger: false, abortOnError: false });
    // On the messages' side alone: the health checks' HTTP errors keep Nest's own answers.
    app.connectMicroservice<MicroserviceOptions>({ strategy: runtime.server }, { deferInitialization: true }).useGlobalFilters(new PassThroughFilter());
    await app.startAllMicroservices();
    await app.listen(environment.port, environment.host);
    const address = (app.getHttpServer() as { address(): { port: number } | null }).address();
    runtime.port = address?.port ?? 0;
    // What fails before this is thrown, and told in one sentence.
    app.useLogger(['error', 'warn']);
    // Subscriptions have reached the server before anybody is told that the service is ready.
    await runtime.connection.flush();
    const counters = app.get<ServiceCounters & { stop?(): Promise<void> }>(definition.counters);
    return {
      runtime,
      stop: async () => {
        await counters.stop?.();
        await app.close();
        await runtime.close();
      },
    };
  } catch (error) {
    await runtime.close();
    throw readable(error, environment);
  }
}

function readable(error: unknown, { port }: ServiceEnvironment): unknown {
  if ((error as { code?: string }).code === 'EADDRINUSE') return new Error(`port ${port} is in use: set PORT to another one, or to 0 for any`, { cause: error });
  return error;
}

/** A service as a process: runs until SIGTERM or SIGINT, then stops at an exit boundary, answers what is under way, delivers spans. */
export async function runService(definition: ServiceDefinition): Promise<void> {
  try {
    const running = await startService(definition, readEnvironment(process.env));
    console.error(`${definition.service}: ready; health on port ${running.runtime.port}, NATS at ${running.runtime.connection.getServer()}`);
    let stopping = false;
    const stop = (): void => {
      if (stopping) return;
      stopping = true;
      running.stop().then(() => process.exit(0), (error: unknown) => {
        console.error(`${definition.service}: ${error instanceof Error ? error.message : String(error)}`);
        process.exit(1);
      });
    };
    process.on('SIGTERM', stop);
    process.on('SIGINT', stop);
  } catch (error) {
    console.error(`${definition.service}: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(1);
  }
}
