import type { BusEndpoint, BusReply, BusRequest } from '@ringside/machine';
import type { NatsClient } from '@ringside/nats-transport';
import { Hop, decodeBusReply, encodeBusRequest, ioSubject } from '@ringside/protocol';
import { Attribute, busSpanName, messaging, type MachineTracer } from '@ringside/telemetry';
import type { GuestPosition } from './exit-sender.js';

/** The board at the far end of a message: all of it on `native`, granted ports elsewhere. */
export class BusSender implements BusEndpoint {
  constructor(private readonly client: NatsClient, private readonly tracer: MachineTracer | null, private readonly position: () => GuestPosition) {}

  async cycle(request: BusRequest): Promise<BusReply> {
    const span = this.tracer?.message(busSpanName(request), () => this.attributes(request)) ?? null;
    try {
      const reply = decodeBusReply(await this.client.call(ioSubject(request.vmId, request.bus), encodeBusRequest(request, Hop.GuestCpu, span?.context ?? null)));
      span?.end();
      return reply;
    } catch (error) {
      span?.end(error);
      throw error;
    }
  }

  private attributes(request: BusRequest): Record<string, string | number> {
    const { eip, cpl } = this.position();
    return {
      [Attribute.Epoch]: request.epoch, [Attribute.Seq]: request.seq, [Attribute.Now]: request.now,
      [Attribute.Address]: `0x${request.address.toString(16)}`, [Attribute.Size]: request.size, [Attribute.Count]: request.count,
      [Attribute.GuestEip]: `0x${eip.toString(16)}`, [Attribute.RingFrom]: cpl, ...messaging(request.vmId, 'io', request.bus),
    };
  }
}
