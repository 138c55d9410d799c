import { StateGroup, type Disposition, type ExitReply } from '@ringside/machine';
import { EventType, ExitReason, type InstructionAssist, type ProcessorEvent } from '@ringside/x86';
import { deliverEvent, deliverSoftware, type VirtualEvent } from '../deprivileged/deliver-event.js';
import type { DeprivilegedExit } from '../deprivileged/deprivileged-exit.js';
import { tableWritten } from '../deprivileged/descriptor-tables.js';
import { emulate, type Emulation } from '../deprivileged/emulate.js';
import { GuestException } from '../deprivileged/linear-memory.js';
import { RESUME, RETIRE } from '../dispositions.js';

const PAGE_FAULT = 14, GENERAL_PROTECTION = 13;
const EFLAGS_TF = 1 << 8;
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
      if (outcome === 'filled-for-now') machine.leaveAt(transaction, transaction.exit.now + 1);
      if (outcome === 'filled' || outcome === 'filled-for-now') return reply(exit, RESUME);
      exit.frame.cr2 = transaction.exit.guestLinear;
      return deliver(exit, { ...event, errorCode: outcome.errorCode });
    }
    const { instruction } = transaction.exit;
    if (instruction === null || instruction === undefined) return deliver(exit, event);
    return carryOut(exit, instruction);
  },
};

/** An instruction of the guest's that ring -1 executes: by its emulator, or by the interpreter, whose faults are the guest's. */
export async function carryOut(exit: DeprivilegedExit, instruction: InstructionAssist): Promise<ExitReply> {
  const outcome = await emulated(exit, instruction);
  if (outcome === 'refused') return interpret(exit);
  if (outcome === 'done') exit.frame.eip = (exit.frame.eip + instruction.length) >>> 0;
  return finish(exit, RETIRE);
}

async function emulated(exit: DeprivilegedExit, instruction: InstructionAssist): Promise<Emulation> {
  try {
    return await emulate(exit, instruction);
  } catch (error) {
    if (!(error instanceof GuestException)) throw error;
    return 'refused';
  }
}

/** The instruction at EIP, or the fault that it raises. */
export async function interpret(exit: DeprivilegedExit): Promise<ExitReply> {
  // It fetches and decodes; where the exit came decoded that has been charged for.
  if (exit.transaction.exit.reason === ExitReason.Callout) exit.transaction.charge('instruction-decode');
  const retired = await exit.machine.interpreter.execute(exit);
  return finish(exit, retired === 0 ? RESUME : { kind: 'retire', data: null, count: retired });
}

export async function deliver(exit: DeprivilegedExit, event: VirtualEvent): Promise<ExitReply> {
  await deliverEvent(exit, event);
  return finish(exit, RESUME);
}

/** INT n, INT3, INTO: through the guest's gate if its DPL allows; the instruction then counts. */
export async function softwareInterrupt(exit: DeprivilegedExit, event: ProcessorEvent): Promise<ExitReply> {
  const delivered = await deliverSoftware(exit, { ...event, errorCode: null }, exit.transaction.exit.instructionLength);
  return delivered ? finish(exit, RETIRE) : interpret(exit);
}

const hypercall: TrapEntry = {
  reason: ExitReason.Hypercall,
  summary: 'INT 0x82 means nothing to an unmodified guest but its own gate of that vector.',
  handle: (exit) => softwareInterrupt(exit, { vector: exit.transaction.exit.event!.vector, type: EventType.SoftwareInterrupt, errorCode: null }),
};

export const writeTrace: TrapEntry = {
  reason: ExitReason.WriteTrace,
  summary: 'A write to a page table or descriptor table of the guest traps; ring -1 drops the shadow entries made of it, or copies the descriptor, and lets the store through.',
  async handle(exit) {
    const access = exit.transaction.exit.access!;
    exit.machine.shadow.letThrough(exit.transaction, access.address, access.size * access.count);
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
    exit.machine.tripleFault(exit.transaction);
    return reply(exit, RESUME);
  },
};

const unsupportedMode: TrapEntry = {
  reason: ExitReason.UnsupportedMode,
  summary: 'Real mode, virtual-8086 mode and task gates are not built; ring -1 stops the machine by name.',
  async handle(exit) {
    exit.machine.unsupportedMode(exit.transaction, exit.transaction.exit.qualification);
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

/** What every visible exit ends with: an interrupt that waits is taken if the virtual IF is 1 now and nothing holds it back. */
export async function finish(exit: DeprivilegedExit, disposition: Disposition): Promise<ExitReply> {
  const { machine, transaction, vcpu } = exit;
  const { retired, now } = transaction.exit;
  const done = disposition.kind === 'retire' ? disposition.count ?? 1 : 0;
  if (!machine.stopped && machine.line && vcpu.interruptFlag && !trapDue(exit, done)) {
    if (machine.windows) {
      // The processor asks for an interrupt at the boundary behind an instruction. Between two, this exit is that question.
      if (done === 0 && transaction.exit.interruptible && exit.boundary === null) await takeInterrupt(exit);
    } else if (isShadowed(exit, retired + done) || (done === 0 && !transaction.exit.interruptible)) machine.leaveAt(transaction, now + done + 1);
    else await takeInterrupt(exit);
  }
  if (vcpu.halted && !vcpu.interruptFlag) machine.dropDeadline(transaction);
  return reply(exit, disposition);
}

/** STI or MOV SS holds interrupts back behind itself. */
function isShadowed({ boundary, vcpu }: DeprivilegedExit, retired: number): boolean {
  return boundary === null ? vcpu.shadowAt === retired && vcpu.shadow !== 0 : boundary.shadow !== 0;
}

/** A debug trap comes before an interrupt (SDM Vol. 3A 6.9): the processor leaves with it at once. */
function trapDue({ boundary, transaction }: DeprivilegedExit, done: number): boolean {
  if (boundary !== null && boundary.trap !== null) return boundary.trap !== 0;
  return done > 0 && (transaction.exit.registers!.eflags & EFLAGS_TF) !== 0;
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
