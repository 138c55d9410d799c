import { StateGroup, type ExitReply } from '@ringside/machine';
import { EventType, ExitReason } from '@ringside/x86';
import { RESUME, RETIRE } from '../../dispositions.js';
import { bounceTrap } from '../bounce.js';
import { emulateForced, emulatePrivileged } from '../emulate-privileged.js';
import type { ParavirtExit } from '../paravirt-exit.js';
import { writeTaskSwitched } from '../hypercalls/cpu-state.js';
import type { ParavirtExitEntry } from './paravirt-registry.js';

const INVALID_OPCODE = 6, DEVICE_NOT_AVAILABLE = 7, DOUBLE_FAULT = 8, GENERAL_PROTECTION = 13, PAGE_FAULT = 14;
const CR0_TS = 8;
/** Error code of #PF: the access was made in ring 3 (SDM Vol. 3A 4.7). */
const PAGE_FAULT_USER = 4;
/** INT n is two bytes. */
const INT_LENGTH = 2;

/** An event whose gate is Xen's: emulate what a privileged instruction wanted, or give the guest its exception. */
export const deprivilegedException: ParavirtExitEntry = {
  reason: ExitReason.DeprivilegedException,
  groups: StateGroup.Registers | StateGroup.Segments,
  summary: 'An exception or privileged instruction traps; ring -1 emulates the instruction, or builds the exception\'s frame on the guest\'s kernel stack.',
  async handle(exit): Promise<ExitReply> {
    const { domain, frame, transaction } = exit;
    const { vector, type, errorCode } = transaction.exit.event!;
    if (type === EventType.SoftwareInterrupt || type === EventType.SoftwareException || type === EventType.PrivilegedSoftwareException) {
      frame.skipInstruction();
      await bounceTrap(exit, vector, 0);
      return exit.finish(RETIRE, true);
    }
    switch (vector) {
      case GENERAL_PROTECTION: return bounceGeneralProtection(exit, errorCode ?? 0);
      case INVALID_OPCODE: {
        const length = await emulateForced(exit);
        if (length > 0) return emulated(exit, length);
        break;
      }
      case DEVICE_NOT_AVAILABLE:
        // Xen clears TS before it tells the guest, which is about to load its FPU state.
        if ((frame.cr0 & CR0_TS) !== 0) writeTaskSwitched(exit, false);
        break;
      case PAGE_FAULT: {
        const { cr2 } = transaction.exit.registers!;
        domain.cr2 = cr2;
        domain.events.setCr2(transaction, cr2);
        await bounceTrap(exit, vector, ((errorCode ?? 0) & ~PAGE_FAULT_USER) | (domain.guestRing(frame) === 3 ? PAGE_FAULT_USER : 0));
        return exit.finish(RESUME, true);
      }
      case DOUBLE_FAULT:
        domain.crash(transaction, 'the guest\'s kernel stack could not take an exception\'s frame (double fault)');
        return exit.finish(RESUME, false);
      default:
    }
    await bounceTrap(exit, vector, errorCode ?? 0);
    return exit.finish(RESUME, true);
  },
};

/** #GP of the guest, or an attempt that shall end as one: emulate what it wanted, lead INT n through the trap table, or deliver it. */
export async function bounceGeneralProtection(exit: ParavirtExit, errorCode: number): Promise<ExitReply> {
  const { domain, frame } = exit;
  // Error code: IDT bit set and EXT clear: an INT n whose gate the guest may not use. Its trap table decides.
  if ((errorCode & 3) === 2) {
    const vector = (errorCode >>> 3) & 0xff;
    const trap = domain.trapTable.get(vector);
    if (trap !== undefined && trap.dpl >= (domain.guestRing(frame) === 3 ? 3 : 1)) {
      frame.eip = (frame.eip + INT_LENGTH) >>> 0;
      await bounceTrap(exit, vector, 0);
      return exit.finish(RESUME, true);
    }
  } else if (errorCode === 0) {
    const outcome = await emulatePrivileged(exit);
    if (outcome.kind === 'done') return emulated(exit, outcome.length);
    if (outcome.kind === 'page-fault') {
      domain.cr2 = outcome.linear;
      domain.events.setCr2(exit.transaction, outcome.linear);
      await bounceTrap(exit, PAGE_FAULT, outcome.errorCode);
      return exit.finish(RESUME, true);
    }
  }
  await bounceTrap(exit, GENERAL_PROTECTION, errorCode);
  return exit.finish(RESUME, true);
}

/** The instruction is done: EIP behind it, and it counts as executed by the guest. */
function emulated(exit: ParavirtExit, length: number): Promise<ExitReply> {
  exit.frame.eip = (exit.frame.eip + length) >>> 0;
  return exit.finish(RETIRE, true);
}
