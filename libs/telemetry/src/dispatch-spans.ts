import { SpanKind } from '@opentelemetry/api';
import { subjectTemplate, TRANSLATE_SUBJECT, type FrameHeader, type SubjectGroup, type TraceContext } from '@ringside/protocol';
import { Attribute } from './attributes.js';
import type { OpenSpan, Telemetry } from './telemetry.js';

/** The part of a dispatched message that a span tells of. */
export interface Dispatched { vmId: string; /** Null: a subject that all VMs share. */ group: SubjectGroup | null; last: string; header: FrameHeader; trace: TraceContext | null }

/** Server spans: one around the handler of each sampled frame. What the handler asks of others becomes its child. */
export class DispatchSpans {
  constructor(private readonly telemetry: Telemetry) {}

  begin(context: Dispatched): OpenSpan {
    const span = this.telemetry.span(spanName(context.group, context.last), SpanKind.SERVER, context.header.trace, {
      [Attribute.VmId]: context.vmId, [Attribute.VcpuId]: 0, [Attribute.Epoch]: context.header.epoch, [Attribute.Seq]: context.header.seq, [Attribute.Ordinal]: context.header.ordinal,
      ...messaging(context.vmId, context.group, context.last),
    });
    context.trace = span.context;
    return span;
  }

  end(begun: unknown, error: unknown): void {
    (begun as OpenSpan).end(error);
  }
}

/** `exit.cpuid` is called by its reason, a bus cycle by its bus. */
export function spanName(group: SubjectGroup | null, last: string): string {
  return group === null || group === 'exit' || group === 'io' ? last : group === 'cpu' && last === 'read' ? 'guest memory read' : `${group} ${last}`;
}

export function messaging(vmId: string, group: SubjectGroup | null, last: string): Record<string, string> {
  if (group === null) return { [Attribute.MessagingSystem]: 'nats', [Attribute.Destination]: TRANSLATE_SUBJECT };
  return {
    [Attribute.MessagingSystem]: 'nats',
    [Attribute.Destination]: `ringside.vm.${vmId}.${group}.${last}`,
    [Attribute.DestinationTemplate]: subjectTemplate(group, last),
  };
}

/** `port write`, `mmio read`, `time`: the same for whoever sends it. */
export function busSpanName({ bus, write }: { bus: string; write: boolean }): string {
  return bus === 'port' || bus === 'mmio' ? `${bus} ${write ? 'write' : 'read'}` : bus;
}
