import type { Effect, ExitReply, VmSpec } from '@ringside/machine';
import { IF_IN_BYTE, INTERPRET, MINUS_CR0, TS_IS_CLEAR, VIRTUAL_IF_BYTE, VIRTUAL_IOPL, VIRTUAL_TS } from '@ringside/translation';
import { EventType, ExitReason } from '@ringside/x86';
import { DeprivilegedExit } from '../deprivileged/deprivileged-exit.js';
import { DeprivilegedMachine } from '../deprivileged/deprivileged-machine.js';
import { EFLAGS_IF } from '../deprivileged/virtual-cpu.js';
import { RESUME, RETIRE } from '../dispositions.js';
import { carryOut, finish, handleTrap, interpret, softwareInterrupt, TRAP_AND_EMULATE_GROUPS, writeTrace } from '../trap-and-emulate/exits.js';
import type { Transaction } from '../transaction.js';
import type { PathMonitor } from '../virtual-machine-monitor.js';
import { ShadowGates } from './shadow-gates.js';

const DEBUG = 1, BREAKPOINT = 3, OVERFLOW = 4, NO_DEVICE = 7;
const CR0_TS = 8, CR0_MP_TS = 0xa;
/** DR7: L0 G0 … L3 G3. */
const DR7_ENABLED = 0xff;
const EFLAGS_OF = 1 << 11;

/** Monitor data with its lookup table, and a megabyte of units. */
export const TRANSLATION_CACHE_BYTES = 0x1a_1000;

/**
 * Ring -1 of an unmodified guest whose kernel runs translated. It is trap-and-emulate's ring -1, and is asked less: what translated code does for itself never
 * comes here. The virtual IF is in the translation cache: an exit carries it in EFLAGS, and a change goes back as an effect.
 */
export function binaryTranslationMonitor(spec: VmSpec, image: Uint8Array): PathMonitor {
  const machine = new DeprivilegedMachine(spec, image, 'translated');
  const cache = { offset: DeprivilegedMachine.MONITOR_BYTES, bytes: TRANSLATION_CACHE_BYTES };
  const gates = new ShadowGates(machine, cache.offset);
  /** INTR as guest-cpu knows it: translated code that sets IF looks at it. */
  let lineTold = false;
  let interpreting = false;
  /** CR0 without TS, and whether the real TS is clear, as translated code knows them. */
  let cr0Told = machine.vcpu.cr0, clearTold = true;
  const field = (offset: number, value: number): Effect => ({ kind: 'memory', space: 'monitor', address: cache.offset + offset, bytes: Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24) });
  return {
    monitorBytes: cache.offset + cache.bytes,
    translationCache: cache,
    initialEffects: () => machine.initialEffects(),
    stateGroups: () => new Map(Object.values(ExitReason).map((reason) => [reason, TRAP_AND_EMULATE_GROUPS])),
    async answer(transaction) {
      const { vcpu } = machine;
      const registers = transaction.exit.registers!;
      const before = (registers.eflags & EFLAGS_IF) !== 0;
      const ioplBefore = vcpu.iopl;
      vcpu.interruptFlag = before;
      const taskSwitched = registers.cr0 & CR0_TS;
      vcpu.cr0 = ((vcpu.cr0 & ~CR0_TS) | taskSwitched) >>> 0;
      // The real IF is always 1.
      registers.eflags = (registers.eflags | EFLAGS_IF) >>> 0;
      const exit = new DeprivilegedExit(machine, transaction);
      const { event } = transaction.exit;
      if (transaction.exit.reason === ExitReason.DeprivilegedException && event !== null && event.type !== EventType.HardwareException && exit.frame.cpl === 3) await gates.follow(exit, event.vector);
      const reply = await answer(exit, transaction);
      gates.settle(transaction);
      const effects: Effect[] = [];
      if (vcpu.iopl !== ioplBefore) effects.push({ kind: 'memory', space: 'monitor', address: cache.offset + VIRTUAL_IOPL, bytes: Uint8Array.of(vcpu.iopl) });
      if (vcpu.interruptFlag !== before) {
        effects.push({ kind: 'memory', space: 'monitor', address: cache.offset + VIRTUAL_IF_BYTE, bytes: Uint8Array.of(vcpu.interruptFlag ? IF_IN_BYTE : 0) });
      }
      // The processor model looks for breakpoints where it fetches; translated code has no guest EIP there.
      const breakpoints = (vcpu.debug[7]! & DR7_ENABLED) !== 0;
      if (breakpoints !== interpreting) effects.push({ kind: 'memory', space: 'monitor', address: cache.offset + INTERPRET, bytes: Uint8Array.of(breakpoints ? 1 : 0) });
      interpreting = breakpoints;
      if ((vcpu.cr0 & CR0_TS) !== taskSwitched) effects.push(field(VIRTUAL_TS, vcpu.cr0 & CR0_TS));
      if ((vcpu.cr0 & ~CR0_TS) !== cr0Told) effects.push(field(MINUS_CR0, -(vcpu.cr0 & ~CR0_TS)));
      cr0Told = vcpu.cr0 & ~CR0_TS;
      if (machine.taskSwitchedHeld === clearTold) effects.push(field(TS_IS_CLEAR, machine.taskSwitchedHeld ? 0 : 1));
      clearTold = !machine.taskSwitchedHeld;
      if (machine.line !== lineTold) effects.push({ kind: 'interrupt', line: machine.line, vector: null });
      lineTold = machine.line;
      return effects.length === 0 ? reply : { ...reply, effects: [...reply.effects, ...effects] };
    },
  };
}

