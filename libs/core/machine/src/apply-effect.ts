import type { Processor } from '@ringside/x86';
import type { Effect } from './effect.js';

/** Effects that change the processor or its memory; the rest (deadline, activity, interrupt) are the driver's. */
export type ProcessorEffect = Exclude<Effect, { kind: 'boundary' | 'interrupt' | 'deadline' | 'activity' }>;

export function applyToProcessor(processor: Processor, effect: ProcessorEffect): void {
  switch (effect.kind) {
    case 'register': return processor.setRegister(effect.register, effect.value);
    case 'segment': return processor.setSegment(effect.segment, effect);
    case 'table': return processor.setTable(effect.table, effect);
    case 'msr': return processor.writeMsr(effect.msr, effect.value);
    case 'memory': return processor.writePhysical(effect.space, effect.address, effect.bytes);
    case 'frame': return processor.mapFrame(effect.frame, effect.target);
    case 'flush': return processor.flushTlb(effect.scope);
    case 'flush-page': return processor.flushPage(effect.linear);
    case 'controls': return processor.setControls(effect.controls);
    default: { const unreachable: never = effect; return unreachable; }
  }
}
