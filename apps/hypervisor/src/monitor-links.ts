import type { BusEndpoint, BusReply, BusRequest, GuestMemoryReader } from '@ringside/machine';
import type { FrameContext, NatsClient } from '@ringside/nats-transport';
import { Hop, cpuSubject, decodeBusReply, decodeMemoryData, encodeBusRequest, encodeMemoryRead, ioSubject, type MemoryReadRequest, type TraceContext } from '@ringside/protocol';
import { Attribute, NESTED_LIMIT, SpanKind, busSpanName, messaging, spanName, type OpenSpan, type Telemetry } from '@ringside/telemetry';
import type { MonitorPorts } from '@ringside/vmm';

/**
 * Whom ring -1 asks while it answers an exit of one VM: the board, and the standing guest's memory. One exit is answered
 * at a time, so what these messages belong to is set when it arrives.
 */
export class MonitorLinks implements MonitorPorts {
  readonly bus: BusEndpoint = { cycle: (request) => this.cycle(request) };
  readonly memory: GuestMemoryReader = {
    read: async (space, address, length) => await this.read({ space, address, length }) ?? new Uint8Array(length).fill(0xff),
    readLinear: (address, length) => this.read({ space: 'linear', address, length }),
  };
  private exit: FrameContext | null = null;
  private spans = 0;
  private reads = 0;

  constructor(private readonly vmId: string, private readonly client: NatsClient, private readonly telemetry: Telemetry, readonly stopwatch: () => number) {}

  /** An exit is about to be answered. */
  begin(exit: FrameContext): void {
    this.exit = exit;
    this.spans = 0;
    this.reads = 0;
  }

  private async cycle(request: BusRequest): Promise<BusReply> {
    const span = this.span(busSpanName(request), { [Attribute.Address]: `0x${request.address.toString(16)}`, [Attribute.Size]: request.size, [Attribute.Count]: request.count, ...messaging(this.vmId, 'io', request.bus) });
    return this.traced(span, async (trace) => decodeBusReply(await this.client.call(ioSubject(this.vmId, request.bus), encodeBusRequest(request, Hop.Hypervisor, trace))));
  }

  private async read(request: MemoryReadRequest): Promise<Uint8Array | null> {
    const { epoch = 0, seq = 0 } = this.exit?.header ?? {};
    const span = this.span(spanName('cpu', 'read'), { [Attribute.Address]: `0x${request.address.toString(16)}`, [Attribute.Size]: request.length, ...messaging(this.vmId, 'cpu', 'read') });
    const id = { hop: Hop.Hypervisor, epoch, seq, ordinal: this.reads++ };
    return this.traced(span, async (trace) => decodeMemoryData(await this.client.call(cpuSubject(this.vmId, 'read'), encodeMemoryRead(request, id, trace))));
  }

  private span(name: string, attributes: Record<string, string | number>): OpenSpan | null {
    const parent = this.exit?.trace ?? null;
    // guest-cpu has kept room for so many in the trace, and counts the rest.
    if (parent === null || this.spans++ >= NESTED_LIMIT) return null;
    return this.telemetry.span(name, SpanKind.CLIENT, parent, { [Attribute.VmId]: this.vmId, [Attribute.VcpuId]: 0, ...attributes });
  }

  private async traced<T>(span: OpenSpan | null, ask: (trace: TraceContext | null) => Promise<T>): Promise<T> {
    if (span === null) return ask(null);
    try {
      const answer = await ask(span.context);
      span.end();
      return answer;
    } catch (error) {
      span.end(error);
      throw error;
    }
  }
}
