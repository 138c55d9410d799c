import 'reflect-metadata';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { MicroserviceOptions } from '@nestjs/microservices';
import { guestImage } from '@ringside/guests';
import { whenSettled, type ExitHandler, type MaybePromise } from '@ringside/machine';
import { connectNats, Frames, FramesModule, instanceName, NatsServer, NatsWire, type FrameContext } from '@ringside/nats-transport';
import { decodeExit, encodeExitReply } from '@ringside/protocol';
import { DispatchSpans, Telemetry } from '@ringside/telemetry';
import { createMonitor, type MonitorPorts } from '@ringside/vmm';
import { benchExit, RAW_SUBJECT, replyBytes, SPEC, VMS, vmId } from './bus-exit.js';

let ringMinusOne: ExitHandler;

/** What the hypervisor's controller does: decode, ring -1's own handler, encode. */
@Controller()
class ExitController {
  @Frames('ringside.vm.{id}.exit.*')
  exit(frame: Uint8Array, context: FrameContext): MaybePromise<Uint8Array> {
    return whenSettled(ringMinusOne.exit(decodeExit(frame, context.vmId)), (reply) => encodeExitReply(reply, context.header));
  }
}

@Module({})
class ResponderModule {}

/** Second process: answers raw requests and exits on one connection, until its standard input ends. */
export async function respond(url: string, collector: string): Promise<void> {
  const connection = await connectNats(url, instanceName('responder'));
  const telemetry = new Telemetry({ service: 'hypervisor', instance: 'bench', endpoint: collector, warn: (message) => { console.error(message); } });
  const unused = (): never => { throw new Error('a CPUID exit asks nobody'); };
  const ports: MonitorPorts = { bus: { cycle: unused }, memory: { read: unused, readLinear: unused }, stopwatch: () => performance.now() * 1e6 };
  ringMinusOne = await createMonitor(SPEC, await guestImage('ringlet'), ports);
  const rawReply = replyBytes(await ringMinusOne.exit(benchExit(vmId(0), 1)));
  connection.subscribe(RAW_SUBJECT, { callback: (_, message) => { message.respond(rawReply); } });
  const server = new NatsServer({ wire: new NatsWire(connection), queue: 'bench', dispatchHook: new DispatchSpans(telemetry) });
  const app = await NestFactory.createMicroservice<MicroserviceOptions>({ module: ResponderModule, imports: [FramesModule.for(server)], controllers: [ExitController] }, { strategy: server, logger: false });
  await app.listen();
  for (let index = 0; index < VMS; index++) server.claim(vmId(index), 1);
  await connection.flush();
  console.log('ready');
  await new Promise((resolve) => process.stdin.resume().once('end', resolve));
  await app.close();
  await telemetry.shutdown();
  await connection.close();
}
