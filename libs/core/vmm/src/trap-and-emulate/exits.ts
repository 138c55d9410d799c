import { StateGroup, type Disposition, type ExitReply } from '@ringside/machine';
import { EventType, ExitReason, exitReasonName, type ProcessorEvent } from '@ringside/x86';
import { deliverEvent, setCr2, type VirtualEvent } from '../deprivileged/deliver-event.js';
import type { DeprivilegedExit } from '../deprivileged/deprivileged-exit.js';
import { tableWritten } from '../deprivileged/descriptor-tables.js';
import { emulate } from '../deprivileged/emulate.js';
import { GuestException } from '../deprivileged/linear-memory.js';
import { RESUME, RETIRE } from '../dispositions.js';

const PAGE_FAULT = 14, GENERAL_PROTECTION = 13;
export const TRAP_AND_EMULATE_GROUPS = StateGroup.Registers | StateGroup.Segments;

/** How one exit reason of a kernel in ring 1 is answered. */
export interface TrapEntry {
  readonly reason: ExitReason;
  readonly summary: string;
  handle(exit: DeprivilegedExit): Promise<ExitReply>;
}

const deprivilegedException: TrapEntry = {
  reason: ExitReason.DeprivilegedException,
  summary: 'Every exception and INT n traps; ring -1 fills its shadow in, emulates the privileged instruction, or delivers the event through the guest\'s own IDT.',
  async handle(exit) {
    const { transaction, machine } = exit;
    const event = transaction.exit.event!;
    if (event.type !== EventType.HardwareException) return softwareInterrupt(exit, event);
    if (event.vector === PAGE_FAULT) {
      const { access } = transaction.exit;
      if (access !== null) {
        const { data } = await machine.cycle(transaction, 'mmio', access, false);
        return reply(exit, { kind: 'retire', data: access.write ? null : data });
      }
      const outcome = machine.shadow.fault(transaction, transaction.exit);
      if (outcome === 'filled') return reply(exit, RESUME);
      setCr2(exit, transaction.exit.guestLinear);
      await deliverEvent(exit, { ...event, errorCode: outcome.errorCode });
      return finish(exit, RESUME);
    }
    const { instruction } = transaction.exit;
    if (instruction === null || instruction === undefined) return deliver(exit, event);
    try {
      const outcome = await emulate(exit, instruction);
      if (outcome === 'refused') return await deliver(exit, event);
      const repeats = typeof outcome === 'object';
      if (outcome === 'done' || (repeats && outcome.finished)) exit.frame.eip = (exit.frame.eip + instruction.length) >>> 0;
      return await finish(exit, repeats ? { kind: 'retire', data: null, count: outcome.iterations } : RETIRE);
    } catch (error) {
      if (!(error instanceof GuestException)) throw error;
      if (error.cr2 !== null) setCr2(exit, error.cr2);
      return deliver(exit, { vector: error.vector, type: EventType.HardwareException, errorCode: error.errorCode });
    }
  },
};

export async function deliver(exit: DeprivilegedExit, event: VirtualEvent): Promise<ExitReply> {
  await deliverEvent(exit, event);
  return finish(exit, RESUME);
}

/** INT n, INT3, INTO: through the guest's gate if its DPL allows; the instruction then counts. */
export async function softwareInterrupt(exit: DeprivilegedExit, event: ProcessorEvent): Promise<ExitReply> {
  const { frame } = exit;
  const restartAt = frame.eip;
  frame.skipInstruction();
  const delivered = await deliverEvent(exit, { ...event, errorCode: null, restartAt });
  return finish(exit, delivered ? RETIRE : RESUME);
}

const hypercall: TrapEntry = {
  reason: ExitReason.Hypercall,
  summary: 'INT 0x82 means nothing to an unmodified guest but its own gate of that vector.',
  handle: (exit) => softwareInterrupt(exit, { vector: exit.transaction.exit.event!.vector, type: EventType.SoftwareInterrupt, errorCode: null }),
};