function answer(exit: DeprivilegedExit, transaction: Transaction): Promise<ExitReply> {
  switch (transaction.exit.reason) {
    case ExitReason.Callout: return callout(exit, transaction);
    // IF is 1, and no shadow: translated code looked, or native would take it here.
    case ExitReason.InterruptWindow: return finish(exit, RESUME);
    case ExitReason.DeprivilegedException: return isHiddenNoDevice(exit, transaction) ? hiddenNoDevice(exit, transaction) : handleTrap(exit);
    default: return handleTrap(exit);
  }
}

/** #NM, where the guest's own CR0 has no reason for it. */
function isHiddenNoDevice({ vcpu }: DeprivilegedExit, { exit: { event } }: Transaction): boolean {
  return event?.type === EventType.HardwareException && event.vector === NO_DEVICE && (vcpu.cr0 & CR0_MP_TS) !== CR0_MP_TS;
}

function hiddenNoDevice(exit: DeprivilegedExit, transaction: Transaction): Promise<ExitReply> {
  exit.machine.clearTaskSwitched(transaction);
  return finish(exit, RESUME);
}

/** An instruction that the translator left to ring -1, or code that is not translated (`instruction` null). */
async function callout(exit: DeprivilegedExit, transaction: Transaction): Promise<ExitReply> {
  const { frame, machine } = exit;
  const { access, instruction } = transaction.exit;
  // A store that the translator knows to meet traces.
  if (access?.space === 'memory') return writeTrace.handle(exit);
  if (access !== null) {
    // The processor completes it, iterations and all; an interrupt that the device raises is taken behind it.
    const { data } = await machine.cycle(transaction, 'port', access, false);
    machine.settleControls(transaction);
    return transaction.reply({ kind: 'retire', data: access.write ? null : data });
  }
  switch (instruction?.name) {
    case undefined: return interpret(exit);
    case 'INT Ib': return softwareInterrupt(exit, { vector: instruction!.immediate & 0xff, type: EventType.SoftwareInterrupt, errorCode: null });
    case 'INT3': return softwareInterrupt(exit, { vector: BREAKPOINT, type: EventType.SoftwareException, errorCode: null });
    case 'INT1': return softwareInterrupt(exit, { vector: DEBUG, type: EventType.PrivilegedSoftwareException, errorCode: null });
    case 'INTO':
      if ((frame.eflags & EFLAGS_OF) !== 0) return softwareInterrupt(exit, { vector: OVERFLOW, type: EventType.SoftwareException, errorCode: null });
      frame.eip = (frame.eip + instruction!.length) >>> 0;
      return finish(exit, RETIRE);
    default: return carryOut(exit, instruction!);
  }
}
