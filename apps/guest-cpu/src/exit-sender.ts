import type { Exit, ExitHandler, ExitReply } from '@ringside/machine';
import type { NatsClient } from '@ringside/nats-transport';
import { decodeExitReply, encodeExit, exitSubject } from '@ringside/protocol';
import { Attribute, RING_MINUS_ONE, messaging, type MachineTracer, type OpenSpan } from '@ringside/telemetry';
import { exitReasonName } from '@ringside/x86';

/** Where the guest stands, for spans: exits do not always carry it. `now`: virtual time, ns. */
export interface GuestPosition { eip: number; cpl: number; now: number }

/** Ring -1 at the far end of a message. */
export class ExitSender implements ExitHandler {
  constructor(private readonly client: NatsClient, private readonly tracer: MachineTracer | null, private readonly position: () => GuestPosition) {}

  async exit(exit: Exit): Promise<ExitReply> {
    const span = this.tracer?.message(exitReasonName(exit.reason), () => this.attributes(exit)) ?? null;
    try {
      const reply = decodeExitReply(await this.client.call(exitSubject(exit.vmId, exit.reason), encodeExit(exit, span?.context ?? null)));
      if (span !== null) this.answered(span, reply);
      return reply;
    } catch (error) {
      span?.end(error);
      throw error;
    }
  }

  private answered(span: OpenSpan, reply: ExitReply): void {
    this.tracer!.nested(reply.cost.nested.reduce((sum, { count }) => sum + count, 0));
    span.set({ [Attribute.ExitDisposition]: reply.disposition.kind });
    span.end();
  }

  private attributes(exit: Exit): Record<string, string | number> {
    const { eip, cpl } = this.position();
    return {
      [Attribute.Epoch]: exit.epoch, [Attribute.Seq]: exit.seq, [Attribute.Now]: exit.now,
      [Attribute.ExitReason]: exitReasonName(exit.reason), [Attribute.ExitQualification]: `0x${exit.qualification.toString(16)}`,
      [Attribute.GuestEip]: `0x${eip.toString(16)}`, [Attribute.RingFrom]: cpl, [Attribute.RingTo]: RING_MINUS_ONE,
      ...messaging(exit.vmId, 'exit', exitReasonName(exit.reason)),
    };
  }
}
