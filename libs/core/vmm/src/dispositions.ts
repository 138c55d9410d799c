import type { Disposition } from '@ringside/machine';
import { EventType, GP, UD } from '@ringside/x86';

/** The instruction is done. */
export const RETIRE: Disposition = { kind: 'retire', data: null };
/** The instruction is executed again, or the guest goes on between two instructions. */
export const RESUME: Disposition = { kind: 'resume' };

/** #UD: the instruction does not exist on this processor. */
export const INVALID_OPCODE: Disposition = { kind: 'inject', event: { vector: UD, type: EventType.HardwareException, errorCode: null }, cr2: null };
/** #GP(0). */
export const GENERAL_PROTECTION: Disposition = { kind: 'inject', event: { vector: GP, type: EventType.HardwareException, errorCode: 0 }, cr2: null };
