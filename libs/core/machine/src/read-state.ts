import type { Processor } from '@ringside/x86';
import { SEGMENT_NAMES, type SegmentName } from './effect.js';
import type { RegisterState, SegmentState } from './exit.js';

/** The state groups that an exit can carry, read from a standing processor. */
const EFLAGS_IF = 1 << 9, CR0_TS = 1 << 3;

export function readRegisters(processor: Processor): RegisterState {
  return {
    general: processor.cpu.u32.slice(0, 8), eip: processor.getRegister('eip'), eflags: visibleFlags(processor),
    cr0: visibleCr0(processor), cr2: processor.getRegister('cr2'), cr3: processor.getRegister('cr3'), cr4: processor.getRegister('cr4'),
    cpl: processor.getRegister('cpl'),
  };
}

export function readSegments(processor: Processor): Record<SegmentName, SegmentState> {
  return Object.fromEntries(SEGMENT_NAMES.map((name) => [name, processor.getSegment(name)])) as Record<SegmentName, SegmentState>;
}

/** And so is CR0.TS; the rest of CR0 is the monitor's. */
function visibleCr0(processor: Processor): number {
  const { translatedCode } = processor.cpu;
  const cr0 = processor.getRegister('cr0');
  return translatedCode === null ? cr0 : ((cr0 & ~CR0_TS) | (translatedCode.taskSwitched ? CR0_TS : 0)) >>> 0;
}

/** Under binary translation the IF that counts is the virtual one, which translated code keeps in monitor space. */
function visibleFlags(processor: Processor): number {
  const { translatedCode } = processor.cpu;
  const flags = processor.getRegister('eflags');
  return translatedCode === null ? flags : ((flags & ~EFLAGS_IF) | (translatedCode.interruptFlag ? EFLAGS_IF : 0)) >>> 0;
}