const writeTrace: TrapEntry = {
  reason: ExitReason.WriteTrace,
  summary: 'A write to a page table or descriptor table of the guest traps; ring -1 drops the shadow entries made of it, or copies the descriptor, and lets the store through.',
  async handle(exit) {
    const access = exit.transaction.exit.access!;
    exit.machine.shadow.written(exit.transaction, access.address, access.size * access.count);
    await tableWritten(exit, access);
    return reply(exit, RETIRE);
  },
};

const preemptionTimer: TrapEntry = {
  reason: ExitReason.PreemptionTimer,
  summary: 'A timer or device deadline is due; ring -1 lets them catch up, and delivers the interrupt if the virtual IF lets it.',
  async handle(exit) {
    const { machine, transaction } = exit;
    if ((transaction.exit.qualification & 1) !== 0) machine.board.noteRemoteDue();
    await machine.cycle(transaction, 'time', null, false);
    return finish(exit, RESUME);
  },
};

const input: TrapEntry = {
  reason: ExitReason.Input,
  summary: 'Outside input arrived; ring -1 has the device model take it in and routes the interrupt.',
  async handle(exit) {
    const { machine, transaction } = exit;
    const { qualification } = transaction.exit;
    if (qualification !== 0) machine.noteLines(transaction, qualification & 0xffff, qualification >>> 16);
    else await machine.cycle(transaction, 'input', null, false);
    return finish(exit, RESUME);
  },
};

const tripleFault: TrapEntry = {
  reason: ExitReason.TripleFault,
  summary: 'A triple fault stops the machine.',
  async handle(exit) {
    exit.machine.stop(exit.transaction, 'triple-fault', 'the guest raised an exception while delivering a double fault (SDM Vol. 3A 6.15)');
    return reply(exit, RESUME);
  },
};

const unsupportedMode: TrapEntry = {
  reason: ExitReason.UnsupportedMode,
  summary: 'Real mode, virtual-8086 mode and task gates are not built; ring -1 stops the machine by name.',
  async handle(exit) {
    const { reason, qualification } = exit.transaction.exit;
    exit.machine.stop(exit.transaction, 'unsupported-mode', `the guest entered a mode that is not built (${exitReasonName(reason)}, qualification ${qualification})`);
    return reply(exit, RESUME);
  },
};

/** No other reason is asked for: the instruction's own fault comes as an exception. */
const otherwise = (exit: DeprivilegedExit): Promise<ExitReply> =>
  deliver(exit, { vector: GENERAL_PROTECTION, type: EventType.HardwareException, errorCode: 0 });

export const TRAP_ENTRIES: readonly TrapEntry[] = [deprivilegedException, hypercall, writeTrace, preemptionTimer, input, tripleFault, unsupportedMode];
const BY_REASON = new Map<number, TrapEntry>(TRAP_ENTRIES.map((entry) => [entry.reason, entry]));

export function handleTrap(exit: DeprivilegedExit): Promise<ExitReply> {
  return BY_REASON.get(exit.transaction.exit.reason)?.handle(exit) ?? otherwise(exit);
}

/** What every visible exit ends with: an interrupt that waits is taken if the virtual IF is 1 now and STI does not hold it back. */
export async function finish(exit: DeprivilegedExit, disposition: Disposition): Promise<ExitReply> {
  const { machine, transaction, vcpu } = exit;
  const { retired, now } = transaction.exit;
  const done = disposition.kind === 'retire' ? disposition.count ?? 1 : 0;
  if (!machine.stopped && machine.line && vcpu.interruptFlag) {
    if (vcpu.shadowAt === retired + done) machine.leaveAt(transaction, now + done + 1);
    else await takeInterrupt(exit);
  }
  if (vcpu.halted && !vcpu.interruptFlag) machine.dropDeadline(transaction);
  return reply(exit, disposition);
}

async function takeInterrupt(exit: DeprivilegedExit): Promise<void> {
  const { vector } = await exit.machine.cycle(exit.transaction, 'inta', null, true);
  if (vector !== null) await deliverEvent(exit, { vector, type: EventType.ExternalInterrupt, errorCode: null });
}

/** A hidden exit: the guest notices nothing. */
function reply(exit: DeprivilegedExit, disposition: Disposition): Promise<ExitReply> {
  exit.commit(disposition);
  return Promise.resolve(exit.transaction.reply(disposition));
}
